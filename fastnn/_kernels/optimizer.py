"""Optimizer updates over a table of segments: SGD with momentum, Adam and AdamW, as torch computes them.

args: address of the segment table, of the chunk table, flags (see each kernel), then addresses of float64 cells.
A segment's row (int64): addresses of the parameter, its gradient and its states, then its length. A chunk's row:
segment, first element, one past the last. All of a segment's arrays are contiguous, or lie alike in memory.
The arithmetic is done in the parameters' dtype; hyper-parameters are combined in float64 first, as torch does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._kernels.jit import inline, kernel
from fastnn._kernels.pointer import cell, pointer
from fastnn._kernels.vector import ITEMSIZES, Value, fma, maximum, sqrt, sweep

NUMBERS = 1024  # where in scratch the expression's numbers stand


@inline
def aim(words: Any, args: Any, chunk: Any, states: Any, size: Any) -> Any:
    """Fill the sweep's table for a chunk: results p and states, operands p, g and states; returns the length."""
    row = pointer(args[1] + chunk * 24, "int64")
    segment = pointer(args[0] + row[0] * (states + 3) * 8, "int64")
    skip = row[1] * size
    arrays = 2 * states + 3
    words[0] = segment[0] + skip
    words[states + 1] = segment[0] + skip
    words[states + 2] = segment[1] + skip
    for k in range(states):
        words[k + 1] = segment[k + 2] + skip
        words[states + 3 + k] = segment[k + 2] + skip
    for k in range(arrays):
        words[arrays + k] = 1
    return row[2] - row[1]


@kernel
def sgd(dtype: str, momentum: bool, nesterov: bool) -> Any:
    """``g += weight_decay p;  b = momentum b + (1 - dampening) g;  p -= lr (g + momentum b  or  b)``.

    Flags: maximize. Cells: lr, momentum, dampening, weight_decay, started (0 at the first step, at which b = g).
    One state (b) with momentum, none without.
    """
    states = 1 if momentum else 0

    def step(p: Value, g: Value, *rest: Value) -> Any:
        if not momentum:
            lr, sign, decay = rest
            return fma(-lr, fma(p, decay, g * sign), p)
        b, lr, sign, decay, keep, gain, look = rest
        g = fma(p, decay, g * sign)
        b = fma(b, keep, g * gain)
        return fma(-lr, fma(b, look, g) if nesterov else b, p), b

    run_over = sweep(step, [dtype] * (states + 1), [dtype] * (states + 2), 6 if momentum else 3)
    size = ITEMSIZES[dtype]

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        numbers = pointer(scratch + NUMBERS, dtype)
        started = cell(args[7]) != 0.0
        numbers[0] = cell(args[3])
        numbers[1] = -1.0 if args[2] != 0 else 1.0
        numbers[2] = cell(args[6])
        numbers[3] = cell(args[4]) if started else 0.0
        numbers[4] = 1.0 - cell(args[5]) if started else 1.0
        numbers[5] = cell(args[4])
        for chunk in range(first, last):
            length = aim(pointer(scratch, "int64"), args, chunk, states, size)
            run_over(scratch, scratch + NUMBERS, length)

    return body


@kernel
def adam(dtype: str, amsgrad: bool) -> Any:
    """Adam (Kingma and Ba, 2015), as ``torch.optim.Adam`` and ``AdamW`` compute it; eps outside the root.

    Flags: maximize, decoupled (weight decay of AdamW). Cells: lr, beta1, beta2, eps, weight_decay,
    ``1 - beta1**step``, ``1 - beta2**step``. States: mean, mean square, with amsgrad the largest mean square.
    """
    states = 3 if amsgrad else 2

    def step(p: Value, g: Value, m: Value, v: Value, *rest: Value) -> Any:
        sign, decay, shrink, new1, beta2, new2, rate, scale, eps = rest[-9:]
        g = fma(p, decay, g * sign)
        m = fma(g - m, new1, m)
        v = fma(v, beta2, new2 * g * g)
        largest = maximum(rest[0], v) if amsgrad else v
        p = p * shrink - rate * m / fma(sqrt(largest), scale, eps)
        return (p, m, v, largest) if amsgrad else (p, m, v)

    run_over = sweep(step, [dtype] * (states + 1), [dtype] * (states + 2), 9)
    size = ITEMSIZES[dtype]

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        numbers = pointer(scratch + NUMBERS, dtype)
        lr = cell(args[4])
        decay = cell(args[8])
        decoupled = args[3] != 0
        numbers[0] = -1.0 if args[2] != 0 else 1.0
        numbers[1] = 0.0 if decoupled else decay
        numbers[2] = 1.0 - lr * decay if decoupled else 1.0
        numbers[3] = 1.0 - cell(args[5])
        numbers[4] = cell(args[6])
        numbers[5] = 1.0 - cell(args[6])
        numbers[6] = lr / cell(args[9])
        numbers[7] = 1.0 / np.sqrt(cell(args[10]))
        numbers[8] = cell(args[7])
        for chunk in range(first, last):
            length = aim(pointer(scratch, "int64"), args, chunk, states, size)
            run_over(scratch, scratch + NUMBERS, length)

    return body
