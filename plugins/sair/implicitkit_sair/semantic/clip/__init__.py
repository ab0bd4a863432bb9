"""open_clip's towers as encoders of meaning, and their words."""
