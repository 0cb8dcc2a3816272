"""Resampling along one axis: what each output takes of the input, and sums of that, forward and backward.

A. An output takes `taps` neighbouring inputs, from a start on, times weights; places beyond the ends are the ends.
   `table` writes starts (int64) and weights for an axis: positions are computed in float64, but those of nearest
   neighbours in float32, in which PyTorch has them.
B. `along` and `along_backward` walk arrays (outer, axis, inner) without gaps, so images have their channels last and
   the inner loop runs over channels, or over rows of them. An axis is resampled at a time.
C. A weight of zero takes nothing: an infinity beside a sample that is met exactly does not make it a NaN.

Forward, an item is a row of the output. Backward, an item is a block of the inner axis of an outer place, which owns
all that is added there, in the order of the outputs: any number of threads gives the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._kernels.indexing import smaller
from fastnn._kernels.jit import inline, kernel
from fastnn._kernels.pointer import bits, fma, pointer


@inline
def keys(x: float, a: float) -> float:
    """The cubic convolution kernel (R. G. Keys, 1981) at a distance."""
    x = abs(x)
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    if x < 2:
        return (((x - 5) * x + 8) * x - 4) * a
    return 0.0


@inline
def triangle(x: float, a: float) -> float:
    """The linear kernel at a distance."""
    x = abs(x)
    return 1 - x if x < 1 else 0.0


@inline
def below(x: float) -> int:
    """The largest integer that is not above a number."""
    whole = int(x)
    return whole - 1 if whole > x else whole


@inline
def within(index: int, size: int) -> int:
    """The nearest index of an axis."""
    if index < 0:
        return 0
    return smaller(index, size - 1)


@kernel
def table(dtype: str, mode: str, aligned: bool, antialias: bool) -> Any:
    """args: starts, weights, inputs, outputs, taps, inputs an output (bits of a float64), outputs a chunk."""
    nearest, cubic, centred = mode.startswith("nearest"), mode == "cubic", mode == "nearest-exact"
    shape = keys if cubic else triangle
    half = 2.0 if cubic else 1.0

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        starts, weights = pointer(args[0], "int64"), pointer(args[1], dtype)
        size, taps, scale = args[2], args[4], bits(args[5])
        for o in range(first * args[6], smaller(last * args[6], args[3])):
            own = o * taps
            if nearest:
                starts[o] = within(int(np.float32((o + 0.5) * scale if centred else o * scale)), size)
                weights[own] = 1.0
            elif antialias:
                centre = scale * (o + 0.5)
                widening = scale if scale > 1 else 1.0
                begin = int(max(centre - half * widening + 0.5, 0.0))
                count = smaller(int(centre + half * widening + 0.5), size) - begin
                total = 0.0
                for t in range(count):
                    total += shape((begin + t - centre + 0.5) / widening, -0.5)
                for t in range(taps):
                    part = shape((begin + t - centre + 0.5) / widening, -0.5) / total
                    weights[own + t] = part if t < count else 0.0
                starts[o] = begin
            else:
                position = scale * o if aligned else scale * (o + 0.5) - 0.5
                if cubic:
                    begin = below(position)
                    apart = position - begin
                    for t in range(4):
                        weights[own + t] = keys(apart + 1 - t, -0.75)
                    starts[o] = begin - 1
                else:
                    position = max(position, 0.0)
                    begin = within(int(position), size)
                    apart = position - begin if begin < size - 1 else 0.0
                    weights[own] = 1 - apart
                    weights[own + 1] = apart
                    starts[o] = begin

    return body


@kernel
def along(dtype: str) -> Any:
    """args: y, x, starts, weights, inputs, outputs, taps, inner extent, rows (outer times outputs), rows a chunk."""

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        y, x = pointer(args[0], dtype), pointer(args[1], dtype)
        starts, weights = pointer(args[2], "int64"), pointer(args[3], dtype)
        size, out, taps, inner = args[4], args[5], args[6], args[7]
        for row in range(first * args[9], smaller(last * args[9], args[8])):
            o = row % out
            own, base = row * inner, row // out * size * inner
            started = False
            for t in range(taps):
                weight = weights[o * taps + t]
                if weight != 0:
                    at = base + within(starts[o] + t, size) * inner
                    if started:
                        for n in range(inner):
                            y[own + n] = fma(weight, x[at + n], y[own + n])
                    else:
                        for n in range(inner):
                            y[own + n] = weight * x[at + n]
                        started = True

    return body


@kernel
def along_backward(dtype: str) -> Any:
    """args: dx, dy, starts, weights, inputs, outputs, taps, inner extent, items, items a chunk, inner block."""

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        dx, dy = pointer(args[0], dtype), pointer(args[1], dtype)
        starts, weights = pointer(args[2], "int64"), pointer(args[3], dtype)
        size, out, taps, inner, block = args[4], args[5], args[6], args[7], args[10]
        blocks = (inner + block - 1) // block
        for item in range(first * args[9], smaller(last * args[9], args[8])):
            n0 = item % blocks * block
            n1 = smaller(n0 + block, inner)
            base, source = item // blocks * size * inner, item // blocks * out * inner
            for i in range(size):
                for n in range(n0, n1):
                    dx[base + i * inner + n] = 0
            for o in range(out):
                own = source + o * inner
                for t in range(taps):
                    weight = weights[o * taps + t]
                    if weight != 0:
                        at = base + within(starts[o] + t, size) * inner
                        for n in range(n0, n1):
                            dx[at + n] = fma(weight, dy[own + n], dx[at + n])

    return body
