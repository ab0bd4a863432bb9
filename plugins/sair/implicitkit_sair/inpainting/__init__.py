"""Painting holes in pictures of any size."""
