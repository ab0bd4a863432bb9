"""How fast: which kernel evaluates which decoder, in C on a CPU and in Triton on a GPU, and the plain path on threads.

Decoders do not know this room. A plugin gives its decoder a kernel with :func:`register_way`.
"""

from implicitkit.kernels.evaluate import plain_path, query, query_grid, runs_in_large_blocks
from implicitkit.kernels.ways import Sums, Waves, linears, register_way, sums, waves

__all__ = [
    "Sums",
    "Waves",
    "linears",
    "plain_path",
    "query",
    "query_grid",
    "register_way",
    "runs_in_large_blocks",
    "sums",
    "waves",
]
