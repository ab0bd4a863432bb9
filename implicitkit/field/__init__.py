"""A picture as a function of its coordinates: fields, what they keep of a picture, and its tiles."""
