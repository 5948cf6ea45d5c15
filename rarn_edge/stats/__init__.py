"""Statistics of answers: accuracy, paired comparison."""
