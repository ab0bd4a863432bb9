"""Decoders that are linear in the latent, one file per paper."""
