"""Changes of images, each sample in its own way: windows, mirror images, affine maps, and the numbers to choose by.

Images lie (samples, rows, columns, channels) without gaps. An item is a sample: a chunk's samples follow one another.

`numbers` draws by Philox 4x32-10 (see `philox`) one counter after the other: its low 64 bits are the sample's own
number, so that a sample gets the same numbers wherever it stands in a batch; the attempt tells a sample's blocks apart.
"""

from __future__ import annotations

from typing import Any

from fastnn._kernels.indexing import smaller
from fastnn._kernels.interpolation import below
from fastnn._kernels.jit import inline, kernel
from fastnn._kernels.philox import ATTEMPT, MASK, MULTIPLIERS, ROUNDS, WEYL
from fastnn._kernels.pointer import cell, pointer

ONE, TWO = MULTIPLIERS
STEP_ONE, STEP_TWO = WEYL


@inline
def halves(a: int, b: int) -> tuple[int, int]:
    """The high and low 32 bits of a product of two 32-bit words; no intermediate leaves 63 bits."""
    low, high = a * (b & 0xFFFF), a * (b >> 16)
    return ((low >> 16) + high) >> 16, (((high & 0xFFFF) << 16) + low) & MASK


@inline
def block_of(sample: int, draw: int, block: int, seed_low: int, seed_high: int) -> tuple[int, int, int, int]:
    """The four words of a counter."""
    x0, x1 = sample & MASK, (sample >> 32) & MASK
    x2, x3 = draw & MASK, ((draw >> 32) & MASK) ^ (block * ATTEMPT)
    k0, k1 = seed_low, seed_high
    for _ in range(ROUNDS):
        high0, low0 = halves(ONE, x0)
        high1, low1 = halves(TWO, x2)
        x0, x1, x2, x3 = high1 ^ x1 ^ k0, low1, high0 ^ x3 ^ k1, low0
        k0, k1 = (k0 + STEP_ONE) & MASK, (k1 + STEP_TWO) & MASK
    return x0, x1, x2, x3


@kernel
def numbers(dtype: str, index: str) -> Any:
    """args: y (samples, count), sample numbers, their distance, samples, count, cells of seed and draw, items a chunk.

    Numbers from [0, 1): words over 2**32 in float64, their upper 24 bits over 2**24 in float32.
    """
    shift, unit = (0, 2.0**-32) if dtype == "float64" else (8, 2.0**-24)

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        y, samples = pointer(args[0], dtype), pointer(args[1], index)
        count = args[4]
        seed_low, seed_high, draw = int(cell(args[5])), int(cell(args[6])), int(cell(args[7]))
        for item in range(first * args[8], smaller(last * args[8], args[3])):
            sample = int(samples[item * args[2]])
            for block in range((count + 3) // 4):
                a, b, c, d = block_of(sample, draw, block, seed_low, seed_high)
                own = item * count + 4 * block
                left = count - 4 * block
                y[own] = (a >> shift) * unit
                if left > 1:
                    y[own + 1] = (b >> shift) * unit
                if left > 2:
                    y[own + 2] = (c >> shift) * unit
                if left > 3:
                    y[own + 3] = (d >> shift) * unit

    return body


@kernel
def window(dtype: str, index: str) -> Any:
    """The part of each image that begins at a corner of its own, which may lie outside; `fill` where there is none.

    args: y, x, corners, their distances (samples, row or column), samples, channels, rows and columns of x, those of y,
    cell fill, items a chunk.
    """

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        y, x, corners = pointer(args[0], dtype), pointer(args[1], dtype), pointer(args[2], index)
        channels, high, wide, rows, columns = args[6], args[7], args[8], args[9], args[10]
        fill = cell(args[11])
        for item in range(first * args[12], smaller(last * args[12], args[5])):
            top, left = int(corners[item * args[3]]), int(corners[item * args[3] + args[4]])
            # the columns that there are
            begin = smaller(-left, columns) if left < 0 else 0
            end = smaller(wide - left, columns)
            end = end if end > begin else begin
            for row in range(rows):
                own = (item * rows + row) * columns * channels
                source = top + row
                if source < 0 or source >= high:
                    for n in range(columns * channels):
                        y[own + n] = fill
                else:
                    at = ((item * high + source) * wide + left) * channels
                    for n in range(begin * channels):
                        y[own + n] = fill
                    for n in range(begin * channels, end * channels):
                        y[own + n] = x[at + n]
                    for n in range(end * channels, columns * channels):
                        y[own + n] = fill

    return body


@kernel
def mirror(dtype: str, upright: bool) -> Any:
    """Images, some of which are mirrored: left and right change places, or (`upright`) top and bottom.

    args: y, x, chosen (bools), their distance, samples, channels, rows, columns, items a chunk.
    """

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        y, x, chosen = pointer(args[0], dtype), pointer(args[1], dtype), pointer(args[2], "int8")
        channels, rows, columns = args[5], args[6], args[7]
        size = rows * columns * channels
        for item in range(first * args[8], smaller(last * args[8], args[4])):
            base = item * size
            if chosen[item * args[3]] == 0:
                for n in range(size):
                    y[base + n] = x[base + n]
            elif upright:
                for row in range(rows):
                    own, at = base + row * columns * channels, base + (rows - 1 - row) * columns * channels
                    for n in range(columns * channels):
                        y[own + n] = x[at + n]
            else:
                for row in range(rows):
                    own = base + row * columns * channels
                    at = own + (columns - 1) * channels
                    for column in range(columns):
                        for n in range(channels):
                            y[own + column * channels + n] = x[at - column * channels + n]

    return body


@kernel
def warp(dtype: str, bilinear: bool, fixed: int) -> Any:
    """Each image seen through an affine map of its own; `fill` counts for pixels that are not there.

    `fixed` : the number of channels where it is small, so that loops over them are unrolled; else 0.

    The pixel in row i, column j comes from column ``m[0] * j + m[1] * i + m[2]``, row ``m[3] * j + m[4] * i + m[5]``.

    args: y, x, maps (samples, 6), samples, channels, rows and columns of x, those of y, cell fill, items a chunk.
    """

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        y, x, maps = pointer(args[0], dtype), pointer(args[1], dtype), pointer(args[2], dtype)
        channels, rows, columns = fixed or args[4], args[5], args[6]
        high, wide, fill = args[7], args[8], cell(args[9])
        for item in range(first * args[10], smaller(last * args[10], args[3])):
            base, m = item * rows * columns * channels, item * 6
            for row in range(high):
                for column in range(wide):
                    own = ((item * high + row) * wide + column) * channels
                    across = float(maps[m]) * column + float(maps[m + 1]) * row + float(maps[m + 2])
                    down = float(maps[m + 3]) * column + float(maps[m + 4]) * row + float(maps[m + 5])
                    if not bilinear:
                        across, down = across + 0.5, down + 0.5
                    # also False for a NaN
                    if not (-1 < across < columns + 1 and -1 < down < rows + 1):
                        for n in range(channels):
                            y[own + n] = fill
                        continue
                    left, top = below(across), below(down)
                    at = base + (top * columns + left) * channels
                    here, there = 0 <= left < columns, 0 <= left + 1 < columns
                    above, under = 0 <= top < rows, 0 <= top + 1 < rows
                    if bilinear:
                        right, bottom = across - left, down - top
                        for n in range(channels):
                            a = x[at + n] if here and above else fill
                            b = x[at + channels + n] if there and above else fill
                            c = x[at + columns * channels + n] if here and under else fill
                            d = x[at + (columns + 1) * channels + n] if there and under else fill
                            upper, lower = a * (1 - right) + b * right, c * (1 - right) + d * right
                            y[own + n] = upper * (1 - bottom) + lower * bottom
                    else:
                        for n in range(channels):
                            y[own + n] = x[at + n] if here and above else fill

    return body


@kernel
def erase(dtype: str, index: str) -> Any:
    """Images with a box of their own filled.

    args: y, x, boxes (samples; first row, first column, rows, columns), their distances, samples, channels, rows,
    columns, cell value, items a chunk.
    """

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        y, x, boxes = pointer(args[0], dtype), pointer(args[1], dtype), pointer(args[2], index)
        channels, rows, columns, value = args[6], args[7], args[8], cell(args[9])
        size = rows * columns * channels
        for item in range(first * args[10], smaller(last * args[10], args[5])):
            base, box = item * size, item * args[3]
            for n in range(size):
                y[base + n] = x[base + n]
            top, left = int(boxes[box]), int(boxes[box + args[4]])
            high, wide = int(boxes[box + 2 * args[4]]), int(boxes[box + 3 * args[4]])
            begin, end = (left if left > 0 else 0), smaller(left + wide, columns)
            for row in range(top if top > 0 else 0, smaller(top + high, rows)):
                own = base + row * columns * channels
                for n in range(begin * channels, end * channels):
                    y[own + n] = value

    return body
