"""A picture as a function of its coordinates: fields, their latents and their tiles."""
