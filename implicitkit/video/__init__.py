"""Films: their frames as pictures, and pictures as films."""
