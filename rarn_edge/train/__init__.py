"""Training: recipes as data, batch augmentation, one loop, checkpoints that resume bit-exactly."""
