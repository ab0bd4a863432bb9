"""Features and coordinates to values, one file per paper."""
