"""Degradations, from clean pictures to a model's inputs: one file per kind."""
