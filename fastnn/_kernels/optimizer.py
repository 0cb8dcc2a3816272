"""Optimizer updates over a table of segments: SGD with momentum, Adam and AdamW, as torch computes them.

args: address of the segment table, of the chunk table, flags (see each kernel), then addresses of float64 cells.
A segment's row (int64): addresses of the parameter, its gradient and its states, then its length. A chunk's row:
segment, first element, one past the last. All of a segment's arrays are contiguous, or lie alike in memory.
The arithmetic is done in the parameters' dtype; hyper-parameters are combined in float64 first, as torch does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._kernels.control import Code, Words, traced
from fastnn._kernels.jit import kernel
from fastnn._kernels.vector import ELEMENTS, ITEMSIZES, Value, absolute, fma, maximum, select, sqrt, sweep_loop


def update(dtype: str, states: int, step: Callable[..., Any], numbers: Callable[..., list[Value]]) -> Any:
    """A kernel that updates parameters and states chunk by chunk.

    Parameters
    ----------
    step : ``step(p, g, *states, *numbers)`` gives the new parameter and states.
    numbers : ``numbers(flag, cell)`` gives float64 values; ``flag(i)`` is a truth value, ``cell(i)`` a cell.
    """
    arrays = 2 * states + 3
    flags = 2

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        builder = code.builder

        def flag(index: int) -> Value:
            return args[flags + index].compare("!=", 0)

        def cell(index: int) -> Value:
            word = code.words(args[flags + index])[0]
            return Value(builder, builder.bitcast(word.value, ELEMENTS["float64"]))

        given = []
        for number in numbers(flag, cell):
            value = number.value
            if dtype == "float32":
                value = builder.fptrunc(value, ELEMENTS["float32"])
            given.append(Value(builder, value))
        with code.range(first, last) as chunk:
            row = code.words(args[1] + chunk * 24)
            segment = code.words(args[0] + row[0] * ((states + 3) * 8))
            skip = row[1] * ITEMSIZES[dtype]
            p, g, *own = (segment[k] + skip for k in range(states + 2))
            entry = [v.value for v in (p, *own, p, g, *own)] + [code.number(1).value] * arrays
            sweep_loop(builder, step, [dtype] * arrays, states + 1, entry, given, (row[2] - row[1]).value)

    return traced(emit)


def settled(x: Value) -> Value:
    """Zero where a running mean has sunk below the normal range.

    Without gradient it shrinks by a factor a step, sticks a few units above zero, and costs a hundred cycles at every
    touch from then on. What is dropped is less than any parameter's rounding.
    """
    return select(absolute(x).compare("<", float(np.finfo(x.dtype).tiny)), 0.0, x)


@kernel
def sgd(dtype: str, momentum: bool, nesterov: bool) -> Any:
    """``g += weight_decay p;  b = momentum b + (1 - dampening) g;  p -= lr (g + momentum b  or  b)``.

    Flags: maximize. Cells: lr, momentum, dampening, weight_decay, started (0 at the first step, at which b = g).
    One state (b) with momentum, none without.
    """

    def step(p: Value, g: Value, *rest: Value) -> Any:
        if not momentum:
            lr, sign, decay = rest
            return fma(-lr, fma(p, decay, g * sign), p)
        b, lr, sign, decay, keep, gain, look = rest
        g = fma(p, decay, g * sign)
        b = settled(fma(b, keep, g * gain))
        return fma(-lr, fma(b, look, g) if nesterov else b, p), b

    def numbers(flag: Callable[[int], Value], cell: Callable[[int], Value]) -> list[Value]:
        lr, look, dampening, decay, started = (cell(1 + k) for k in range(5))
        plain = [lr, select(flag(0), lr.number(-1.0), lr.number(1.0)), decay]
        if not momentum:
            return plain
        first = started.compare("==", 0.0)
        return [*plain, select(first, 0.0, look), select(first, 1.0, 1.0 - dampening), look]

    return update(dtype, 1 if momentum else 0, step, numbers)


@kernel
def adam(dtype: str, amsgrad: bool) -> Any:
    """Adam (Kingma and Ba, 2015), as ``torch.optim.Adam`` and ``AdamW`` compute it; eps outside the root.

    Flags: maximize, decoupled (weight decay of AdamW). Cells: lr, beta1, beta2, eps, weight_decay,
    ``1 - beta1**step``, ``1 - beta2**step``. States: mean, mean square, with amsgrad the largest mean square.
    """

    def step(p: Value, g: Value, m: Value, v: Value, *rest: Value) -> Any:
        sign, decay, shrink, new1, beta2, new2, rate, scale, eps = rest[-9:]
        g = fma(p, decay, g * sign)
        m = settled(fma(g - m, new1, m))
        v = fma(v, beta2, new2 * g * g)
        largest = maximum(rest[0], v) if amsgrad else v
        p = fma(-rate, m / fma(sqrt(largest), scale, eps), p * shrink)
        return (p, m, v, largest) if amsgrad else (p, m, v)

    def numbers(flag: Callable[[int], Value], cell: Callable[[int], Value]) -> list[Value]:
        lr, beta1, beta2, eps, decay, correction1, correction2 = (cell(2 + k) for k in range(7))
        maximize, decoupled = flag(0), flag(1)
        return [
            select(maximize, lr.number(-1.0), lr.number(1.0)),
            select(decoupled, 0.0, decay),
            select(decoupled, 1.0 - lr * decay, 1.0),
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            lr / correction1,
            1.0 / sqrt(correction2),
            eps,
        ]

    return update(dtype, 3 if amsgrad else 2, step, numbers)
