"""How fast the library renders and trains, measured beside the authors' way of doing the same."""
