"""Editing by meaning: select what means the same, fill it, or fill it with given meaning."""
