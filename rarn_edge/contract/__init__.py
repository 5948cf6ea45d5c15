"""What a model expects and answers, as data, and the files that carry it."""
