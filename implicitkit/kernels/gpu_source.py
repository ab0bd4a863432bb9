"""The local ensemble in one pass on a GPU: fetch, offsets, the whole MLP and the blend, nothing written in between.

One program evaluates ``M`` rows, a row being one neighbour of one query, four rows to a query. It fetches each
neighbour's features, adds what the offset contributes, runs the layers as products of ``(M, K)`` and ``(K, N)`` tiles
on the tensor cores with float32 sums, and blends a query's rows by their areas. All four neighbours share one tile, so
that a layer's matrix is read once for them and gives its shared memory to the next. Which cells those are, and how far
away, is computed per axis beforehand by :mod:`implicitkit.decoders.neighbours`: the geometry is the plain path's, in
float32.

Widths are padded to powers of two with zeros, which change no sum.
"""

from __future__ import annotations

import triton
import triton.language as tl

SIZES = ["points", "width", "ny", "nx", "cells", "cells_x"]
"""Differ from picture to picture: a kernel is not compiled anew for those that happen to be multiples of 16."""


@triton.jit
def product(a, b, PRECISION: tl.constexpr):
    """``a @ b`` summed in float32, ``a`` rounded to ``b``'s number format first.

    ``"widened"`` multiplies the rounded numbers in float32, where each product is exact: Triton's interpreter has no
    bfloat16 product.
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
    """``h (M, WIDTHS[FIRST])``, the values before a ReLU, through all layers from number ``FIRST`` on; their matrices
    and biases stand one after the other.
    """
    for i in tl.static_range(FIRST, len(WIDTHS) - 1):
        h = layer(h, weights, biases, WIDTHS[i], WIDTHS[i + 1], PRECISION)
        weights += WIDTHS[i] * WIDTHS[i + 1]
        biases += WIDTHS[i + 1]
    return h


@triton.jit
def rows_of(points, width, GRID: tl.constexpr, SIDES: tl.constexpr, M: tl.constexpr):
    """For each row its query's place on the two axes and the side of the query that its cell is on; whether the query
    is there at all.
    """
    row = tl.arange(0, M)
    p = tl.program_id(0) * (M // (SIDES * SIDES)) + row // (SIDES * SIDES)
    corner = row % (SIDES * SIDES)
    iy = p // width if GRID else tl.program_id(1) * points + p
    ix = p % width if GRID else tl.program_id(1) * points + p
    return iy, ix, corner // SIDES, corner % SIDES, p < points


@triton.jit
def place(cell_y, off_y, cell_x, off_x, iy, ix, sy, sx, ny, nx, cells, cells_x, there):
    """The number of each row's cell in the batch's maps, and the offset to it."""
    cy = tl.load(cell_y + sy * ny + iy, mask=there, other=0)
    cx = tl.load(cell_x + sx * nx + ix, mask=there, other=0)
    dy = tl.load(off_y + sy * ny + iy, mask=there, other=0.0)
    dx = tl.load(off_x + sx * nx + ix, mask=there, other=0.0)
    return tl.program_id(1).to(tl.int64) * cells + cy * cells_x + cx, dy, dx


@triton.jit
def share(off, i, side, n, there):
    """Each row's weight on an axis: the offset opposite over the sum of both; a half where both are one cell."""
    opposite = tl.abs(tl.load(off + (1 - side) * n + i, mask=there, other=1.0))
    total = opposite + tl.abs(tl.load(off + side * n + i, mask=there, other=1.0))
    return tl.where(total > 0, opposite / tl.maximum(total, 1e-30), 0.5)


@triton.jit
def store_blend(
    out, values, off_y, off_x, iy, ix, sy, sx, ny, nx, there, points,
    OUT: tl.constexpr, SIDES: tl.constexpr, M: tl.constexpr,
):  # fmt: skip
    """Blend the rows of each query, each by the shares of its cell's sides, and write the result."""
    N: tl.constexpr = values.shape[1]
    CORNERS: tl.constexpr = SIDES * SIDES
    if SIDES > 1:
        weight = share(off_y, iy, sy, ny, there) * share(off_x, ix, sx, nx, there)
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
    iy, ix, sy, sx, there = rows_of(points, width, GRID, SIDES, M)
    cell, dy, dx = place(cell_y, off_y, cell_x, off_x, iy, ix, sy, sx, ny, nx, cells, cells_x, there)
    columns = tl.arange(0, WIDTHS[0])
    real = columns < K
    along_y = tl.load(geometry + columns, mask=real, other=0.0)
    along_x = tl.load(geometry + K + columns, mask=real, other=0.0)
    always = tl.load(constant + columns, mask=real, other=0.0)
    here = there[:, None] & real[None, :]
    fetched = tl.load(rows + cell[:, None] * K + columns[None, :], mask=here, other=0.0).to(tl.float32)
    hidden = fetched + dy[:, None] * along_y[None, :] + dx[:, None] * along_x[None, :] + always[None, :]
    values = layers(hidden, weights, biases, WIDTHS, 0, PRECISION)
    store_blend(out, values, off_y, off_x, iy, ix, sy, sx, ny, nx, there, points, OUT, SIDES, M)


@triton.jit(do_not_specialize=SIZES)
def lte(
    out, rows, cell_y, off_y, cell_x, off_x, phase, weights, biases,
    points, width, ny, nx, cells, cells_x,
    K: tl.constexpr, OUT: tl.constexpr, GRID: tl.constexpr, SIDES: tl.constexpr,
    WIDTHS: tl.constexpr, PRECISION: tl.constexpr, M: tl.constexpr,
):  # fmt: skip
    """LTE: ``sum_t w_t MLP(A_t [cos a_t, sin a_t])``, ``a_t = F_y d_y + F_x d_x + phase``, pi multiplied in already.

    A row holds ``K`` amplitudes, ``K / 2`` frequencies along y and as many along x. The MLP's first matrix is two: one
    reads cosines, the other sines.
    """
    iy, ix, sy, sx, there = rows_of(points, width, GRID, SIDES, M)
    cell, dy, dx = place(cell_y, off_y, cell_x, off_x, iy, ix, sy, sx, ny, nx, cells, cells_x, there)
    HALF: tl.constexpr = WIDTHS[0]
    FIRST: tl.constexpr = WIDTHS[1]
    waves = tl.arange(0, HALF)
    real = waves < K // 2
    at = rows + cell[:, None] * (2 * K) + waves[None, :]
    here = there[:, None] & real[None, :]
    angle = tl.load(at + K, mask=here, other=0.0) * dy[:, None]
    angle += tl.load(at + K + K // 2, mask=here, other=0.0) * dx[:, None]
    angle += tl.load(phase + waves, mask=real, other=0.0)[None, :]
    outputs = tl.arange(0, FIRST)
    matrix = weights + waves[:, None] * FIRST + outputs[None, :]
    cosines = tl.load(at, mask=here, other=0.0) * tl.cos(angle)
    sines = tl.load(at + K // 2, mask=here, other=0.0) * tl.sin(angle)
    total = product(cosines, tl.load(matrix), PRECISION)
    total += product(sines, tl.load(matrix + HALF * FIRST), PRECISION)
    total += tl.load(biases + outputs)[None, :]
    values = layers(total, weights + 2 * HALF * FIRST, biases + FIRST, WIDTHS, 1, PRECISION)
    store_blend(out, values, off_y, off_x, iy, ix, sy, sx, ny, nx, there, points, OUT, SIDES, M)
