"""Pictures as sums of two-dimensional Gaussians: drawing given ones, and a decoder that predicts them."""
