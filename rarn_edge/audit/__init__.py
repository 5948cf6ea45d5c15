"""What an INT8 file really does on this machine: which operators run in INT8, and what saturation changes."""
