"""Decoders that see several neighbouring cells at once, one file per paper."""
