"""Does each step of the pipeline still answer as the one before it? Hops, their tolerances, and the verdict."""
