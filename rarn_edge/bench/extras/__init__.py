"""What is measured beside the timed rounds: scenarios, memory, accuracy, where the time goes, the INT8 audit."""
