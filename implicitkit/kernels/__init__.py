"""GPU kernels written in Triton; everything they compute, the plain path computes as well."""
