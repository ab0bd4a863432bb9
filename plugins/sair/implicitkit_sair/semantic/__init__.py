"""What is at each place: encoders of meaning, with and without words."""
