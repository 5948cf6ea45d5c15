"""Results as text: pure functions from a result to what a person reads. Units turn pretty here and nowhere else."""
