"""Running sums, products, logarithms of sums of exponentials and extremes along an axis, and their gradients.

A line runs from its first element to its last; running sums and products of float32 are kept in float64, so each
result errs by little more than its own rounding. `WAYS` lines run side by side, which fills the time that an addition
takes, and changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn._kernels.control import Code, Local, Words, traced
from fastnn._kernels.jit import kernel
from fastnn._kernels.lines import Line, Lines
from fastnn._kernels.mathematics.exponential import exp
from fastnn._kernels.mathematics.logarithm import logaddexp
from fastnn._kernels.vector import ELEMENTS, Value, select

WAYS = 4


RUNNING: dict[str, tuple[float, Callable[[Value, Value], Value]]] = {
    "sum": (0.0, lambda total, x: total + x),
    "product": (1.0, lambda total, x: total * x),
    "logsumexp": (float("-inf"), logaddexp),
}


def _local(code: Code, number: float) -> Local:
    """A float64 variable."""
    return Local(code.builder, Value(code.builder, ELEMENTS["float64"](number)))


@kernel
def running(dtype: str, function: str) -> Any:
    """y[k] of x[0] to x[k]. args: y, x, length, then the lines, see `fastnn._kernels.lines.Lines`."""
    start, combine = RUNNING[function]

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        lines = Lines(code, args, 3, (dtype, dtype), wide=True)
        number, stop = lines.numbers(first, last)
        now = code.local(number)

        def run(ways: int) -> None:
            places = [lines.line(now.now + way) for way in range(ways)]
            totals = [_local(code, start) for _ in range(ways)]
            with code.range(0, args[2]) as k:
                for total, (y, x) in zip(totals, places, strict=True):
                    total.now = combine(total.now, x[k])
                    y[k] = total.now
            now.now = now.now + ways

        with code.while_(lambda: (now.now + WAYS).compare("<=", stop)):
            run(WAYS)
        with code.while_(lambda: now.now.compare("<", stop)):
            run(1)

    return traced(emit)


@kernel
def cumprod_backward(dtype: str) -> Any:
    """``dx[j] = sum over i >= j of dy[i] times the product of x[0] to x[i] without x[j]``.

    Up to the first 0 that is ``sum(dy y) / x``; at it, the products are taken without it; beyond it all are 0.
    args: dx, dy, x, y, length, then the lines.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        lines, length = Lines(code, args, 5, (dtype,) * 4, wide=True), args[4]
        for dx, dy, x, y in lines.walk(first, last):
            zero, product = code.local(0), _local(code, 1.0)

            def before_zero(zero: Local = zero, x: Line = x) -> Value:
                return zero.now.compare("<", length) & x[_within(zero.now, length)].compare("!=", 0.0)

            with code.while_(before_zero):
                product.now = product.now * x[zero.now]
                zero.now = zero.now + 1
            total = _local(code, 0.0)
            with code.when(zero.now.compare("<", length)):
                total.now = product.now * dy[zero.now]
                with code.range(zero.now + 1, length) as k:
                    product.now = product.now * x[k]
                    total.now = total.now + product.now * dy[k]
                    dx[k] = total.now * 0.0
                dx[zero.now] = total.now
            total.now = total.now * 0.0
            with code.range(0, zero.now) as back:
                k = zero.now - 1 - back
                total.now = total.now + dy[k] * y[k]
                dx[k] = total.now / x[k]

    return traced(emit)


def _within(index: Value, length: Value) -> Value:
    """The index, or the last one: both sides of a condition are evaluated."""
    return select(index.compare("<", length), index, length - 1)


@kernel
def logcumsumexp_backward(dtype: str) -> Any:
    """``dx[j] = exp(x[j] - y[j]) g[j]`` with ``g[j] = dy[j] + exp(y[j] - y[j + 1]) g[j + 1]``; exponents are at most 0.

    args: dx, dy, x, y, length, then the lines.
    """

    def decay(x: Value, y: Value) -> Value:
        """``exp(x - y)``; 1 of equal ones."""
        return exp(select(x.compare("==", y), x.number(0.0), x - y))

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        lines, length = Lines(code, args, 5, (dtype,) * 4, wide=True), args[4]
        for dx, dy, x, y in lines.walk(first, last):
            total, after = _local(code, 0.0), _local(code, 0.0)
            with code.range(0, length) as back:
                k = length - 1 - back
                now = y[k]
                total.now = dy[k] + select(back.compare("==", 0), now.number(0.0), decay(now, after.now) * total.now)
                after.now = now
                dx[k] = decay(x[k], now) * total.now

    return traced(emit)


@kernel
def running_extreme(dtype: str, smallest: bool) -> Any:
    """The most extreme element so far and its place: the last of equal ones; once NaN came, the last NaN.

    args: y, places (int64), x, length, then the lines.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        lines, length = Lines(code, args, 4, (dtype, "int64", dtype)), args[3]
        for y, places, x in lines.walk(first, last):
            start = ELEMENTS[dtype](float("inf") if smallest else float("-inf"))
            best, place = Local(code.builder, Value(code.builder, start)), code.local(0)
            with code.range(0, length) as k:
                one = x[k]
                number = best.now.compare("==", best.now)
                takes = one.compare("!=", one) | (one.compare("<=" if smallest else ">=", best.now) & number)
                best.now = select(takes, one, best.now)
                place.now = select(takes, k, place.now)
                y[k] = best.now
                places[k] = place.now

    return traced(emit)
