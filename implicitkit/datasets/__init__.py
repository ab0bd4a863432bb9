"""Datasets: pictures to train on, clean ones or pairs of an input and its target, found by name."""
