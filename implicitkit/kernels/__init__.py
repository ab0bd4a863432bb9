"""The local ensemble in one pass, in Triton for a GPU and in C for a CPU; the plain path computes all of it as well."""
