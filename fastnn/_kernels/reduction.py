"""Reductions over axes, in an order that depends on the reduced length and on whether the last axis is reduced.

A. A `Fold` says what is done: a term of each element, how two partial results combine, the neutral start. The result
   of an output is divided by `divisor` (the length for a mean, 1 for a sum) and, if `finish` is "root", its square
   root is taken. A fold that is `centered` takes the output's own number beside each element (a mean, a maximum).
B. Order. The reduced elements form one sequence, in C order of the reduced axes as the caller sees them (not as they
   lie in memory). `rows` serves reductions that include the last axis: the sequence is cut into blocks of 1,024
   elements, a block runs in 64 lanes (element e in lane e mod 64; 32 of float64), and the lanes are combined by halves.
   `columns` serves the others: blocks of 32 elements, which are four runs of 8 combined pairwise, one run after the
   other; what is left of a block after its last whole run follows one by one. Blocks are combined pairwise, as the
   carries of a binary counter.
C. Splitting. A long sequence is cut into segments of a power of two of blocks; a second phase (`columns` with blocks
   of one) combines the segments pairwise. The tree of combinations, hence every bit, is the one of the uncut sequence.
D. Error of a sum: at most (h + ceil(log2(blocks))) u sum|x| to first order, h = 16 + 6 additions for `rows`, at most
   3 + 10 for `columns`; u = 2**-24 or 2**-53.
E. Strides may be any. What does not lie side by side is gathered into scratch first: for `columns`, where the reduced
   elements lie side by side, by transposing tiles in registers.
F. `columns` also takes the order of `rows` (`lanes`), for outputs that lie side by side where the reduced elements do
   not: it adds whole rows where `rows` adds elements, so a transposed array gives the bits of its copy.

The result is C-contiguous, and so is the array of centers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils

from fastnn._kernels.control import Code, Local, Words, smaller, traced
from fastnn._kernels.emit import Vectors
from fastnn._kernels.jit import kernel
from fastnn._kernels.mathematics.comparison import minimum
from fastnn._kernels.mathematics.exponential import exp
from fastnn._kernels.reduction_gradients import finite_or_zero, same
from fastnn._kernels.vector import (
    ELEMENTS,
    I8,
    I32,
    I64,
    ITEMSIZES,
    VECTOR_BYTES,
    Lanes,
    Value,
    absolute,
    added,
    call,
    constant,
    fold,
    loop,
    mask_of,
    maximum,
    select,
    sqrt,
    sweep_loop,
    vectors,
)

BLOCK = 1024  # elements a block in `rows`
LEAF = 32  # rows a block in `columns`
RUN = 8  # rows that are read side by side
TILE = 1024  # largest number of columns reduced at once

AHEAD = 4096  # bytes

# Scratch: row addresses, gathered elements, the counter's levels.
ROWS = 0
GATHERED = 1 << 14
LEVELS = 1 << 19

INF = float("inf")


def multiplied(x: Value, y: Value) -> Value:
    """The product."""
    return x * y


def _count(condition: Value, x: Value) -> Value:
    return select(condition, x.number(1.0), x.number(0.0))


class Fold(NamedTuple):
    """What a reduction does.

    Attributes
    ----------
    start : the neutral element of `combine`.
    combine : of two partial results.
    term : of an element, and of the center where there is one.
    fill : an element whose term is neutral; it fills the lanes that a mask leaves out.
    centered : whether each output has a center.
    """

    start: float
    combine: Callable[[Value, Value], Value]
    term: Callable[..., Value] = lambda x: x
    fill: float = 0.0
    centered: bool = False


def _nonzero(x: Value) -> Value:
    return select(x.compare("==", 0.0), x.number(1.0), x)


FOLDS: dict[str, Fold] = {
    "sum": Fold(0.0, added),
    "squares": Fold(0.0, added, lambda x: x * x),
    "deviations": Fold(0.0, added, lambda x, mean: (x - mean) * (x - mean), centered=True),
    "magnitudes": Fold(0.0, added, absolute),
    "nonzeros": Fold(0.0, added, lambda x: _count(x.compare("!=", 0.0), x)),
    "zeros": Fold(0.0, added, lambda x: _count(x.compare("==", 0.0), x), 1.0),
    "ties": Fold(0.0, added, lambda x, y: _count(same(x, y), x), centered=True),
    "magnitude_ties": Fold(0.0, added, lambda x, y: _count(same(absolute(x), y), x), centered=True),
    "exponentials": Fold(0.0, added, lambda x, top: exp(x - finite_or_zero(top)), centered=True),
    "shifted_exponentials": Fold(0.0, added, lambda x, top: exp(x - top), centered=True),
    "product": Fold(1.0, multiplied, fill=1.0),
    "nonzero_product": Fold(1.0, multiplied, _nonzero, 1.0),
    "max": Fold(-INF, maximum, fill=-INF),
    "min": Fold(INF, minimum, fill=INF),
    "max_magnitude": Fold(0.0, maximum, absolute),
    "min_magnitude": Fold(INF, minimum, absolute, INF),
}
SUM = FOLDS["sum"]


def offset(code: Code, args: Words, extents: Value, axes: Value, index: Value) -> Value:
    """Distance (elements) of the element `index`, in C order, of axes described at args[extents]: extents, strides."""
    result, rest = code.local(0), code.local(index)
    with code.builder.if_else(axes.compare("==", 1).value) as (one, several):
        with one:
            # Divisions cost more than all else here.
            result.now = index * args[extents + 1]
        with several, code.range(0, axes) as left:
            axis = axes - 1 - left
            outermost = axis.compare("==", 0)
            extent = select(outermost, code.number(1 << 62), args[extents + axis])
            result.now = result.now + (rest.now % extent) * args[extents + axes + axis]
            rest.now = rest.now // extent
    return result.now


def gather(
    code: Code,
    args: Words,
    extents: Value,
    axes: Value,
    size: int,
    start: Value,
    count: Value,
    source: Value,
    to: Value,
) -> None:
    """Copy `count` elements, from number `start` on, of axes described at args[extents] side by side."""
    inner, step = args[extents + axes - 1], args[extents + axes * 2 - 1]
    at, left, target = code.local(start), code.local(count), code.local(to)
    with code.while_(lambda: left.now.compare(">", 0)):
        run = smaller(inner - at.now % inner, left.now)
        place = source + offset(code, args, extents, axes, at.now) * size
        with code.builder.if_else(step.compare("==", 1).value) as (beside, apart):
            with beside:
                code.copy(target.now, place, run * size)
            with apart:
                code.move(size, target.now, size, place, step * size, run)
        target.now = target.now + run * size
        at.now = at.now + run
        left.now = left.now - run


def split(code: Code, index: Value, count: Value, total: Value) -> tuple[Value, Value]:
    """Quotient and remainder of an index by a count; without a division where there are no more than `count` items."""
    quotient, remainder = code.local(0), code.local(index)
    with code.when(total.compare(">", count)):
        quotient.now = index // count
        remainder.now = index - quotient.now * count
    return quotient.now, remainder.now


def prefetch(lanes: Lanes, address: Value, index: Any) -> None:
    """Ask for the lines that are read `AHEAD` bytes after a vector: the CPU's own prefetching stops at pages' ends."""
    builder = lanes.builder
    place = builder.bitcast(lanes.pointer(address.value, index), I8.as_pointer())
    for line in range(0, lanes.count * lanes.itemsize, 64):
        pointer = builder.gep(place, [I64(AHEAD + line)])
        call(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, I32(0), I32(3), I32(1)])


def total_of(lanes: Lanes, address: Value, length: Value, what: Fold = SUM, center: Value | None = None) -> Value:
    """The fold (by default the sum) of at most a few thousand contiguous elements, in 64 lanes (32 of float64)."""

    def term(lanes: Lanes, index: Any, mask: Any | None) -> Value:
        if mask is None:
            prefetch(lanes, address, index)
        x = lanes.load(lanes.pointer(address.value, index), mask, what.fill)
        if center is None:
            return what.term(x)
        made = what.term(x, center.splat(lanes.count))
        return made if mask is None else select(Value(lanes.builder, mask), made, what.start)

    if what.combine not in (maximum, minimum):
        return fold(lanes, length.value, what.start, what.combine, term)
    builder = lanes.builder
    result = cgutils.alloca_once(builder, lanes.element)
    with builder.if_else(length.compare("<=", lanes.count).value) as (short, long):
        with short:
            builder.store(fold(lanes, length.value, what.start, what.combine, term).value, result)
        with long:
            builder.store(_extreme_of(lanes, length, what, term).value, result)
    return Value(builder, builder.load(result))


def _extreme_of(lanes: Lanes, length: Value, what: Fold, term: Callable[..., Value]) -> Value:
    """The same as `fold` for the larger or the smaller: one comparison finds the NaN of two vectors."""
    builder, pair = lanes.builder, Lanes(lanes.builder, lanes.dtype, 2 * lanes.count)
    operator = "<" if what.combine is maximum else ">"

    def further(x: Value, y: Value) -> Value:
        return select(x.compare(operator, y), y, x)

    best = [cgutils.alloca_once(builder, pair.kind) for _ in range(2)]
    missing = cgutils.alloca_once(builder, ir.VectorType(ir.IntType(1), pair.count))
    for place in best:
        builder.store(constant(pair.kind, what.start), place)
    builder.store(ir.Constant(missing.type.pointee, [0] * pair.count), missing)

    def step(index: Any, masks: Sequence[Any | None]) -> None:
        found = [term(pair, builder.add(index, I64(way * pair.count)), mask) for way, mask in enumerate(masks)]
        for place, x in zip(best, found, strict=True):
            builder.store(further(Value(builder, builder.load(place)), x).value, place)
        nan = builder.fcmp_unordered("uno", found[0].value, found[1].value)
        builder.store(builder.or_(builder.load(missing), nan), missing)

    whole = builder.and_(length.value, I64(-2 * pair.count))
    with loop(builder, I64(0), whole, 2 * pair.count) as index:
        step(index, (None, None))
    left = length - Value(builder, whole)
    with builder.if_then(left.compare(">", 0).value):
        beyond = select(left.compare(">", pair.count), left - pair.count, left * 0)
        step(whole, [mask_of(builder, count.value, pair.count) for count in (left, beyond)])
    a, b = (Value(builder, builder.load(place)) for place in best)
    number = further(a, b).combined(further)
    bits = builder.bitcast(builder.load(missing), ir.IntType(pair.count))
    some = builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))
    return select(Value(builder, some), number.number(float("nan")), number)


def pairwise(code: Code, blocks: Local, top: Local, merge: Any) -> None:
    """After the result of block number `blocks` was put on the counter's level `top`: carry, by ``merge(level)``."""
    carry = code.local(blocks.now)
    with code.while_(lambda: (carry.now & 1).compare("==", 1)):
        top.now = top.now - 1
        merge(top.now)
        carry.now = carry.now >> 1
    top.now = top.now + 1
    blocks.now = blocks.now + 1


def collapse(code: Code, top: Local, merge: Any) -> None:
    """Combine what is left on the counter's levels, the smallest first, onto level 0."""
    with code.while_(lambda: top.now.compare(">", 1)):
        top.now = top.now - 1
        merge(top.now - 1)


def segments(length: Value, segment: Value) -> Value:
    """How many segments a sequence has: at least one."""
    return select(length.compare(">", segment), (length + segment - 1) // segment, length * 0 + 1)


class Levels:
    """Scalars on the levels of the counter."""

    def __init__(
        self, code: Code, dtype: str, address: Value, combine: Callable[[Value, Value], Value] = added
    ) -> None:
        self.code, self.lanes, self.address, self.combine = code, Lanes(code.builder, dtype), address, combine

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
        """Combine a level's number with the next one's."""
        self.put(level, self.combine(self.get(level), self.get(level + 1)))


def converted(integer: Value, dtype: str) -> Value:
    """An integer as a number of the dtype."""
    return Value(integer.builder, integer.builder.sitofp(integer.value, ELEMENTS[dtype]))


def number_of(bits: Value, dtype: str) -> Value:
    """A float64's bits as a number of the dtype."""
    builder = bits.builder
    value = builder.bitcast(bits.value, ELEMENTS["float64"])
    return Value(builder, builder.fptrunc(value, ELEMENTS["float32"]) if dtype == "float32" else value)


def finished(fold: str, finish: str) -> Callable[[Value, Value], Value]:
    """What is done with an output in the end, of the combined result and the divisor."""
    if finish == "root":
        return lambda total, divisor: sqrt(total / divisor)
    # a sum of negative zeros is zero, however many lanes had none of them
    return (lambda total, d: total / d + 0.0) if FOLDS[fold].combine is added else (lambda total, d: total / d)


@kernel
def rows(dtype: str, fold: str, finish: str) -> Any:
    """Reductions that include the last axis.

    args: result (segments, outputs), x, centers (or 0), outputs, the bits of the divisor as a float64, reduced length,
    elements a segment, results a chunk, number of kept axes, number of reduced axes; extents of the kept axes, their
    strides; extents of the reduced axes, their strides. There is at least one reduced axis.
    """
    size, what, end = ITEMSIZES[dtype], FOLDS[fold], finished(fold, finish)

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        lanes = Lanes(code.builder, dtype)
        levels = Levels(code, dtype, scratch + LEVELS, what.combine)
        outputs, length, segment, group = (args[k] for k in (3, 5, 6, 7))
        kept, summed = args[8], args[9]
        own = code.number(10)
        extents = kept * 2 + 10
        inner = args[extents + summed - 1]
        step = args[extents + summed * 2 - 1]
        items = outputs * segments(length, segment)
        divisor = number_of(args[4], dtype)

        with code.range(first * group, smaller(items, last * group)) as item:
            part, output = split(code, item, outputs, items)
            source = args[1] + offset(code, args, own, kept, output) * size
            center = None
            if what.centered:
                pointer = lanes.pointer(args[2].value, output.value)
                center = Value(code.builder, code.builder.load(pointer))
            start = code.local(part * segment)
            stop = smaller(length, start.now + segment)
            top, blocks = code.local(0), code.local(0)
            more = code.local(1)
            with code.while_(lambda: more.now.compare("!=", 0)):
                block = smaller(stop - start.now, BLOCK)
                place = code.local(source + start.now * step * size)
                direct = code.local(select(step.compare("==", 1), code.number(1), code.number(0)))
                with code.when(summed.compare(">", 1) & block.compare(">", 0)):
                    fits = (start.now % inner + block).compare("<=", inner)
                    direct.now = select(fits, direct.now, code.number(0))
                    place.now = source + offset(code, args, extents, summed, start.now) * size
                with code.when(direct.now.compare("==", 0)):
                    gather(code, args, extents, summed, size, start.now, block, source, scratch + GATHERED)
                    place.now = scratch + GATHERED
                levels.put(top.now, total_of(lanes, place.now, block, what, center))
                pairwise(code, blocks, top, levels.merge)
                start.now = start.now + block
                more.now = select(start.now.compare("<", stop), code.number(1), code.number(0))
            collapse(code, top, levels.merge)
            value = end(levels.get(code.number(0)), divisor)
            code.builder.store(value.value, lanes.pointer(args[0].value, item.value))

    return traced(emit)


def leaf(
    code: Code, dtype: str, what: Fold, table: Words, rows: Value, target: Value, width: Value, center: Value | None
) -> None:
    """Reduce at most `LEAF` rows whose addresses stand in a table, column by column."""
    builder = code.builder

    def sweep(first: Value, count: int, fresh: bool) -> None:
        """Combine `count` rows from row `first` on, and put them on what is there unless it is `fresh`."""
        addresses = [table[first + k].value for k in range(count)]

        def body(index: Any, mask: Any | None, width: int) -> None:
            lanes = Lanes(builder, dtype, width)
            given = [] if center is None else [lanes.load(lanes.pointer(center.value, index), mask)]
            parts = [what.term(lanes.load(lanes.pointer(a, index), mask), *given) for a in addresses]
            while len(parts) > 1:
                parts = [what.combine(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
            place = lanes.pointer(target.value, index)
            lanes.store(parts[0] if fresh else what.combine(lanes.load(place, mask), parts[0]), place, mask)

        vectors(builder, width.value, VECTOR_BYTES // ITEMSIZES[dtype], body)

    done = code.local(0)
    with code.builder.if_else(rows.compare(">=", RUN).value) as (whole, short):
        with whole:
            sweep(done.now, RUN, True)
            done.now = done.now + RUN
        with short:
            start = Value(builder, ELEMENTS[dtype](what.start))
            sweep_loop(builder, lambda value: value, [dtype], 1, [target.value, I64(1)], [start], width.value)
    with code.while_(lambda: (done.now + RUN).compare("<=", rows)):
        sweep(done.now, RUN, False)
        done.now = done.now + RUN
    with code.while_(lambda: done.now.compare("<", rows)):
        sweep(done.now, 1, False)
        done.now = done.now + 1


def lanes_leaf(
    code: Code,
    dtype: str,
    what: Fold,
    table: Words,
    rows: Value,
    target: Value,
    pitch: int,
    width: Value,
    center: Value | None,
) -> None:
    """Reduce at most `BLOCK` rows whose addresses stand in a table as `total_of` reduces elements: in as many lanes.

    Row r belongs to lane ``r mod lanes``. Combining by halves is what the counter does if lanes come in the order of
    their bits turned round: 0, 32, 16, 48, ... At `target` is room for a counter's levels, `pitch` bytes apart.
    """
    builder, count = code.builder, 4 * (VECTOR_BYTES // ITEMSIZES[dtype])
    turns = count.bit_length() - 1
    top, blocks = code.local(0), code.local(0)

    def sweep(first: Value, rows: int, place: Value, fresh: bool) -> None:
        """One after the other, combine every `count`-th of `rows` rows with what is there, or the start if `fresh`."""
        addresses = [table[first + k * count].value for k in range(rows)]

        def body(index: Any, mask: Any | None, width: int) -> None:
            lanes = Lanes(builder, dtype, width)
            given = [] if center is None else [lanes.load(lanes.pointer(center.value, index), mask)]
            into = lanes.pointer(place.value, index)
            total = Value(builder, constant(lanes.kind, what.start)) if fresh else lanes.load(into, mask)
            for address in addresses:
                total = what.combine(total, what.term(lanes.load(lanes.pointer(address, index), mask), *given))
            lanes.store(total, into, mask)

        vectors(builder, width.value, VECTOR_BYTES // ITEMSIZES[dtype], body)

    def merge(level: Value) -> None:
        place = target + level * pitch
        entry = [place.value, place.value, (place + pitch).value, I64(1), I64(1), I64(1)]
        sweep_loop(builder, what.combine, [dtype] * 3, 1, entry, [], width.value)

    with code.range(0, count) as number:
        lane = code.local(0)
        for bit in range(turns):
            lane.now = lane.now | ((number >> bit) & 1) << (turns - 1 - bit)
        place, row = target + top.now * pitch, code.local(lane.now)
        with builder.if_else((row.now + count * (RUN - 1)).compare("<", rows).value) as (several, few):
            with several:
                sweep(row.now, RUN, place, True)
                row.now = row.now + count * RUN
            with few:
                sweep(row.now, 0, place, True)
        # terms that take long are not unrolled in every number of rows
        for run in (RUN, 1) if what.centered else (RUN, 4, 2, 1):

            def left(run: int = run, row: Local = row) -> Value:
                return (row.now + count * (run - 1)).compare("<", rows)

            with code.while_(left):
                sweep(row.now, run, place, False)
                row.now = row.now + count * run
        pairwise(code, blocks, top, merge)


def turned(
    code: Code,
    size: int,
    width: int,
    source: Value,
    across: Value,
    rows: Value,
    columns: Value,
    to: Value,
    pitch: Value,
) -> None:
    """Put columns whose elements lie side by side, `across` bytes apart, into rows `pitch` bytes apart.

    Tiles of a vector of `width` bytes are transposed in registers. Rows are written up to a whole number of vectors.
    """
    v = Vectors(code.builder, size, width)
    column = code.local(0)
    with code.while_(lambda: column.now.compare("<", columns)):
        base = v.pointer((source + column.now * across).value)
        left = columns - column.now
        places = [v.at(base, ((smaller(left - 1, k) if k else left * 0) * across).value) for k in range(v.lanes)]
        for place in places:  # what the next block reads: no prefetching of the CPU's own follows so many columns
            for line in range(0, LEAF * size, 64):
                ahead = v.at(place, LEAF * size + line)
                call(code.builder, "llvm.prefetch.p0", ir.VoidType(), [ahead, I32(0), I32(3), I32(1)])
        row = code.local(0)
        with code.while_(lambda: row.now.compare("<", rows)):
            here, rest = [v.at(place, (row.now * size).value) for place in places], rows - row.now
            with code.builder.if_else(rest.compare(">=", v.lanes).value) as (whole, part):
                for branch, mask in ((whole, None), (part, rest)):
                    with branch:
                        made = v.transposed(here, None if mask is None else v.mask(mask.value))
                        for k, vector in enumerate(made):
                            v.store(vector, v.pointer((to + (row.now + k) * pitch + column.now * size).value))
            row.now = row.now + v.lanes
        column.now = column.now + v.lanes


@kernel
def columns(dtype: str, fold: str, finish: str, lanes: bool = False, turn: int = 0) -> Any:
    """Reductions that keep the last axis; with `lanes` others in whose arrays it is kept axes that lie side by side.

    args: result (segments, outer, columns), x, centers (or 0), outer, the bits of the divisor as a float64, reduced
    length, rows a segment, columns a tile, rows a block (32, with `lanes` 1,024; 1 to combine segments), tiles a chunk,
    number of outer kept axes, number of reduced axes, columns, the columns' stride; extents of the outer kept axes,
    their strides; extents of the reduced axes, their strides.

    `lanes` : the order of `rows`; columns lie side by side then. `turn` : where the reduced elements lie side by side,
    bytes of the vectors with which they are transposed.
    """
    size, what, end = ITEMSIZES[dtype], FOLDS[fold], finished(fold, finish)
    row_bytes = TILE * size

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        builder = code.builder
        table = code.words(scratch + ROWS)
        outer, length, segment, tile, block_rows, group = (args[k] for k in (3, 5, 6, 7, 8, 9))
        kept, summed, width, step = (args[k] for k in (10, 11, 12, 13))
        own = code.number(14)
        extents = kept * 2 + 14
        tiles = (width + tile - 1) // tile
        items = outer * tiles * segments(length, segment)
        one = I64(1)
        divisor = number_of(args[4], dtype)
        pitch = tile * size + 64  # rows of a power of two of bytes would share few places of the cache

        def write(
            target: Value, expression: Any, sources: Sequence[Value], given: Sequence[Value], wide: Value
        ) -> None:
            entry = [v.value for v in (target, *sources)] + [one] * (len(sources) + 1)
            sweep_loop(builder, expression, [dtype] * (len(sources) + 1), 1, entry, given, wide.value)

        with code.range(first * group, smaller(items, last * group)) as item:
            mine, tile_number = split(code, item, tiles, items)
            column = tile_number * tile
            part, output = split(code, mine, outer, items)
            wide = smaller(width - column, tile)
            source = args[1] + (offset(code, args, own, kept, output) + column * step) * size
            center = args[2] + (output * width + column) * size if what.centered else None
            start = code.local(part * segment)
            stop = smaller(length, start.now + segment)
            top, blocks, more = code.local(0), code.local(0), code.local(1)

            def merge(level: Value, wide: Value = wide) -> None:
                place = scratch + LEVELS + level * row_bytes
                write(place, what.combine, [place, place + row_bytes], [], wide)

            with code.while_(lambda: more.now.compare("!=", 0)):
                block = smaller(stop - start.now, block_rows)
                gathered = code.local(0)
                if turn:
                    inner = args[extents + summed - 1]
                    with code.when((start.now % inner + block).compare("<=", inner)):
                        corner = source + offset(code, args, extents, summed, start.now) * size
                        turned(code, size, turn, corner, step * size, block, wide, scratch + GATHERED, pitch)
                        gathered.now = gathered.now + 1
                with code.range(0, block) as r:
                    aside = scratch + GATHERED + r * pitch
                    place = code.local(aside)
                    with code.when(gathered.now.compare("==", 0)):
                        place.now = source + offset(code, args, extents, summed, start.now + r) * size
                        if not lanes:
                            with code.when(step.compare("!=", 1)):
                                code.move(size, aside, size, place.now, step * size, wide)
                                place.now = aside
                    table[r] = place.now
                level = scratch + LEVELS + top.now * row_bytes
                if lanes:
                    lanes_leaf(code, dtype, what, table, block, level, row_bytes, wide, center)
                else:
                    leaf(code, dtype, what, table, block, level, wide, center)
                pairwise(code, blocks, top, merge)
                start.now = start.now + block
                more.now = select(start.now.compare("<", stop), code.number(1), code.number(0))
            collapse(code, top, merge)
            target = args[0] + (mine * width + column) * size
            write(target, end, [scratch + LEVELS], [divisor], wide)

    return traced(emit)
