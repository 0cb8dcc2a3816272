"""Sums over axes, in an order that depends on the summed length and on whether the last axis is summed, nothing else.

A. Order. The summed elements form one sequence, in C order of the summed axes as the caller sees them (not as they
   lie in memory). `rows` serves sums that include the last axis: the sequence is cut into blocks of 1,024 elements, a
   block is summed in 64 lanes (element e in lane e mod 64), and the lanes are added by halves. `columns` serves the
   others: blocks of 32 elements in 4 lanes. Block sums are added pairwise, as the carries of a binary counter.
B. Splitting. A long sum is cut into segments of a power of two of blocks; a second phase (`columns` with blocks of
   one) adds the segments' sums pairwise. The tree of additions, hence every bit, is the one of the uncut sum.
C. Error: at most (h + ceil(log2(blocks))) u sum|x| to first order, h = 16 + 6 additions for `rows`, 8 + 2 for
   `columns`; u = 2**-24 or 2**-53.
D. Strides may be any. What does not lie side by side is gathered into scratch first.

The result is C-contiguous. It is divided by `divisor` (the length for a mean, 1 for a sum).
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils

from fastnn._kernels.jit import inline, kernel
from fastnn._kernels.pointer import DTYPES, pointer
from fastnn._kernels.vector import (
    I64,
    ITEMSIZES,
    Lanes,
    Value,
    added,
    emitted,
    fold,
    loop,
    move,
    sweep,
    vectors,
)

BLOCK = 1024  # elements a block in `rows`
LEAF = 32  # rows a block in `columns`
TILE = 512  # largest number of columns summed at once

# Scratch: a table for the sweeps, row addresses, a row of zeros, gathered elements, the counter's levels.
ROWS = 1 << 10
ZEROS = 1 << 12
GATHERED = 1 << 14
LEVELS = 1 << 18


@inline
def offset(args: Any, extents: Any, strides: Any, axes: Any, index: Any) -> Any:
    """Distance (elements) of the element `index`, in C order, of axes described at args[extents], args[strides]."""
    result = 0
    for k in range(axes - 1, 0, -1):
        result += (index % args[extents + k]) * args[strides + k]
        index //= args[extents + k]
    return result + index * args[strides] if axes > 0 else 0


@inline
def gather(args: Any, extents: Any, axes: Any, start: Any, length: Any, source: Any, target: Any, size: Any) -> None:
    """Copy elements `start` to `start + length` of the summed sequence side by side; strides follow the extents."""
    inner = args[extents + axes - 1]
    step = args[extents + 2 * axes - 1] * size
    while length > 0:
        at = start % inner
        run = min(inner - at, length)
        place = source + offset(args, extents, extents + axes, axes, start) * size
        move(size, target, size, place, step, run)
        target += run * size
        start += run
        length -= run


def block_sum(dtype: str) -> Any:
    """``sum(address, length)``: at most a few thousand contiguous elements, in 64 lanes (32 of float64)."""

    def emit(builder: Any, address: Any, length: Any) -> Any:
        lanes = Lanes(builder, dtype)
        total = fold(lanes, length, 0.0, added, lambda index, mask: lanes.load(lanes.pointer(address, index), mask))
        return total.combined(added).value

    return emitted((DTYPES[dtype], types.int64, types.int64), emit)


@kernel
def rows(dtype: str) -> Any:
    """Sums that include the last axis.

    args: result (segments, outputs), x, outputs, divisor, summed length, elements a segment, sums a chunk, number of
    kept axes, number of summed axes; extents of the kept axes, their strides; extents of the summed axes, their
    strides. There is at least one summed axis.
    """
    size = ITEMSIZES[dtype]
    number = DTYPES[dtype]
    sum_block = block_sum(dtype)

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        levels = pointer(scratch + LEVELS, dtype)
        result = pointer(args[0], dtype)
        outputs, length, segment, group = args[2], args[4], args[5], args[6]
        kept, summed = args[7], args[8]
        extents = 9 + 2 * kept
        inner = args[extents + summed - 1]
        direct = args[extents + 2 * summed - 1] == 1
        items = outputs * max(1, -(-length // segment))
        for item in range(first * group, min(items, last * group)):
            part = item // outputs if item >= outputs else 0
            source = args[1] + offset(args, 9, 9 + kept, kept, item - part * outputs) * size
            start = part * segment
            stop = min(length, start + segment)
            top = 0
            blocks = 0
            while True:
                block = min(BLOCK, stop - start)
                if direct and start % inner + block <= inner:
                    place = source + offset(args, extents, extents + summed, summed, start) * size
                else:
                    place = scratch + GATHERED
                    gather(args, extents, summed, start, block, source, place, size)
                total = sum_block(place, block)
                carry = blocks
                while carry & 1:
                    top -= 1
                    total = levels[top] + total
                    carry >>= 1
                levels[top] = total
                top += 1
                blocks += 1
                start += block
                if start >= stop:
                    break
            top -= 1
            total = levels[top]
            while top > 0:
                top -= 1
                total = levels[top] + total
            result[item] = total / number(args[3])

    return body


def leaf_sum(dtype: str) -> Any:
    """``sum(rows, count, target, width)``: add `count` rows (a multiple of 4) given by a table of addresses."""
    ways = 4

    def emit(builder: Any, table: Any, rows: Any, target: Any, width: Any) -> None:
        lanes = Lanes(builder, dtype)
        count = lanes.count
        entries = builder.inttoptr(table, I64.as_pointer())
        sums = [cgutils.alloca_once(builder, lanes.kind) for _ in range(ways)]

        def body(index: Any, mask: Any | None) -> None:
            for s in sums:
                builder.store(lanes.zero().value, s)
            with loop(builder, I64(0), rows, ways) as row:
                for way, s in enumerate(sums):
                    address = builder.load(builder.gep(entries, [builder.add(row, I64(way))]))
                    x = lanes.load(lanes.pointer(address, index), mask)
                    builder.store((Value(builder, builder.load(s)) + x).value, s)
            a, b, c, d = (Value(builder, builder.load(s)) for s in sums)
            lanes.store((a + b) + (c + d), lanes.pointer(target, index), mask)

        vectors(builder, width, count, body)

    return emitted((None, *[types.int64] * 4), emit)


@kernel
def columns(dtype: str) -> Any:
    """Sums that keep the last axis.

    args: result (segments, outer, columns), x, outer, divisor, summed length, rows a segment, columns a tile, rows a
    block (32, or 1 to add the sums of segments), tiles a chunk, number of outer kept axes, number of summed axes,
    columns, the columns' stride; extents of the outer kept axes, their strides; extents of the summed axes, their
    strides.
    """
    size = ITEMSIZES[dtype]
    sum_leaf = leaf_sum(dtype)
    add = sweep(lambda x, y: x + y, [dtype], [dtype, dtype])
    divide = sweep(lambda x, divisor: x / divisor, [dtype], [dtype], 1)
    row_bytes = TILE * size

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        words = pointer(scratch, "int64")
        table = pointer(scratch + ROWS, "int64")
        zeros = pointer(scratch + ZEROS, dtype)
        divisor = pointer(scratch + 512, dtype)
        outer, length, segment, tile, leaf, group = args[2], args[4], args[5], args[6], args[7], args[8]
        kept, summed, width, step = args[9], args[10], args[11], args[12]
        extents = 13 + 2 * kept
        tiles = -(-width // tile)
        items = outer * tiles * max(1, -(-length // segment))
        divisor[0] = args[3]
        for j in range(tile):
            zeros[j] = 0
        for item in range(first * group, min(items, last * group)):
            column = (item % tiles) * tile
            own = item // tiles
            part = own // outer
            wide = min(tile, width - column)
            source = args[1] + (offset(args, 13, 13 + kept, kept, own % outer) + column * step) * size
            start = part * segment
            stop = min(length, start + segment)
            top = 0
            blocks = 0
            while True:
                block = min(leaf, stop - start)
                for r in range(block):
                    place = source + offset(args, extents, extents + summed, summed, start + r) * size
                    if step != 1:
                        move(size, scratch + GATHERED + r * row_bytes, size, place, step * size, wide)
                        place = scratch + GATHERED + r * row_bytes
                    table[r] = place
                for r in range(block, block + 3):
                    table[r] = scratch + ZEROS
                target = scratch + LEVELS + top * row_bytes
                sum_leaf(scratch + ROWS, (block + 3) & -4, target, wide)
                carry = blocks
                for k in range(6):
                    words[k] = 1
                while carry & 1:
                    top -= 1
                    words[0] = scratch + LEVELS + top * row_bytes
                    words[1] = words[0]
                    words[2] = words[0] + row_bytes
                    add(scratch, 0, wide)
                    carry >>= 1
                top += 1
                blocks += 1
                start += block
                if start >= stop:
                    break
            for k in range(6):
                words[k] = 1
            while top > 1:
                top -= 1
                words[0] = scratch + LEVELS + (top - 1) * row_bytes
                words[1] = words[0]
                words[2] = words[0] + row_bytes
                add(scratch, 0, wide)
            words[0] = args[0] + (own * width + column) * size
            words[1] = scratch + LEVELS
            words[2] = 1
            divide(scratch, scratch + 512, wide)

    return body
