"""The largest or smallest element along axes and where it is, and gradients that are sent to places by index.

The first of several equal elements counts; a NaN counts as more extreme than any number. `rows` serves any layout: the
sequence of the reduced elements is looked at in blocks of 1,024, and only a block that holds a more extreme element is
searched for its place. `columns` serves one reduced axis beside a contiguous last axis. Long sequences are cut into
segments, which `combine` puts together in order, so that cutting changes nothing.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.jit import kernel
from fastnn._kernels.lines import Lines
from fastnn._kernels.reduction import BLOCK, FOLDS, GATHERED, gather, offset, segments, split, total_of
from fastnn._kernels.vector import (
    ELEMENTS,
    I32,
    I64,
    ITEMSIZES,
    VECTOR_BYTES,
    Lanes,
    Value,
    call,
    mask_of,
    select,
    vectors,
)

RUN = 8  # rows that `columns` reads side by side
TILE = 1024  # most columns at once
WHOLE = {"float32": "int32", "float64": "int64"}  # places beside elements of a vector


def beyond(x: Value, best: Value, smallest: bool) -> Value:
    """Whether x is more extreme than what was found before it."""
    return x.compare("<" if smallest else ">", best) | (x.compare("!=", x) & best.compare("==", best))


def first_place(code: Code, lanes: Lanes, address: Value, length: Value, top: Value) -> Value:
    """Where the first element equal to `top` (or the first NaN, if that is one) stands; there is one."""
    builder, count = code.builder, lanes.count
    wide = top.splat(count)
    at, found = code.local(0), code.local(-1)
    with code.while_(lambda: found.now.compare("<", 0)):
        mask = mask_of(builder, (length - at.now).value, count)
        x = lanes.load(lanes.pointer(address.value, at.now.value), mask)
        same = x.compare("==", wide) | (x.compare("!=", x) & wide.compare("!=", wide))
        bits = builder.bitcast(builder.and_(same.value, mask), ir.IntType(count))
        bits = builder.zext(bits, I64)
        place = call(builder, "llvm.cttz.i64", I64, [bits, ir.Constant(ir.IntType(1), 0)])
        some = Value(builder, bits).compare("!=", 0)
        found.now = select(some, at.now + Value(builder, place), found.now)
        at.now = at.now + count
    return found.now


@kernel
def rows(dtype: str, smallest: bool) -> Any:
    """Extremes and their places in any layout.

    args: values (segments, outputs), places (segments, outputs, int64), x, outputs, reduced length, elements a segment,
    results a chunk, number of kept axes, number of reduced axes; extents of the kept axes, their strides; extents of
    the reduced axes, their strides. There is at least one reduced axis, and one element.
    """
    size, what = ITEMSIZES[dtype], FOLDS["min" if smallest else "max"]

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        builder = code.builder
        lanes = Lanes(builder, dtype)
        outputs, length, segment, group, kept, summed = (args[k] for k in range(3, 9))
        own = code.number(9)
        extents = kept * 2 + 9
        inner = args[extents + summed - 1]
        step = args[extents + summed * 2 - 1]
        items = outputs * segments(length, segment)
        with code.range(first * group, smaller(items, last * group)) as item:
            part, output = split(code, item, outputs, items)
            source = args[2] + offset(code, args, own, kept, output) * size
            start = code.local(part * segment)
            stop = smaller(length, start.now + segment)
            target = lanes.pointer(args[0].value, item.value)
            best = Value(builder, ELEMENTS[dtype](what.start))
            builder.store(best.value, target)
            place = code.local(-1)
            with code.while_(lambda: start.now.compare("<", stop)):
                block = smaller(stop - start.now, BLOCK)
                address = code.local(source + start.now * step * size)
                direct = code.local(select(step.compare("==", 1), code.number(1), code.number(0)))
                with code.when(summed.compare(">", 1)):
                    fits = (start.now % inner + block).compare("<=", inner)
                    direct.now = select(fits, direct.now, code.number(0))
                    address.now = source + offset(code, args, extents, summed, start.now) * size
                with code.when(direct.now.compare("==", 0)):
                    gather(code, args, extents, summed, size, start.now, block, source, scratch + GATHERED)
                    address.now = scratch + GATHERED
                top = total_of(lanes, address.now, block, what)
                best = Value(builder, builder.load(target))
                with code.when(beyond(top, best, smallest) | place.now.compare("<", 0)):
                    builder.store(top.value, target)
                    place.now = start.now + first_place(code, lanes, address.now, block, top)
                start.now = start.now + block
            code.words(args[1])[item] = place.now

    return traced(emit)


@kernel
def columns(dtype: str, smallest: bool) -> Any:
    """Extremes and their places along one axis, beside a contiguous last axis.

    args: values (segments, outer, columns), places (the same, int64), x, outer, reduced length (at least 1), rows a
    segment, columns a tile, tiles a chunk, number of outer kept axes, columns, the reduced axis' stride; extents of the
    outer kept axes, their strides.
    """
    size = ITEMSIZES[dtype]
    best_at, place_at = GATHERED, GATHERED + TILE * size

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        builder = code.builder
        outer, length, segment, tile, group, kept, width, step = (args[k] for k in range(3, 11))
        tiles = (width + tile - 1) // tile
        items = outer * tiles * segments(length, segment)

        with code.range(first * group, smaller(items, last * group)) as item:
            mine, tile_number = split(code, item, tiles, items)
            column = tile_number * tile
            part, output = split(code, mine, outer, items)
            wide = smaller(width - column, tile)
            source = args[2] + (offset(code, args, code.number(11), kept, output) + column) * size
            row = code.local(part * segment)
            stop = smaller(length, row.now + segment)
            fresh = code.local(1)

            def sweep(
                count: int, source: Value = source, wide: Value = wide, row: Any = row, fresh: Any = fresh
            ) -> None:
                at = row.now
                addresses = [source + (at + k) * step * size for k in range(count)]
                anew = fresh.now.compare("!=", 0)

                def body(index: Any, mask: Any | None, vector: int) -> None:
                    lanes = Lanes(builder, dtype, vector)
                    places = Lanes(builder, WHOLE[dtype], vector)

                    def number(value: Value) -> Value:
                        """A row's number in all lanes."""
                        short = builder.trunc(value.value, I32) if dtype == "float32" else value.value
                        return Value(builder, short).splat(vector)

                    best_here = lanes.pointer((scratch + best_at).value, index)
                    place_here = places.pointer((scratch + place_at).value, index)
                    start = Value(builder, builder.select(anew.value, I64(1), I64(0)))
                    xs = [lanes.load(lanes.pointer(a.value, index), mask) for a in addresses]
                    none = Value(builder, builder.trunc(start.value, ir.IntType(1))).splat(vector)
                    # What scratch holds before the first row is not looked at.
                    best = select(none, xs[0], lanes.load(best_here, mask))
                    place = select(none, number(at), places.load(place_here, mask))
                    for k, x in enumerate(xs):
                        better = beyond(x, best, smallest)
                        best = select(better, x, best)
                        place = select(better, number(at + k), place)
                    lanes.store(best, best_here, mask)
                    places.store(place, place_here, mask)

                vectors(builder, wide.value, VECTOR_BYTES // size, body)
                row.now = row.now + count
                fresh.now = code.number(0)

            with code.while_(lambda: (row.now + RUN).compare("<=", stop)):
                sweep(RUN)
            with code.while_(lambda: row.now.compare("<", stop)):
                sweep(1)
            lanes, places = Lanes(builder, dtype), Lanes(builder, WHOLE[dtype])
            target = mine * width + column
            words = code.words(args[1])
            with code.range(0, wide) as k:
                best = builder.load(lanes.pointer((scratch + best_at).value, k.value))
                builder.store(best, lanes.pointer(args[0].value, (target + k).value))
                place = builder.load(places.pointer((scratch + place_at).value, k.value))
                words[target + k] = Value(builder, builder.sext(place, I64) if dtype == "float32" else place)

    return traced(emit)


@kernel
def combine(dtype: str, smallest: bool) -> Any:
    """Put segments together.

    args: values (outputs), places (int64), the segments' values and places, outputs, segments. One chunk.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        builder = code.builder
        lanes = Lanes(builder, dtype)
        outputs = args[4]
        places, given = code.words(args[1]), code.words(args[3])
        with code.range(0, outputs) as output:
            target = lanes.pointer(args[0].value, output.value)
            builder.store(builder.load(lanes.pointer(args[2].value, output.value)), target)
            places[output] = given[output]
            with code.range(1, args[5]) as segment:
                item = segment * outputs + output
                value = Value(builder, builder.load(lanes.pointer(args[2].value, item.value)))
                with code.when(beyond(value, Value(builder, builder.load(target)), smallest)):
                    builder.store(value.value, target)
                    places[output] = given[item]

    return traced(emit)


@kernel
def scatter(dtype: str) -> Any:
    """Zeros, with ``dy[k]`` added at place ``index[k]`` of each line: the gradient of what was taken by index.

    args: dx, dy, index (int64), a line's length in dx, its length in dy, then the lines, see
    `fastnn._kernels.lines.Lines`.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        for dx, dy, index in Lines(code, args, 5, (dtype, dtype, "int64")).walk(first, last):
            with code.range(0, args[3]) as k:
                dx[k] = Value(code.builder, ELEMENTS[dtype](0.0))
            with code.range(0, args[4]) as k:
                place = index[k]
                dx[place] = dx[place] + dy[k]

    return traced(emit)
