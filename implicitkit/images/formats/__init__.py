"""How each kind of file is read and written: pixels, colour, and what else is in it."""
