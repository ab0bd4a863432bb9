"""Compile the kernels at the published sizes for a card that need not be there; prints the shared memory each takes.

python tests/kernels/compile_ahead.py 90 [NAME ...]    (the compute capability; a process without TRITON_INTERPRET)
"""

from __future__ import annotations

import sys
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from implicitkit.kernels import gpu, gpu_basis, gpu_basis_source, gpu_source, gpu_wide

((ROWS, WARPS),) = gpu.TILES["liif"]
ENSEMBLE = {"K": 256, "OUT": 3, "GRID": True, "SIDES": 2, "PRECISION": "ieee", "M": ROWS}
PRODUCTS = {"K": 16, "CHANNELS": 3, "SIDES": 2}
TYPES = {  # of pointers; the other arguments are int32
    **dict.fromkeys(("cell_y", "cell_x", "pixel_y", "pixel_x", "columns", "index"), "*i64"),
    **dict.fromkeys(("out", "rows", "off_y", "off_x", "geometry", "constant", "phase", "biases"), "*fp32"),
    **dict.fromkeys(("picture", "share_y", "share_x", "along_y", "along_x", "joined"), "*fp32"),
    "weights": "*bf16",
}
NARROW = {"rows": "*bf16"}  # what autocast makes of them


def tile(wanted: int, warps: int) -> dict[str, Any]:
    return {"M": wanted, "LINES": gpu_basis.PRODUCT_TILE[1], "num_warps": warps}


def waves(choice: int, padded: int) -> dict[str, Any]:
    factor, lines, warps = gpu_basis.WAVE_TILES[choice]
    options = {"K": padded, "PADDED": padded, "CHANNELS": 3, "GROUP": 3, "PICTURE": True}
    return {**options, "M": factor * gpu_basis.TILE_NUMBERS // padded, "LINES": lines, "num_warps": warps}


NUMBERS, JOINED_LINES, JOIN_WARPS = gpu_basis.JOIN_TILE
CASES: list[tuple[Any, dict[str, Any], dict[str, str]]] = [
    (gpu_source.liif, {**ENSEMBLE, "WIDTHS": (256, 256, 256, 256, 16), "num_warps": WARPS}, NARROW),
    (gpu_source.lte, {**ENSEMBLE, "WIDTHS": (128, 256, 256, 256, 16), "num_warps": WARPS}, {}),
    (gpu_source.lmf, {**ENSEMBLE, "K": 16, "WIDTHS": (16,) * 7, "num_warps": WARPS}, NARROW),
    (gpu_source.lmf, {**ENSEMBLE, "K": 16, "WIDTHS": (16,) * 7, "num_warps": 4, "M": 64}, {"weights": "*fp32"}),
    *((gpu_basis_source.waves, waves(choice, 32), NARROW) for choice in range(len(gpu_basis.WAVE_TILES))),
    (gpu_basis_source.waves, waves(0, 512), {}),
    (gpu_basis_source.join, {**PRODUCTS, "N": NUMBERS, "LINES": JOINED_LINES, "num_warps": JOIN_WARPS}, {}),
    (gpu_basis_source.products, {**PRODUCTS, "PADDED": 16, "PICTURE": False, **tile(64, 4)}, {}),
    (gpu_basis_source.products, {**PRODUCTS, "K": 7, "PADDED": 8, "PICTURE": True, **tile(128, 4)}, {}),
]


def wide_cases() -> list[tuple[Any, dict[str, Any], dict[str, str]]]:
    """Those in Gluon, where this Triton has it."""
    if not gpu_wide.gluon_there():
        return []
    from triton.experimental.gluon.language import NVMMASharedLayout

    from implicitkit.kernels import gpu_wide_source

    own = {
        **{"matrices": f"tensordesc<bf16[64, 256],{NVMMASharedLayout(128, 16)!r}>", "last_matrix": "*bf16"},
        **dict.fromkeys(("first_own", "second_own"), "*fp32"),
        **NARROW,
    }
    options = {"OUT": 3, "GRID": True, "SIDES": 2, "DEPTH": 3}
    return [
        (gpu_wide_source.ensemble, {**options, "WAVES": waves, "num_warps": gpu_wide.WARPS}, own)
        for waves in (False, True)
    ]


def source_of(kernel: Any) -> Any:
    if type(kernel).__name__ != "GluonJITFunction":
        return ASTSource
    from triton.experimental.gluon._runtime import GluonASTSource

    return GluonASTSource


def compiled(kernel: Any, options: dict[str, Any], own_types: dict[str, str], capability: int) -> Any:
    types = {name: {**TYPES, **own_types}.get(name, "i32") for name in kernel.arg_names}
    fixed = {name: value for name, value in options.items() if name in kernel.arg_names}
    places = {name: (kernel.arg_names.index(name),) for name in kernel.arg_names}
    source = source_of(kernel)(
        kernel,
        {name: "constexpr" if name in fixed else kind for name, kind in types.items()},
        constexprs={places[name]: value for name, value in fixed.items()},
        attrs={places[name]: [["tt.divisibility", 16]] for name, kind in types.items() if kind.startswith("*")},
    )
    made = {"num_warps": options["num_warps"], "num_stages": 1}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=made)


if __name__ == "__main__":
    for kernel, options, own_types in CASES + wide_cases():
        if sys.argv[2:] and kernel.__name__ not in sys.argv[2:]:
            continue
        made = compiled(kernel, options, own_types, int(sys.argv[1]))
        print(kernel.__name__, made.metadata.shared, len(made.asm["cubin"]), "wgmma" in made.asm["ptx"])
