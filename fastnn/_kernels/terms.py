"""Sums of functions of elements: a row of the elementwise table and the sum over all elements in one pass.

Within a segment the order is that of `fastnn._kernels.reduction.rows`: blocks of 1,024 elements in 64 lanes, added
pairwise. Over terms that were written down first, the row "copy" gives the same bits.
"""

from __future__ import annotations

from typing import Any

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.elementwise import TABLE, number_of
from fastnn._kernels.jit import kernel
from fastnn._kernels.reduction import BLOCK, Levels, collapse, converted, pairwise
from fastnn._kernels.vector import ITEMSIZES, Lanes, Value, added, fold, select


@kernel
def total(function: str, dtype: str) -> Any:
    """The sum of a row of `TABLE` over contiguous operands, each segment's for itself, divided by a number.

    args: result (segments), operands, elements, elements a segment, divisor, addresses of cells. A chunk is a segment;
    there is one even where there are no elements.
    """
    row, size = TABLE[function], ITEMSIZES[dtype]
    count = row.operands

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        lanes = Lanes(code.builder, dtype)
        levels = Levels(code, dtype, scratch)
        elements, segment = args[count + 1], args[count + 2]
        divisor = converted(args[count + 3], dtype)
        numbers = [number_of(code.words(args[count + 4 + c]), dtype) for c in range(row.cells)]
        with code.range(first, last) as part:
            start = code.local(part * segment)
            stop = smaller(elements, start.now + segment)
            top, blocks, more = code.local(0), code.local(0), code.local(1)
            with code.while_(lambda: more.now.compare("!=", 0)):
                block = smaller(stop - start.now, BLOCK)
                places = [args[k + 1] + start.now * size for k in range(count)]

                def term(own: Lanes, index: Any, mask: Any | None, places: list[Value] = places) -> Value:
                    loaded = [own.load(own.pointer(p.value, index), mask) for p in places]
                    value = row.expression(*loaded, *(n.splat(own.count) for n in numbers))
                    return value if mask is None else select(Value(code.builder, mask), value, own.zero())

                levels.put(top.now, fold(lanes, block.value, 0.0, added, term))
                pairwise(code, blocks, top, levels.merge)
                start.now = start.now + block
                more.now = select(start.now.compare("<", stop), code.number(1), code.number(0))
            collapse(code, top, levels.merge)
            value = levels.get(code.number(0)) / divisor
            code.builder.store(value.value, lanes.pointer(args[0].value, part.value))

    return traced(emit)


@kernel
def check_unit(dtype: str) -> Any:
    """Write 0, or 1 + the index (in C order) of the first element outside 0 to 1, or NaN, to a status (int64).

    args: elements, count (at least 1), number of axes (at least 1), extents, strides, status. One chunk.
    """
    size = ITEMSIZES[dtype]

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        lanes = Lanes(code.builder, dtype)
        count, outer = args[1], args[2] - 1
        inner, step = args[outer + 3], args[outer * 2 + 4]
        status, row = code.local(0), code.local(0)

        def outside(x: Value) -> Value:
            return select(x.compare(">=", 0.0) & x.compare("<=", 1.0), x.number(0.0), 1.0)

        def offset(index: Value) -> Value:
            result, rest = code.local(0), code.local(index)
            with code.range(0, outer) as left:
                axis = outer - 1 - left
                result.now = result.now + (rest.now % args[axis + 3]) * args[axis + outer + 4]
                rest.now = rest.now // args[axis + 3]
            return result.now

        with code.while_(lambda: row.now.compare("<", count // inner)):
            source, start = args[0] + offset(row.now) * size, code.local(0)
            with code.while_(lambda: start.now.compare("<", inner)):
                block = smaller(inner - start.now, BLOCK)
                place = source + start.now * step * size
                bad = code.local(select(step.compare("==", 1), code.number(0), code.number(1)))
                with code.when(step.compare("==", 1)):

                    def term(own: Lanes, index: Any, mask: Any | None, place: Value = place) -> Value:
                        return outside(own.load(own.pointer(place.value, index), mask))

                    found = fold(lanes, block.value, 0.0, added, term).compare("!=", 0.0)
                    bad.now = select(found, code.number(1), code.number(0))
                with code.when(bad.now.compare("!=", 0)), code.range(0, block) as left:
                    i = block - 1 - left
                    x = Value(code.builder, code.builder.load(lanes.pointer((place + i * step * size).value)))
                    here = row.now * inner + start.now + i + 1
                    status.now = select(outside(x).compare("!=", 0.0), here, status.now)
                start.now = select(status.now.compare("!=", 0), inner, start.now + block)
            row.now = select(status.now.compare("!=", 0), count, row.now + 1)
        code.words(args[outer * 2 + 5])[0] = status.now

    return traced(emit)
