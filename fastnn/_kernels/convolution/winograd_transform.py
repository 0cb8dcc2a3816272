"""Transforms of tiles, emitted as straight-line vector code: every channel of ``L @ tile @ R^T`` in a lane.

The elements of a tile lie anywhere: two tables, made once for many tiles, say how far from the tile's address each
element is read and written. So zeros around an image are places in a row of zeros, and what lies beyond its border is
written to a row that nobody reads, without masks and at the same speed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

from llvmlite import ir

from fastnn._kernels.convolution.winograd_matrices import Matrix, transposed
from fastnn._kernels.emit import I64, POINTER, Value, Vectors, internal
from fastnn._kernels.vector import loop

# Addresses are int64, steps in bytes. For `count` vectors, the source and the target move by their steps; a table holds
# an int64 for every element of a grid of `pitch` columns. `ahead`: as far ahead lies what is asked for.
ARGUMENTS = (
    *("source", "source_places", "source_step", "source_ahead"),
    *("target", "target_places", "target_step", "target_ahead", "count", "row"),
)
TYPE = ir.FunctionType(ir.VoidType(), [I64] * len(ARGUMENTS))
ZERO = Fraction(0)


def define_transform(
    module: ir.Module, name: str, size: int, width: int, left: Matrix, right: Matrix, pitch: int, *,
    fetches: tuple[str, ...] = (), seen: int = 0, row: bool = False, adds: bool = False,
) -> ir.Function:  # fmt: skip
    """Define (once) ``target = left @ source @ right^T`` as an internal function of the module.

    Parameters
    ----------
    size, width : bytes of an element and of a vector.
    fetches : ``"source"``, to ask for what is read next; ``"target"``, for what is written next.
    seen : rows and columns of the source, the first ones, that need not be asked for.
    row : add the vectors at ``row``, one after the other, to all elements of the target.
    adds : add to what the target holds.
    """
    full = f"fastnn_winograd_{name}_{size}"
    function, fresh = internal(module, full, TYPE, "nounwind")
    if not fresh:
        return function
    function.attributes.alignstack = width  # half of a tile is spilled, to whole lines of the cache
    builder = ir.IRBuilder(function.append_basic_block("start"))
    v = Vectors(builder, size, width)
    args = dict(zip(ARGUMENTS, function.args, strict=True))
    places = {end: v.pointer(args[f"{end}_places"]) for end in ("source", "target")}

    def place(end: str, base: Value, r: int, c: int) -> Value:
        entry = v.at(places[end], (r * pitch + c) * 8)
        return v.at(base, builder.load(entry, typ=I64, align=8))

    with loop(builder, I64(0), args["count"], 1) as i:
        source, target = (
            v.at(v.pointer(args[end]), builder.mul(i, args[f"{end}_step"])) for end in ("source", "target")
        )
        if "source" in fetches:
            next_source = v.at(source, args["source_ahead"])
            for r, c in itertools.product(range(seen, len(left[0])), range(seen, len(right[0]))):
                v.prefetch(place("source", next_source, r, c))
        if "target" in fetches:
            next_target = v.at(target, args["target_ahead"])
            for r, c in itertools.product(range(len(left)), range(len(right))):
                v.prefetch(place("target", next_target, r, c), write=True)
        columns = []
        for c in range(len(right[0])):
            column = [v.load(place("source", source, r, c)) for r in range(len(left[0]))]
            columns.append(_multiplied(v, left, column))
        added = v.load(v.at(v.pointer(args["row"]), builder.mul(i, I64(width)))) if row else None
        for r, line in enumerate(zip(*columns, strict=True)):
            for c, x in enumerate(_multiplied(v, right, line)):
                at = place("target", target, r, c)
                if added is not None:
                    x = builder.fadd(x, added)
                v.store(builder.fadd(v.load(at), x) if adds else x, at)
    builder.ret_void()
    return function


def define_places(module: ir.Module, pitch: int) -> ir.Function:
    """Define (once) what fills a table for a tile at the border of an image.

    Arguments, all int64: the table; the tile's first row and column in the image; its rows and columns; those of the
    image; distances between rows and columns; what stands for a place outside.
    """
    name = f"fastnn_winograd_places_{pitch}"
    function, fresh = internal(module, name, ir.FunctionType(ir.VoidType(), [I64] * 10), "optsize")
    if not fresh:
        return function
    b = ir.IRBuilder(function.append_basic_block("start"))
    table, y, x, rows, columns, height, width, row_step, column_step, outside = function.args
    pointer = b.inttoptr(table, POINTER)
    with loop(b, I64(0), rows, 1) as r:
        row_inside = b.icmp_unsigned("<", b.add(y, r), height)
        with loop(b, I64(0), columns, 1) as c:
            inside = b.and_(row_inside, b.icmp_unsigned("<", b.add(x, c), width))
            own = b.add(b.mul(r, row_step), b.mul(c, column_step))
            entry = b.gep(pointer, [b.add(b.mul(r, I64(pitch)), c)], source_etype=I64)
            b.store(b.select(inside, own, outside), entry, align=8)
    b.ret_void()
    return function


def _mates(one: Sequence[Fraction], other: Sequence[Fraction]) -> bool:
    """Whether two rows or columns differ in some signs alone."""
    same = [a == b for a, b in zip(one, other, strict=True) if a]
    return all(abs(a) == abs(b) for a, b in zip(one, other, strict=True)) and any(same) and not all(same)


def _parts(one: Sequence[Fraction], other: Sequence[Fraction]) -> tuple[list[Fraction], list[Fraction]]:
    """What two mates share, and what has opposite signs in the other."""
    both = list(zip(one, other, strict=True))
    return [a if a == b else ZERO for a, b in both], [a if a != b else ZERO for a, b in both]


def _multiplied(v: Vectors, matrix: Matrix, vectors: Sequence[Value]) -> list[Value]:
    """The matrix times some vectors; what rows, or columns, have in common is computed once."""
    columns, inputs = [list(c) for c in transposed(matrix)], list(vectors)
    paired: set[int] = set()
    for i in range(len(columns)):
        for j in range(i + 1, len(columns)):
            if not {i, j} & paired and _mates(columns[i], columns[j]):
                paired |= {i, j}
                inputs[i], inputs[j] = v.builder.fadd(inputs[i], inputs[j]), v.builder.fsub(inputs[i], inputs[j])
                columns[i], columns[j] = _parts(columns[i], columns[j])
    rows = transposed(tuple(map(tuple, columns)))
    found: dict[int, Value] = {}
    for i, row in enumerate(rows):
        if i in found:
            continue
        mate = next((j for j in range(i + 1, len(rows)) if j not in found and _mates(row, rows[j])), None)
        if mate is None:
            found[i] = _combined(v, row, inputs)
            continue
        shared, opposite = _parts(row, rows[mate])
        factor = [c for c in opposite if c][-1]
        even = _combined(v, shared, inputs)
        odd = _combined(v, [c / factor for c in opposite], inputs)
        found[i], found[mate] = _added(v, factor, odd, even), _added(v, -factor, odd, even)
    return [found[i] for i in range(len(rows))]


def _combined(v: Vectors, factors: Sequence[Fraction], vectors: Sequence[Value]) -> Value:
    """The sum of some multiples; terms that cost no multiplication come first."""
    terms = [(f, x) for f, x in zip(factors, vectors, strict=True) if f]
    terms.sort(key=lambda term: (term[0] != 1, abs(term[0]) != 1))
    factor, total = terms[0]
    if factor != 1:
        total = v.builder.fmul(v.splat_constant(float(factor)), total)
    for factor, x in terms[1:]:
        total = _added(v, factor, x, total)
    return total


def _added(v: Vectors, factor: Fraction, x: Value, total: Value) -> Value:
    if abs(factor) == 1:
        return (v.builder.fadd if factor == 1 else v.builder.fsub)(total, x)
    return v.fma(v.splat_constant(float(factor)), x, total)
