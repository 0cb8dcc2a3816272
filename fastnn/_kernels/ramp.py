"""Evenly spaced numbers.

args: address of the result, total elements, elements a chunk, then addresses of the float64 cells start, step, end,
half and last.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from fastnn._kernels.control import Code, Words, traced
from fastnn._kernels.elementwise import number_of
from fastnn._kernels.jit import kernel
from fastnn._kernels.philox import TILE_BYTES, over_tiles
from fastnn._kernels.vector import ELEMENTS, ITEMSIZES, Value, select


@kernel
def ramp(dtype: str) -> Any:
    """``start + i step`` for i below half, ``end - (last - i) step`` from there on, in float64, then rounded.

    Not by FMAs: a middle that a rounded step reaches exactly stays exact, as in ``linspace(-1, 1, 1001)``.
    """
    count = TILE_BYTES // 2 // ITEMSIZES[dtype]
    kind = ir.VectorType(ELEMENTS["float64"], count)

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        cells = [number_of(code.words(args[3 + k]), "float64").splat(count) for k in range(5)]
        start, step, end, half, final = cells

        def numbers(index: Value) -> Value:
            lanes = Value(code.builder, ir.Constant(kind, [float(k) for k in range(count)]))
            place = index.to_float("float64").splat(count) + lanes
            value = select(place.compare("<", half), step * place + start, (place - final) * step + end)
            if dtype == "float32":
                value = Value(code.builder, code.builder.fptrunc(value.value, ir.VectorType(ELEMENTS[dtype], count)))
            return value

        def body(tile: Value) -> list[Value]:
            return [numbers(tile * (2 * count)), numbers(tile * (2 * count) + count)]

        over_tiles(code, args, first, last, [dtype], [], body)

    return traced(emit)
