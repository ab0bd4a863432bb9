"""Encoders, from pictures to feature maps: one file per family."""
