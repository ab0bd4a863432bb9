"""Fast evaluation of decoders: a C kernel on a CPU, a Triton kernel on a GPU, or the plain path on a pool of threads.

Decoders know nothing of kernels. A plugin gives its decoder a kernel with :func:`register_way`.
"""

from implicitkit.kernels.basis import Separable
from implicitkit.kernels.evaluate import plain_path, query, query_grid, renders_at_once, runs_in_large_blocks
from implicitkit.kernels.table import Modulated, Sums, Waves, linears, modulated, register_way, sums, waves

__all__ = [
    "Modulated",
    "Separable",
    "Sums",
    "Waves",
    "linears",
    "modulated",
    "plain_path",
    "query",
    "query_grid",
    "register_way",
    "renders_at_once",
    "runs_in_large_blocks",
    "sums",
    "waves",
]
