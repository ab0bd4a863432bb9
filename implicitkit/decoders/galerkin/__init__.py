"""Decoders with attention over all points of a question, one file per paper."""
