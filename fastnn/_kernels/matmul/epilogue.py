"""What happens to the sums of a product after k, where tiles do not do it themselves: any functions of elements.

A kernel for each sequence of steps, called by the product for rows of C that it has just computed and that are still in
the cache. A step is a row of the elementwise table, applied to what is there, with one more operand for each that the
function takes (a bias, a residual, what a gate looks at), or ``"keep"``, which writes what is there to an operand (the
input of an activation whose gradient needs it). A new activation is a row of that table and nothing here.

    args: C, distance of its rows, rows, columns; then, three times: an operand's address, distances of its rows and of
    its columns; addresses of cells. Distances are in bytes. C's columns lie side by side.
"""

from __future__ import annotations

from typing import Any

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.elementwise import TABLE, number_of
from fastnn._kernels.jit import kernel
from fastnn._kernels.matmul.layout import EPILOGUE_OPERANDS
from fastnn._kernels.vector import ITEMSIZES, VECTOR_BYTES, Lanes, Value, select, vectors

KEEP = "keep"
# Columns that are gathered at a time where an operand's do not lie side by side.
STAGED = 256


@kernel
def finish(dtype: str, steps: tuple[str, ...]) -> Any:
    """Compile the steps, by name, for an element type."""
    size = ITEMSIZES[dtype]
    operands = sum(1 if step == KEEP else TABLE[step].operands - 1 for step in steps)
    if operands > EPILOGUE_OPERANDS:
        raise ValueError(f"an epilogue has at most {EPILOGUE_OPERANDS} operands, {steps} take {operands}")
    written = {i for i, step in _operands(steps) if step == KEEP}

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        c, c_row, rows, columns = (args[i] for i in range(4))
        places = [args[4 + 3 * i] for i in range(operands)]
        row_steps = [args[5 + 3 * i] for i in range(operands)]
        column_steps = [args[6 + 3 * i] for i in range(operands)]
        cells = [code.words(args[4 + 3 * EPILOGUE_OPERANDS + i]) for i in range(_cells(steps))]
        numbers = [number_of(cell, dtype) for cell in cells]
        stages = [scratch + i * (STAGED * size) for i in range(operands)]
        # an operand whose columns do not lie side by side passes through scratch
        aside = [step.compare("!=", size) for step in column_steps]
        with code.range(0, rows) as i:
            j = code.local(0)
            with code.while_(lambda: j.now.compare("<", columns)):
                length = smaller(columns - j.now, STAGED)
                here = [p + i * r + j.now * s for p, r, s in zip(places, row_steps, column_steps, strict=True)]
                for number, (place, step) in enumerate(zip(here, column_steps, strict=True)):
                    if number not in written:
                        with code.when(aside[number]):
                            code.move(size, stages[number], size, place, step, length)
                at = [select(a, s, p) for a, s, p in zip(aside, stages, here, strict=True)]
                target = c + i * c_row + j.now * size

                def body(
                    index: Any, mask: Any | None, count: int, target: Value = target, at: list[Value] = at
                ) -> None:
                    lanes = Lanes(code.builder, dtype, count)
                    own = lanes.pointer(target.value, index)
                    others = [lanes.pointer(p.value, index) for p in at]
                    x = _apply(steps, lanes, lanes.load(own, mask), others, numbers, mask)
                    lanes.store(x, own, mask)

                vectors(code.builder, length.value, VECTOR_BYTES // size, body)
                for number in written:
                    with code.when(aside[number]):
                        code.move(size, here[number], column_steps[number], stages[number], size, length)
                j.now = j.now + length

    return traced(emit)


def _operands(steps: tuple[str, ...]) -> list[tuple[int, str]]:
    """Each operand's number and the step that it belongs to."""
    owners = [step for step in steps for _ in range(1 if step == KEEP else TABLE[step].operands - 1)]
    return list(enumerate(owners))


def _cells(steps: tuple[str, ...]) -> int:
    """How many cells the steps take."""
    return sum(0 if step == KEEP else TABLE[step].cells for step in steps)


def _apply(
    steps: tuple[str, ...], lanes: Lanes, x: Value, operands: list[Any], numbers: list[Value], mask: Any | None
) -> Value:
    """The steps, one after the other, on a vector."""
    place, cell = iter(operands), iter(numbers)
    for step in steps:
        if step == KEEP:
            lanes.store(x, next(place), mask)
            continue
        row = TABLE[step]
        more = [lanes.load(next(place), mask) for _ in range(row.operands - 1)]
        given = [next(cell).splat(lanes.count) for _ in range(row.cells)]
        x = row.expression(x, *more, *given)
    return x
