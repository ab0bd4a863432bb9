"""LIIF and LTE of the published widths on Hopper's tensor cores, whose matrices stream past while products run.

The layers' 256 x 256 matrices do not fit in a processor's shared memory together. So each processor keeps one program,
which goes through tiles of ``ROWS`` rows (neighbours of queries); the matrices are copied by the card's copy engine, a
quarter at a time, into a ring of slots, each as soon as the one before has been read. Activations stay in shared
memory, where the tensor cores read both factors, so that registers hold only float32 sums.

It is written in Gluon, Triton's lower level, which Triton has from 3.6 on as used here.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)

WIDTH = gl.constexpr(256)  # of all layers but the last
LAST = gl.constexpr(16)  # outputs of the last layer, padded
SLICE = gl.constexpr(64)  # inputs of a layer in a slot of the ring
SLICES = gl.constexpr(4)  # of a layer
ROWS = gl.constexpr(128)  # of a tile
WHOLE_TURN = gl.constexpr(6.283185307179586)
TURN, TURN_REST = gl.constexpr(6.2831854820251465), gl.constexpr(-1.7484556000744883e-07)  # in float32, and the rest
ROUNDER = gl.constexpr(12582912.0)  # 1.5 * 2 ** 23: float32 has no fractions beside it
all_warps = gl.barrier if hasattr(gl, "barrier") else gl.thread_barrier  # Triton 3.8 renamed it

SIZES = ["points", "width", "ny", "nx", "cells", "cells_x", "tiles"]
"""Arguments that differ from picture to picture: do not recompile a kernel for multiples of 16."""


@gluon.jit
def narrowed(h, RELU: gl.constexpr):
    """``h`` in bfloat16, after a ReLU that keeps what is no number: one instruction for two values."""
    if RELU:
        return gl.inline_asm_elementwise(
            "cvt.rn.relu.bf16x2.f32 $0, $2, $1;", "=r,f,f", [h], dtype=gl.bfloat16, is_pure=True, pack=2
        )
    return h.to(gl.bfloat16)


@gluon.jit
def cosine_and_sine(angle):
    """Both by the special units, which are right to 5e-7 within half a turn: whole turns are taken off before."""
    turns = (angle * (1 / WHOLE_TURN) + ROUNDER) - ROUNDER
    rest = gl.fma(turns, -TURN, angle)
    rest = gl.fma(turns, -TURN_REST, rest)
    cosine = gl.inline_asm_elementwise("cos.approx.f32 $0, $1;", "=f,f", [rest], gl.float32, True, 1)
    sine = gl.inline_asm_elementwise("sin.approx.f32 $0, $1;", "=f,f", [rest], gl.float32, True, 1)
    return cosine, sine


@gluon.jit
def share(off, i, side, n, exists):
    """Each row's weight on an axis: the offset opposite over the sum of both; a half where both are one cell."""
    opposite = gl.abs(gl.load(off + (1 - side) * n + i, mask=exists, other=1.0))
    total = opposite + gl.abs(gl.load(off + side * n + i, mask=exists, other=1.0))
    return gl.where(total > 0, opposite / gl.maximum(total, 1e-30), 0.5)


@gluon.jit
def origin(tile, sizes, SIDES: gl.constexpr):
    """The map of the batch that a tile is of, and the tile's first row there."""
    per_map = gl.cdiv(sizes[0] * (SIDES * SIDES), ROWS)
    return tile // per_map, (tile % per_map) * ROWS


@gluon.jit
def places(near, sizes, tile, GRID: gl.constexpr, SIDES: gl.constexpr, WARPS: gl.constexpr):
    """Of a tile's rows: cell in the batch's maps, offset to it, and share of the blend."""
    batch, first = origin(tile, sizes, SIDES)
    cell_y, off_y, cell_x, off_x = near
    points, width, ny, nx, cells, cells_x = sizes
    layout: gl.constexpr = gl.BlockedLayout([1], [32], [WARPS], [0])
    row = first + gl.arange(0, ROWS, layout=layout)
    p = row // (SIDES * SIDES)
    corner = row % (SIDES * SIDES)
    sy = corner // SIDES
    sx = corner % SIDES
    exists = p < points
    if GRID:
        iy = p // width
        ix = p % width
    else:
        iy = batch * points + p
        ix = iy
    cy = gl.load(cell_y + sy * ny + iy, mask=exists, other=0)
    cx = gl.load(cell_x + sx * nx + ix, mask=exists, other=0)
    dy = gl.load(off_y + sy * ny + iy, mask=exists, other=0.0)
    dx = gl.load(off_x + sx * nx + ix, mask=exists, other=0.0)
    weight = gl.full([ROWS], 1.0, gl.float32, layout)
    if SIDES > 1:
        weight = share(off_y, iy, sy, ny, exists) * share(off_x, ix, sx, nx, exists)
    return gl.cast(batch, gl.int64) * cells + cy * cells_x + cx, dy, dx, weight


@gluon.jit
def sums_into(hidden, rows, own, cell, dy, dx, WARPS: gl.constexpr):
    """LIIF's first hidden layer, ``relu(row + offset @ geometry + constant)``, into shared memory; a warp has a row."""
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [1, 32], [WARPS, 1], [1, 0])
    geometry, constant = own
    columns = gl.arange(0, WIDTH, layout=gl.SliceLayout(0, layout))
    cell = gl.convert_layout(cell, gl.SliceLayout(1, layout))
    dy = gl.expand_dims(gl.convert_layout(dy, gl.SliceLayout(1, layout)), 1)
    dx = gl.expand_dims(gl.convert_layout(dx, gl.SliceLayout(1, layout)), 1)
    fetched = gl.load(rows + gl.expand_dims(cell * WIDTH, 1) + gl.expand_dims(columns, 0)).to(gl.float32)
    along_y = gl.expand_dims(gl.load(geometry + columns), 0)
    along_x = gl.expand_dims(gl.load(geometry + WIDTH + columns), 0)
    always = gl.expand_dims(gl.load(constant + columns), 0)
    hidden.store(narrowed(fetched + dy * along_y + dx * along_x + always, True))


@gluon.jit
def waves_into(hidden, rows, own, cell, dy, dx, WARPS: gl.constexpr):
    """LTE's waves, ``A [cos a, sin a]`` with ``a = F_y d_y + F_x d_x + phase``, into shared memory."""
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [2, 16], [WARPS, 1], [1, 0])
    HALF: gl.constexpr = WIDTH // 2
    phase = own[0]
    waves = gl.arange(0, HALF, layout=gl.SliceLayout(0, layout))
    cell = gl.convert_layout(cell, gl.SliceLayout(1, layout))
    dy = gl.expand_dims(gl.convert_layout(dy, gl.SliceLayout(1, layout)), 1)
    dx = gl.expand_dims(gl.convert_layout(dx, gl.SliceLayout(1, layout)), 1)
    at = rows + gl.expand_dims(cell * (2 * WIDTH), 1) + gl.expand_dims(waves, 0)
    angle = gl.load(at + WIDTH).to(gl.float32) * dy + gl.load(at + WIDTH + HALF).to(gl.float32) * dx
    cosine, sine = cosine_and_sine(angle + gl.expand_dims(gl.load(phase + waves), 0))
    hidden.slice(0, HALF, dim=1).store((gl.load(at).to(gl.float32) * cosine).to(gl.bfloat16))
    hidden.slice(HALF, HALF, dim=1).store((gl.load(at + HALF).to(gl.float32) * sine).to(gl.bfloat16))


@gluon.jit
def refill(ring, full, matrices, slice, slices, k: gl.constexpr):
    """Begin to copy ``slice + k`` into slot ``k`` if ``slices`` are left, once all warps have read what is in it."""
    all_warps()
    mbarrier.expect(full.index(k), SLICE * WIDTH * 2, pred=slices > 0)
    place = [(slice + k) * SLICE, 0]
    tma.async_copy_global_to_shared(matrices, place, full.index(k), ring.index(k), pred=slices > 0)


@gluon.jit
def layer(hidden, ring, full, matrices, biases, turn, slice, slices, WARPS: gl.constexpr):
    """A linear layer and a ReLU from shared memory to shared memory, by the ring's matrix of this ``turn``.

    Each slot takes one of the slices from ``slice`` on, which the next layer reads, once it has been read.
    """
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [WARPS, 1], [16, WIDTH, 16])
    total = gl.zeros([ROWS, WIDTH], gl.float32, layout)
    bias = gl.load(biases + gl.arange(0, WIDTH, layout=gl.SliceLayout(0, layout)))
    for k in gl.static_range(SLICES):
        mbarrier.wait(full.index(k), turn & 1)
        part = hidden.slice(k * SLICE, SLICE, dim=1)
        total = warpgroup_mma(part, ring.index(k), total, use_acc=k > 0, is_async=True)
        if k > 0:  # the product before is done: this one runs
            total = warpgroup_mma_wait(1, deps=[total])
            refill(ring, full, matrices, slice, slices, k - 1)
    total = warpgroup_mma_wait(0, deps=[total])
    refill(ring, full, matrices, slice, slices, SLICES - 1)
    hidden.store(narrowed(total + gl.expand_dims(bias, 0), True))
    fence_async_shared()


@gluon.jit
def last_layer(hidden, last, biases, WARPS: gl.constexpr):
    """The last linear layer, ``(ROWS, LAST)``, whose matrix stays in shared memory."""
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [WARPS, 1], [16, LAST, 16])
    bias = gl.load(biases + gl.arange(0, LAST, layout=gl.SliceLayout(0, layout)))
    values = warpgroup_mma(hidden, last, gl.zeros([ROWS, LAST], gl.float32, layout), use_acc=False, is_async=True)
    values = warpgroup_mma_wait(0, deps=[values])
    return values + gl.expand_dims(bias, 0)


@gluon.jit
def store_blend(
    out, values, weight, first, batch, points,
    OUT: gl.constexpr, CORNERS: gl.constexpr, WARPS: gl.constexpr,
):  # fmt: skip
    """Blend the rows of each query, which one thread has, by ``weight`` and write the results."""
    layout: gl.constexpr = gl.BlockedLayout([CORNERS, 1], [4, 8], [WARPS, 1], [1, 0])
    written: gl.constexpr = gl.BlockedLayout([1, 1], [2, 16], [WARPS, 1], [1, 0])
    if CORNERS > 1:
        weight = gl.convert_layout(weight, gl.SliceLayout(1, layout))
        values = gl.convert_layout(values, layout) * gl.expand_dims(weight, 1)
        values = gl.sum(gl.reshape(values, [ROWS // CORNERS, CORNERS, LAST]), axis=1)
    values = gl.convert_layout(values, written)
    p = first // CORNERS + gl.arange(0, ROWS // CORNERS, layout=gl.SliceLayout(1, written))
    channels = gl.expand_dims(gl.arange(0, LAST, layout=gl.SliceLayout(0, written)), 0)
    at = gl.expand_dims((gl.cast(batch, gl.int64) * points + p) * OUT, 1) + channels
    gl.store(out + at, values, mask=gl.expand_dims(p < points, 1) & (channels < OUT))


@gluon.jit(do_not_specialize=SIZES)
def ensemble(
    out, rows, cell_y, off_y, cell_x, off_x, first_own, second_own, matrices, last_matrix, biases,
    points, width, ny, nx, cells, cells_x, tiles,
    OUT: gl.constexpr, GRID: gl.constexpr, SIDES: gl.constexpr, DEPTH: gl.constexpr, WAVES: gl.constexpr,
):  # fmt: skip
    """LIIF (or LTE: ``WAVES``) with ``DEPTH`` layers of 256 x 256 and a last one; ``matrices`` describes the former."""
    WARPS: gl.constexpr = gl.num_warps()
    wide: gl.constexpr = gl.NVMMASharedLayout(128, 16)
    narrow: gl.constexpr = gl.NVMMASharedLayout(32, 16)
    ring = gl.allocate_shared_memory(gl.bfloat16, [SLICES, SLICE, WIDTH], wide)
    last = gl.allocate_shared_memory(gl.bfloat16, [WIDTH, LAST], narrow)
    hidden = gl.allocate_shared_memory(gl.bfloat16, [ROWS, WIDTH], wide)
    full = gl.allocate_shared_memory(gl.int64, [SLICES, 1], mbarrier.MBarrierLayout())
    for k in gl.static_range(SLICES):
        mbarrier.init(full.index(k), count=1)
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [16, 2], [WARPS, 1], [1, 0])
    inputs = gl.expand_dims(gl.arange(0, WIDTH, layout=gl.SliceLayout(1, layout)), 1)
    outputs = gl.expand_dims(gl.arange(0, LAST, layout=gl.SliceLayout(0, layout)), 0)
    last.store(gl.load(last_matrix + inputs * LAST + outputs))
    fence_async_shared()
    near = (cell_y, off_y, cell_x, off_x)
    sizes = (points, width, ny, nx, cells, cells_x)
    own = (first_own, second_own)
    for k in gl.static_range(SLICES):
        refill(ring, full, matrices, 0, 1, k)
    turn = gl.to_tensor(0)
    for tile in range(gl.program_id(0), tiles, gl.num_programs(0)):
        cell, dy, dx, weight = places(near, sizes, tile, GRID, SIDES, WARPS)
        if WAVES:
            waves_into(hidden, rows, own, cell, dy, dx, WARPS)
        else:
            sums_into(hidden, rows, own, cell, dy, dx, WARPS)
        fence_async_shared()
        for i in range(DEPTH):
            following = (i + 1) % DEPTH
            left = gl.where(i + 1 < DEPTH, 1, tiles - tile - gl.num_programs(0))
            layer(hidden, ring, full, matrices, biases + i * WIDTH, turn, following * SLICES, left, WARPS)
            turn += 1
        values = last_layer(hidden, last, biases + DEPTH * WIDTH, WARPS)
        batch, first = origin(tile, sizes, SIDES)
        store_blend(out, values, weight, first, batch, points, OUT, SIDES * SIDES, WARPS)
