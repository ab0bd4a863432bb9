"""The decoders that are sums of separable functions of the offset, on grids, as GPU kernels; all is float32.

Functions are computed beforehand, per axis, with the weights of the local ensemble in them, as for ``basis.c``.
"""

from __future__ import annotations

import triton
import triton.language as tl

SIZES = ["ny", "nx", "cells", "cells_x", "pixels", "pixels_x", "first", "lines", "count"]
"""Arguments that differ from picture to picture: do not recompile a kernel for multiples of 16."""


FAR = tl.constexpr(1e4)  # radians: no trained model has such phases


@triton.jit
def sine_and_cosine(x):
    """Both of float32 angles, in radians, to 2e-7: what is left of whole quarter turns in three steps, then Cephes'
    polynomials on [-pi/4, pi/4]. The compiler's own take as long for each of the two, and hundreds of instructions for
    huge angles; a tile with any such angle turns back whole turns in float64 first.
    """
    if tl.max(tl.abs(tl.ravel(x))) > FAR:
        wide = x.to(tl.float64)
        x = (wide - tl.floor(wide * 0.15915494309189535) * 6.283185307179586).to(tl.float32)
    quarter = tl.floor(x * 0.6366197723675814 + 0.5)
    r = ((x - quarter * 1.5703125) - quarter * 4.837512969970703e-4) - quarter * 7.54978995489188e-8
    r2 = r * r
    s = ((-1.9515295891e-4 * r2 + 8.3321608736e-3) * r2 - 1.6666654611e-1) * r2 * r + r
    c = ((2.443315711809948e-5 * r2 - 1.388731625493765e-3) * r2 + 4.166664568298827e-2) * (r2 * r2) + (1.0 - 0.5 * r2)
    turns = quarter.to(tl.int32)
    odd = turns % 2 != 0
    sine = tl.where(odd, c, s)
    cosine = tl.where(odd, s, c)
    return tl.where((turns & 2) != 0, -sine, sine), tl.where(((turns + 1) & 2) != 0, -cosine, cosine)


@triton.jit
def store_line(
    out, values, b, c, y, x, picture, pixel_y, share_y, pixel_x, share_x, constant, ny, nx, pixels, pixels_x,
    CHANNELS: tl.constexpr, PICTURE: tl.constexpr,
):  # fmt: skip
    """Write the ``values`` of the channels ``c`` at the pixels ``x`` of the line ``y``, with the picture added:
    ``x`` is ``(M,)`` and ``c`` a number, or ``(M, 1)`` and ``(1, C)``.
    """
    inside = (x < nx) & (c < CHANNELS)
    if PICTURE:
        at = picture + b * pixels * CHANNELS + c
        low = at + tl.load(pixel_y + y) * pixels_x * CHANNELS
        high = at + tl.load(pixel_y + ny + y) * pixels_x * CHANNELS
        p = tl.load(share_y + y)
        q = tl.load(share_y + ny + y)
        left = tl.load(pixel_x + x, mask=x < nx, other=0) * CHANNELS
        right = tl.load(pixel_x + nx + x, mask=x < nx, other=0) * CHANNELS
        of_left = tl.load(low + left, mask=inside, other=0.0) * p + tl.load(high + left, mask=inside, other=0.0) * q
        of_right = tl.load(low + right, mask=inside, other=0.0) * p + tl.load(high + right, mask=inside, other=0.0) * q
        values += of_left * tl.load(share_x + x, mask=x < nx, other=0.0)
        values += of_right * tl.load(share_x + nx + x, mask=x < nx, other=0.0)
        values += tl.load(constant + c, mask=c < CHANNELS, other=0.0)
    tl.store(out + ((b * CHANNELS + c) * ny + y) * nx + x, values, mask=inside)


@triton.jit
def amplitude(at, c, mask, K: tl.constexpr, CHANNELS: tl.constexpr):
    """The amplitudes ``(M, PADDED)`` of a channel in the cells whose phases are at ``at``; of none behind the last."""
    return tl.load(at + (1 + c) * K, mask=mask & (c < CHANNELS), other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=SIZES)
def waves(
    out, rows, cell_y, cell_x, along_y, along_x, picture, pixel_y, share_y, pixel_x, share_x, constant,
    ny, nx, cells, cells_x, pixels, pixels_x,
    K: tl.constexpr, PADDED: tl.constexpr, CHANNELS: tl.constexpr, GROUP: tl.constexpr, PICTURE: tl.constexpr,
    M: tl.constexpr, LINES: tl.constexpr,
):  # fmt: skip
    """Thera on a grid: ``sum_k A_ck sin(a_k(y) + b_k(x) + phase_k)``.

    A program makes ``M`` pixels of some lines, up to four channels. What belongs to a cell and a column, the sine and
    the cosine of ``b + phase``, is made anew only where a line reads another row of cells; ``a`` is added by the
    addition theorem, so that a pixel costs no sine.
    """
    x = tl.program_id(0) * M + tl.arange(0, M)
    groups: tl.constexpr = (CHANNELS + GROUP - 1) // GROUP
    b = (tl.program_id(2) // groups).to(tl.int64)
    channel = (tl.program_id(2) % groups) * GROUP
    k = tl.arange(0, PADDED)
    mask = (x < nx)[:, None] & (k < K)[None, :]
    column = tl.load(cell_x + x, mask=x < nx, other=0)
    columns = along_x + x[:, None] * (2 * K) + k[None, :]
    turn = tl.load(columns, mask=mask, other=0.0)
    rise = tl.load(columns + K, mask=mask, other=0.0)
    sine = tl.zeros([M, PADDED], dtype=tl.float32)
    cosine = sine
    a0 = sine
    a1 = sine
    a2 = sine
    a3 = sine
    first = tl.program_id(1) * LINES
    known = tl.load(cell_y + first) - 1  # not the first line's
    for line in range(LINES):
        y = tl.minimum(first + line, ny - 1)  # the last line again, rather than none
        row = tl.load(cell_y + y)
        if row != known:
            at = rows + (((b * cells + row * cells_x + column) * ((1 + CHANNELS) * K))[:, None] + k[None, :])
            phase = tl.load(at, mask=mask, other=0.0).to(tl.float32)
            s, c = sine_and_cosine(phase)
            sine = s * turn + c * rise
            cosine = c * turn - s * rise
            a0 = amplitude(at, channel, mask, K, CHANNELS)
            if GROUP > 1:
                a1 = amplitude(at, channel + 1, mask, K, CHANNELS)
            if GROUP > 2:
                a2 = amplitude(at, channel + 2, mask, K, CHANNELS)
            if GROUP > 3:
                a3 = amplitude(at, channel + 3, mask, K, CHANNELS)
            known = row
        lift = tl.load(along_y + y * (2 * K) + k, mask=k < K, other=0.0)
        sway = tl.load(along_y + y * (2 * K) + K + k, mask=k < K, other=0.0)
        wave = sine * lift[None, :] + cosine * sway[None, :]
        values = tl.sum(wave * a0, axis=1)
        channels = channel
        at_x = x
        if GROUP > 1:  # all together: what belongs to a pixel is fetched once
            second = tl.sum(wave * a1, axis=1)
            third = tl.zeros_like(second)
            fourth = third
            if GROUP > 2:
                third = tl.sum(wave * a2, axis=1)
            if GROUP > 3:
                fourth = tl.sum(wave * a3, axis=1)
            values = tl.reshape(tl.join(tl.join(values, third), tl.join(second, fourth)), (M, 4))
            channels = channel + tl.arange(0, 4)[None, :]
            at_x = x[:, None]
        store_line(
            out, values, b, channels, y, at_x, picture, pixel_y, share_y, pixel_x, share_x, constant,
            ny, nx, pixels, pixels_x, CHANNELS, PICTURE,
        )  # fmt: skip


@triton.jit(do_not_specialize=SIZES)
def join(
    joined, rows, columns, cell_y, along_y, ny, cells, cells_x, first, lines, count,
    K: tl.constexpr, CHANNELS: tl.constexpr, SIDES: tl.constexpr, N: tl.constexpr, LINES: tl.constexpr,
):  # fmt: skip
    """The coefficients of each column of cells with the functions along y, ``(lines, count, CHANNELS, K)``:
    ``sum_si f_si(y) coefficient[cell_s(y), column, c, i, j]``.

    A program makes ``N`` of these numbers for ``LINES`` lines, from each row of cells that one of the lines reads.
    """
    n = tl.program_id(0) * N + tl.arange(0, N)
    at = n // (CHANNELS * K)
    inside = at < count
    column = tl.load(columns + at, mask=inside, other=0)
    own = (n // K) % CHANNELS * (K * K) + n % K
    line = tl.program_id(1) * LINES + tl.arange(0, LINES)
    real = line < lines
    y = tl.where(real, first + line, first)
    b = tl.program_id(2).to(tl.int64)
    near = tl.load(cell_y + y).to(tl.int32)
    far = tl.load(cell_y + (SIDES - 1) * ny + y).to(tl.int32)
    lowest = tl.min(tl.minimum(near, far), axis=0)
    highest = tl.max(tl.maximum(near, far), axis=0)
    total = tl.zeros([LINES, N], dtype=tl.float32)
    for row in range(lowest, highest + 1):
        coefficients = rows + (b * cells + row * cells_x + column) * (CHANNELS * K * K) + own
        for i in range(K):
            f = tl.load(along_y + y * K + i, mask=near == row, other=0.0)
            if SIDES > 1:
                f += tl.load(along_y + (ny + y) * K + i, mask=far == row, other=0.0)
            coefficient = tl.load(coefficients + i * K, mask=inside, other=0.0).to(tl.float32)
            total += f[:, None] * coefficient[None, :]
    to = joined + (b * lines + line)[:, None] * (count * CHANNELS * K) + n[None, :]
    tl.store(to, total, mask=real[:, None] & inside[None, :])


@triton.jit(do_not_specialize=SIZES)
def products(
    out, joined, index, along_x, picture, pixel_y, share_y, pixel_x, share_x, constant,
    ny, nx, pixels, pixels_x, first, lines, count,
    K: tl.constexpr, PADDED: tl.constexpr, CHANNELS: tl.constexpr, SIDES: tl.constexpr, PICTURE: tl.constexpr,
    M: tl.constexpr, LINES: tl.constexpr,
):  # fmt: skip
    """Sums of products on a grid: ``sum_sj g_sj(x) joined[y, index_s(x), c, j]``, for ``M`` pixels of some lines."""
    x = tl.program_id(0) * M + tl.arange(0, M)
    b = tl.program_id(2).to(tl.int64)
    j = tl.arange(0, PADDED)
    inside = x < nx
    mask = inside[:, None] & (j < K)[None, :]
    near = tl.load(index + x, mask=inside, other=0)
    far = tl.load(index + (SIDES - 1) * nx + x, mask=inside, other=0)
    of_near = tl.load(along_x + x[:, None] * K + j[None, :], mask=mask, other=0.0)
    of_far = tl.load(along_x + ((SIDES - 1) * nx + x)[:, None] * K + j[None, :], mask=mask, other=0.0)
    for line in range(LINES):
        made = tl.minimum(tl.program_id(1) * LINES + line, lines - 1)  # the last line again, rather than none
        at = joined + (b * lines + made) * count * (CHANNELS * K) + j[None, :]
        for c in range(CHANNELS):
            terms = tl.load(at + (near[:, None] * CHANNELS + c) * K, mask=mask, other=0.0) * of_near
            if SIDES > 1:
                terms += tl.load(at + (far[:, None] * CHANNELS + c) * K, mask=mask, other=0.0) * of_far
            store_line(
                out, tl.sum(terms, axis=1), b, c, first + made, x, picture, pixel_y, share_y, pixel_x, share_x,
                constant, ny, nx, pixels, pixels_x, CHANNELS, PICTURE,
            )  # fmt: skip
