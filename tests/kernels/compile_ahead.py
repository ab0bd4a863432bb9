"""Compile the kernels at the published sizes for a card that need not be there; prints the shared memory each takes.

python tests/kernels/compile_ahead.py 90          (the compute capability; a process without TRITON_INTERPRET)
"""

from __future__ import annotations

import sys
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from implicitkit.kernels import gpu_source

ROWS, WARPS = 128, 8
WIDTHS = {gpu_source.liif: (256, 256, 256, 256, 16), gpu_source.lte: (128, 256, 256, 256, 16)}
TYPES = {"weights": "*bf16", "cell_y": "*i64", "cell_x": "*i64"}
POINTERS = ("out", "rows", "off_y", "off_x", "geometry", "constant", "phase", "biases")


def compiled(kernel: Any, capability: int) -> Any:
    fixed = {"K": 256, "OUT": 3, "GRID": True, "SIDES": 2, "WIDTHS": WIDTHS[kernel], "PRECISION": "ieee", "M": ROWS}
    types = {name: TYPES.get(name, "*fp32" if name in POINTERS else "i32") for name in kernel.arg_names}
    if kernel is gpu_source.liif:
        types["rows"] = "*bf16"  # what autocast makes of the first layer's sums
    places = {name: (kernel.arg_names.index(name),) for name in kernel.arg_names}
    source = ASTSource(
        kernel,
        {name: "constexpr" if name in fixed else kind for name, kind in types.items()},
        constexprs={places[name]: value for name, value in fixed.items()},
        attrs={places[name]: [["tt.divisibility", 16]] for name, kind in types.items() if kind.startswith("*")},
    )
    options = {"num_warps": WARPS, "num_stages": 1}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


if __name__ == "__main__":
    for kernel in WIDTHS:
        made = compiled(kernel, int(sys.argv[1]))
        print(kernel.__name__, made.metadata.shared, len(made.asm["cubin"]), "wgmma" in made.asm["ptx"])
