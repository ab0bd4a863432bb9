"""How fast the library renders and trains, measured beside the authors' way; not part of the wheel."""
