"""The local ensemble as one GPU kernel: fetch, offsets, MLP and blend, without intermediate results in memory.

A program evaluates ``M`` rows, one per neighbour of a query. It fetches each neighbour's features, adds the offset's
part, runs the layers as products of ``(M, K)`` and ``(K, N)`` tiles on the tensor cores with float32 sums, and blends
the rows of each query by area. All neighbours of a query share a tile, so a layer's matrix is read once for them.
:mod:`implicitkit.decoders.neighbours` computes cells and offsets per axis beforehand, in float32, as for the plain
path. Widths are padded to powers of two with zeros.
"""

from __future__ import annotations

import triton
import triton.language as tl

SIZES = ["points", "width", "ny", "nx", "cells", "cells_x"]
"""Arguments that differ from picture to picture: do not recompile a kernel for multiples of 16."""


@triton.jit
def product(a, b, PRECISION: tl.constexpr):
    """``a @ b`` summed in float32, with ``a`` rounded to the dtype of ``b``.

    ``"widened"`` multiplies the rounded numbers in float32, as Triton's interpreter has no bfloat16 product.
    """
    a = a.to(b.dtype)
    if PRECISION == "widened":
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def layer(h, weights, biases, K: tl.constexpr, N: tl.constexpr, PRECISION: tl.constexpr):
    """A ReLU, then a linear layer: ``(M, K)`` -> ``(M, N)``, the matrix ``(K, N)``."""
    columns = tl.arange(0, N)
    matrix = tl.load(weights + tl.arange(0, K)[:, None] * N + columns[None, :])
    return (
        product(tl.maximum(h, 0.0, propagate_nan=tl.PropagateNan.ALL), matrix, PRECISION)
        + tl.load(biases + columns)[None, :]
    )


@triton.jit
def layers(h, weights, biases, WIDTHS: tl.constexpr, FIRST: tl.constexpr, PRECISION: tl.constexpr):
    """Run all layers from number ``FIRST`` on ``h`` ``(M, WIDTHS[FIRST])``, the values before a ReLU."""
    for i in tl.static_range(FIRST, len(WIDTHS) - 1):
        h = layer(h, weights, biases, WIDTHS[i], WIDTHS[i + 1], PRECISION)
        weights += WIDTHS[i] * WIDTHS[i + 1]
        biases += WIDTHS[i + 1]
    return h


@triton.jit
def rows_of(points, width, GRID: tl.constexpr, SIDES: tl.constexpr, M: tl.constexpr):
    """For each row: its query's index on both axes, its cell's side on both axes, and whether the query exists."""
    row = tl.arange(0, M)
    p = tl.program_id(0) * (M // (SIDES * SIDES)) + row // (SIDES * SIDES)
    corner = row % (SIDES * SIDES)
    iy = p // width if GRID else tl.program_id(1) * points + p
    ix = p % width if GRID else tl.program_id(1) * points + p
    return iy, ix, corner // SIDES, corner % SIDES, p < points


@triton.jit
def place(cell_y, off_y, cell_x, off_x, iy, ix, sy, sx, ny, nx, cells, cells_x, exists):
    """The index of each row's cell in the batch's maps, and the offset to it."""
    cy = tl.load(cell_y + sy * ny + iy, mask=exists, other=0)
    cx = tl.load(cell_x + sx * nx + ix, mask=exists, other=0)
    dy = tl.load(off_y + sy * ny + iy, mask=exists, other=0.0)
    dx = tl.load(off_x + sx * nx + ix, mask=exists, other=0.0)
    return tl.program_id(1).to(tl.int64) * cells + cy * cells_x + cx, dy, dx


@triton.jit
def share(off, i, side, n, exists):
    """Each row's weight on an axis: the offset opposite over the sum of both; a half where both are one cell."""
    opposite = tl.abs(tl.load(off + (1 - side) * n + i, mask=exists, other=1.0))
    total = opposite + tl.abs(tl.load(off + side * n + i, mask=exists, other=1.0))
    return tl.where(total > 0, opposite / tl.maximum(total, 1e-30), 0.5)


@triton.jit
def store_blend(
    out, values, off_y, off_x, iy, ix, sy, sx, ny, nx, exists, points,
    OUT: tl.constexpr, SIDES: tl.constexpr, M: tl.constexpr,
):  # fmt: skip
    """Blend the rows of each query, each by the shares of its cell's sides, and write the result."""
    N: tl.constexpr = values.shape[1]
    CORNERS: tl.constexpr = SIDES * SIDES
    if SIDES > 1:
        weight = share(off_y, iy, sy, ny, exists) * share(off_x, ix, sx, nx, exists)
        values = tl.sum(tl.reshape(values * weight[:, None], (M // CORNERS, CORNERS, N)), axis=1)
    p = tl.program_id(0) * (M // CORNERS) + tl.arange(0, M // CORNERS)
    channels = tl.arange(0, N)
    at = (tl.program_id(1).to(tl.int64) * points + p)[:, None] * OUT + channels[None, :]
    tl.store(out + at, values, mask=(p < points)[:, None] & (channels < OUT)[None, :])


@triton.jit(do_not_specialize=SIZES)
def liif(
    out, rows, cell_y, off_y, cell_x, off_x, geometry, constant, weights, biases,
    points, width, ny, nx, cells, cells_x,
    K: tl.constexpr, OUT: tl.constexpr, GRID: tl.constexpr, SIDES: tl.constexpr,
    WIDTHS: tl.constexpr, PRECISION: tl.constexpr, M: tl.constexpr,
):  # fmt: skip
    """LIIF: ``sum_t w_t MLP(relu(row_t + offset_t @ geometry + constant))``."""
    iy, ix, sy, sx, exists = rows_of(points, width, GRID, SIDES, M)
    cell, dy, dx = place(cell_y, off_y, cell_x, off_x, iy, ix, sy, sx, ny, nx, cells, cells_x, exists)
    columns = tl.arange(0, WIDTHS[0])
    real = columns < K
    along_y = tl.load(geometry + columns, mask=real, other=0.0)
    along_x = tl.load(geometry + K + columns, mask=real, other=0.0)
    always = tl.load(constant + columns, mask=real, other=0.0)
    mask = exists[:, None] & real[None, :]
    fetched = tl.load(rows + cell[:, None] * K + columns[None, :], mask=mask, other=0.0).to(tl.float32)
    hidden = fetched + dy[:, None] * along_y[None, :] + dx[:, None] * along_x[None, :] + always[None, :]
    values = layers(hidden, weights, biases, WIDTHS, 0, PRECISION)
    store_blend(out, values, off_y, off_x, iy, ix, sy, sx, ny, nx, exists, points, OUT, SIDES, M)


@triton.jit(do_not_specialize=SIZES)
def lte(
    out, rows, cell_y, off_y, cell_x, off_x, phase, weights, biases,
    points, width, ny, nx, cells, cells_x,
    K: tl.constexpr, OUT: tl.constexpr, GRID: tl.constexpr, SIDES: tl.constexpr,
    WIDTHS: tl.constexpr, PRECISION: tl.constexpr, M: tl.constexpr,
):  # fmt: skip
    """LTE: ``sum_t w_t MLP(A_t [cos a_t, sin a_t])``, ``a_t = F_y d_y + F_x d_x + phase``, all in radians.

    A row holds ``K`` amplitudes, ``K / 2`` frequencies along y and as many along x. The first matrix has two halves,
    for cosines and for sines.
    """
    iy, ix, sy, sx, exists = rows_of(points, width, GRID, SIDES, M)
    cell, dy, dx = place(cell_y, off_y, cell_x, off_x, iy, ix, sy, sx, ny, nx, cells, cells_x, exists)
    HALF: tl.constexpr = WIDTHS[0]
    FIRST: tl.constexpr = WIDTHS[1]
    waves = tl.arange(0, HALF)
    real = waves < K // 2
    at = rows + cell[:, None] * (2 * K) + waves[None, :]
    mask = exists[:, None] & real[None, :]
    angle = tl.load(at + K, mask=mask, other=0.0) * dy[:, None]
    angle += tl.load(at + K + K // 2, mask=mask, other=0.0) * dx[:, None]
    angle += tl.load(phase + waves, mask=real, other=0.0)[None, :]
    outputs = tl.arange(0, FIRST)
    matrix = weights + waves[:, None] * FIRST + outputs[None, :]
    cosines = tl.load(at, mask=mask, other=0.0) * tl.cos(angle)
    sines = tl.load(at + K // 2, mask=mask, other=0.0) * tl.sin(angle)
    total = product(cosines, tl.load(matrix), PRECISION)
    total += product(sines, tl.load(matrix + HALF * FIRST), PRECISION)
    total += tl.load(biases + outputs)[None, :]
    values = layers(total, weights + 2 * HALF * FIRST, biases + FIRST, WIDTHS, 1, PRECISION)
    store_blend(out, values, off_y, off_x, iy, ix, sy, sx, ny, nx, exists, points, OUT, SIDES, M)


@triton.jit(do_not_specialize=SIZES)
def lmf(
    out, rows, cell_y, off_y, cell_x, off_x, geometry, constant, weights, biases,
    points, width, ny, nx, cells, cells_x,
    K: tl.constexpr, OUT: tl.constexpr, GRID: tl.constexpr, SIDES: tl.constexpr,
    WIDTHS: tl.constexpr, PRECISION: tl.constexpr, M: tl.constexpr,
):  # fmt: skip
    """LMF: a narrow MLP whose hidden sums the cell's row scales and shifts.

    A row holds ``K`` scales of each hidden layer, then as many shifts.
    """
    iy, ix, sy, sx, exists = rows_of(points, width, GRID, SIDES, M)
    cell, dy, dx = place(cell_y, off_y, cell_x, off_x, iy, ix, sy, sx, ny, nx, cells, cells_x, exists)
    DEPTH: tl.constexpr = len(WIDTHS) - 1
    columns = tl.arange(0, WIDTHS[0])
    real = columns < K
    along_y = tl.load(geometry + columns, mask=real, other=0.0)
    along_x = tl.load(geometry + K + columns, mask=real, other=0.0)
    always = tl.load(constant + columns, mask=real, other=0.0)
    mask = exists[:, None] & real[None, :]
    scales = rows + cell[:, None] * (2 * DEPTH * K) + columns[None, :]
    hidden = dy[:, None] * along_y[None, :] + dx[:, None] * along_x[None, :] + always[None, :]
    for i in tl.static_range(DEPTH):
        scale = tl.load(scales + i * K, mask=mask, other=0.0).to(tl.float32)
        shift = tl.load(scales + (DEPTH + i) * K, mask=mask, other=0.0).to(tl.float32)
        hidden = layer(shift + scale * hidden, weights, biases, WIDTHS[i], WIDTHS[i + 1], PRECISION)
        weights += WIDTHS[i] * WIDTHS[i + 1]
        biases += WIDTHS[i + 1]
    store_blend(out, hidden, off_y, off_x, iy, ix, sy, sx, ny, nx, exists, points, OUT, SIDES, M)
