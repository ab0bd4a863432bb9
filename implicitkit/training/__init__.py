"""Training: the loop, its data, its runs on disk, validation, the learning rate."""
