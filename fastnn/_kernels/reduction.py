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

from collections.abc import Sequence
from typing import Any

from numba.core import cgutils

from fastnn._kernels.control import Code, Local, Words, smaller, traced
from fastnn._kernels.jit import kernel
from fastnn._kernels.vector import (
    ELEMENTS,
    I64,
    ITEMSIZES,
    VECTOR_BYTES,
    Lanes,
    Value,
    added,
    fold,
    loop,
    select,
    sweep_loop,
    vectors,
)

BLOCK = 1024  # elements a block in `rows`
LEAF = 32  # rows a block in `columns`
TILE = 512  # largest number of columns summed at once

# Scratch: row addresses, a row of zeros, gathered elements, the counter's levels.
ROWS = 0
ZEROS = 1 << 12
GATHERED = 1 << 14
LEVELS = 1 << 18


def offset(code: Code, args: Words, extents: Value, axes: Value, index: Value) -> Value:
    """Distance (elements) of the element `index`, in C order, of axes described at args[extents]: extents, strides."""
    result, rest = code.local(0), code.local(index)
    with code.range(0, axes) as left:
        axis = axes - 1 - left
        # The outermost axis needs no division.
        outermost = axis.compare("==", 0)
        extent = select(outermost, code.number(1 << 62), args[extents + axis])
        result.now = result.now + (rest.now % extent) * args[extents + axes + axis]
        rest.now = rest.now // extent
    return result.now


def total_of(lanes: Lanes, address: Value, length: Value) -> Value:
    """The sum of at most a few thousand contiguous elements, in 64 lanes (32 of float64)."""

    def term(lanes: Lanes, index: Any, mask: Any | None) -> Value:
        return lanes.load(lanes.pointer(address.value, index), mask)

    return fold(lanes, length.value, 0.0, added, term)


def pairwise(code: Code, blocks: Local, top: Local, merge: Any) -> None:
    """After block sum number `blocks` was put on the counter's level `top`: carry, by ``merge(level)``."""
    carry = code.local(blocks.now)
    with code.while_(lambda: (carry.now & 1).compare("==", 1)):
        top.now = top.now - 1
        merge(top.now)
        carry.now = carry.now >> 1
    top.now = top.now + 1
    blocks.now = blocks.now + 1


def collapse(code: Code, top: Local, merge: Any) -> None:
    """Add what is left on the counter's levels, the smallest first, onto level 0."""
    with code.while_(lambda: top.now.compare(">", 1)):
        top.now = top.now - 1
        merge(top.now - 1)


def segments(length: Value, segment: Value) -> Value:
    """How many segments a sum has: at least one."""
    return select(length.compare(">", 0), (length + segment - 1) // segment, length + 1)


class Levels:
    """Scalars on the levels of the counter."""

    def __init__(self, code: Code, dtype: str, address: Value) -> None:
        self.code, self.lanes, self.address = code, Lanes(code.builder, dtype), address

    def place(self, level: Value) -> Any:
        """Pointer to a level."""
        return self.lanes.pointer(self.address.value, level.value)

    def get(self, level: Value) -> Value:
        """The number on a level."""
        return Value(self.code.builder, self.code.builder.load(self.place(level)))

    def put(self, level: Value, value: Value) -> None:
        """Set the number on a level."""
        self.code.builder.store(value.value, self.place(level))

    def merge(self, level: Value) -> None:
        """Add the next level's number onto a level."""
        self.put(level, self.get(level) + self.get(level + 1))


def converted(integer: Value, dtype: str) -> Value:
    """An integer as a number of the dtype."""
    return Value(integer.builder, integer.builder.sitofp(integer.value, ELEMENTS[dtype]))


@kernel
def rows(dtype: str) -> Any:
    """Sums that include the last axis.

    args: result (segments, outputs), x, outputs, divisor, summed length, elements a segment, sums a chunk, number of
    kept axes, number of summed axes; extents of the kept axes, their strides; extents of the summed axes, their
    strides. There is at least one summed axis.
    """
    size = ITEMSIZES[dtype]

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        lanes = Lanes(code.builder, dtype)
        levels = Levels(code, dtype, scratch + LEVELS)
        outputs, length, segment, group = (args[k] for k in (2, 4, 5, 6))
        kept, summed = args[7], args[8]
        own = code.number(9)
        extents = kept * 2 + 9
        inner = args[extents + summed - 1]
        step = args[extents + summed * 2 - 1]
        items = outputs * segments(length, segment)
        divisor = converted(args[3], dtype)

        def gather(start: Value, count: Value, source: Value) -> None:
            """Copy `count` elements of the summed sequence side by side."""
            at, left, target = code.local(start), code.local(count), code.local(scratch + GATHERED)
            with code.while_(lambda: left.now.compare(">", 0)):
                run = smaller(inner - at.now % inner, left.now)
                place = source + offset(code, args, extents, summed, at.now) * size
                code.move(size, target.now, size, place, step * size, run)
                target.now = target.now + run * size
                at.now = at.now + run
                left.now = left.now - run

        with code.range(first * group, smaller(items, last * group)) as item:
            part = item // outputs
            source = args[1] + offset(code, args, own, kept, item % outputs) * size
            start = code.local(part * segment)
            stop = smaller(length, start.now + segment)
            top, blocks = code.local(0), code.local(0)
            more = code.local(1)
            with code.while_(lambda: more.now.compare("!=", 0)):
                block = smaller(stop - start.now, BLOCK)
                ends = code.local(block)
                with code.when(block.compare(">", 0)):
                    ends.now = start.now % inner + block
                direct = step.compare("==", 1) & ends.now.compare("<=", inner)
                place = code.local(scratch + GATHERED)
                with code.builder.if_else(direct.value) as (here, moved):
                    with here:
                        place.now = source + offset(code, args, extents, summed, start.now) * size
                    with moved:
                        gather(start.now, block, source)
                levels.put(top.now, total_of(lanes, place.now, block))
                pairwise(code, blocks, top, levels.merge)
                start.now = start.now + block
                more.now = select(start.now.compare("<", stop), code.number(1), code.number(0))
            collapse(code, top, levels.merge)
            value = levels.get(code.number(0)) / divisor
            code.builder.store(value.value, lanes.pointer(args[0].value, item.value))

    return traced(emit)


def leaf_sum(code: Code, dtype: str, table: Words, rows: Value, target: Value, width: Value) -> None:
    """Add `rows` rows (a multiple of 4) whose addresses stand in a table, in 4 lanes a column."""
    builder, ways = code.builder, 4

    def body(index: Any, mask: Any | None, count: int) -> None:
        lanes = Lanes(builder, dtype, count)
        sums = [cgutils.alloca_once(builder, lanes.kind) for _ in range(ways)]
        for s in sums:
            builder.store(lanes.zero().value, s)
        with loop(builder, I64(0), rows.value, ways) as row:
            for way, s in enumerate(sums):
                address = table[Value(builder, row) + way].value
                x = lanes.load(lanes.pointer(address, index), mask)
                builder.store((Value(builder, builder.load(s)) + x).value, s)
        a, b, c, d = (Value(builder, builder.load(s)) for s in sums)
        lanes.store((a + b) + (c + d), lanes.pointer(target.value, index), mask)

    vectors(builder, width.value, VECTOR_BYTES // ITEMSIZES[dtype], body)


@kernel
def columns(dtype: str) -> Any:
    """Sums that keep the last axis.

    args: result (segments, outer, columns), x, outer, divisor, summed length, rows a segment, columns a tile, rows a
    block (32, or 1 to add the sums of segments), tiles a chunk, number of outer kept axes, number of summed axes,
    columns, the columns' stride; extents of the outer kept axes, their strides; extents of the summed axes, their
    strides.
    """
    size = ITEMSIZES[dtype]
    row_bytes = TILE * size

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        builder = code.builder
        table = code.words(scratch + ROWS)
        outer, length, segment, tile, leaf, group = (args[k] for k in (2, 4, 5, 6, 7, 8))
        kept, summed, width, step = (args[k] for k in (9, 10, 11, 12))
        own = code.number(13)
        extents = kept * 2 + 13
        tiles = (width + tile - 1) // tile
        items = outer * tiles * segments(length, segment)
        one = I64(1)
        divisor = converted(args[3], dtype)

        def write(
            target: Value, expression: Any, sources: Sequence[Value], given: Sequence[Value], wide: Value
        ) -> None:
            entry = [v.value for v in (target, *sources)] + [one] * (len(sources) + 1)
            sweep_loop(builder, expression, [dtype] * (len(sources) + 1), 1, entry, given, wide.value)

        sweep_loop(
            builder,
            lambda zero: zero,
            [dtype],
            1,
            [(scratch + ZEROS).value, one],
            [Value(builder, ELEMENTS[dtype](0.0))],
            tile.value,
        )
        with code.range(first * group, smaller(items, last * group)) as item:
            column = (item % tiles) * tile
            mine = item // tiles
            part = mine // outer
            wide = smaller(width - column, tile)
            source = args[1] + (offset(code, args, own, kept, mine % outer) + column * step) * size
            start = code.local(part * segment)
            stop = smaller(length, start.now + segment)
            top, blocks, more = code.local(0), code.local(0), code.local(1)

            def merge(level: Value, wide: Value = wide) -> None:
                place = scratch + LEVELS + level * row_bytes
                write(place, added, [place, place + row_bytes], [], wide)

            with code.while_(lambda: more.now.compare("!=", 0)):
                block = smaller(stop - start.now, leaf)
                with code.range(0, block) as r:
                    place = code.local(source + offset(code, args, extents, summed, start.now + r) * size)
                    with code.when(step.compare("!=", 1)):
                        aside = scratch + GATHERED + r * row_bytes
                        code.move(size, aside, size, place.now, step * size, wide)
                        place.now = aside
                    table[r] = place.now
                for extra in range(3):
                    table[block + extra] = scratch + ZEROS
                leaf_sum(code, dtype, table, (block + 3) & -4, scratch + LEVELS + top.now * row_bytes, wide)
                pairwise(code, blocks, top, merge)
                start.now = start.now + block
                more.now = select(start.now.compare("<", stop), code.number(1), code.number(0))
            collapse(code, top, merge)
            target = args[0] + (mine * width + column) * size
            write(target, lambda x, d: x / d, [scratch + LEVELS], [divisor], wide)

    return traced(emit)
