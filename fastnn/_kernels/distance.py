"""Distances and angles of pairs of vectors: the rows of two matrices.

Rows lie side by side (their distance is an argument). Sums run in 64 lanes (32 of float64).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.elementwise import number_of
from fastnn._kernels.jit import kernel
from fastnn._kernels.mathematics.power import power
from fastnn._kernels.softmax import Rows, load
from fastnn._kernels.vector import Lanes, Value, absolute, added, fold, maximum, select, sqrt

Term = Callable[[Value, Value], Value]


def _within(mask: Any | None, value: Value) -> Value:
    """0 in the lanes that a mask leaves out."""
    return value if mask is None else select(Value(value.builder, mask), value, 0.0)


def _over(rows: Rows, combine: Term, term: Term, x: Value, y: Value, width: Value) -> Value:
    """What combines ``term(x, y)`` over a pair of rows; terms are not negative, or combined by adding."""

    def of(lanes: Lanes, index: Any, mask: Any | None) -> Value:
        return _within(mask, term(load(lanes, x, index, mask), load(lanes, y, index, mask)))

    return fold(rows.lanes, width.value, 0.0, combine, of)


def _sign(x: Value) -> Value:
    return select(x.compare(">", 0.0), x.number(1.0), select(x.compare("<", 0.0), x.number(-1.0), x.number(0.0)))


def _term(norm: str, p: Value, eps: Value) -> Term:
    """What a norm adds up: of differences, to which eps is added."""

    def of(x: Value, y: Value) -> Value:
        d = (x - y) + _like(eps, x)
        if norm == "2":
            return d * d
        if norm == "0":
            return select(d.compare("!=", 0.0), d.number(1.0), 0.0)
        return power(absolute(d), _like(p, x)) if norm == "p" else absolute(d)

    return of


def _like(scalar: Value, x: Value) -> Value:
    """A scalar in all lanes that x has."""
    return scalar.splat(x.kind.count) if hasattr(x.kind, "count") else scalar


@kernel
def distances(dtype: str, norm: str) -> Any:
    """The norm of ``x - y + eps`` for each pair of rows; `norm` is "0", "1", "2", "inf" or "p".

    args: result, x, y, rows, width, rows a chunk, distances of x's and of y's rows (elements), addresses of eps and p.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        result, width, group = rows.numbers(args[0]), args[4], args[5]
        eps, p = (number_of(code.words(args[k]), dtype) for k in (8, 9))
        with code.range(first * group, smaller(last * group, args[3])) as row:
            x, y = (args[k] + row * args[5 + k] * rows.size for k in (1, 2))
            whole = _over(rows, maximum if norm == "inf" else added, _term(norm, p, eps), x, y, width)
            if norm == "2":
                whole = sqrt(whole)
            result[row] = power(whole, 1.0 / p) if norm == "p" else whole

    return traced(emit)


@kernel
def distances_backward(dtype: str, norm: str) -> Any:
    """The gradient for x, contiguous; that for y is its negative.

    args: dx, g, x, y, result, rows, width, rows a chunk, distances of g, of x's, of y's rows (elements), sign (1 or
    -1), addresses of eps and p.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        g, result, width, group = rows.numbers(args[1]), rows.numbers(args[4]), args[6], args[7]
        eps, p = (number_of(code.words(args[k]), dtype) for k in (12, 13))
        negative = args[11].compare("<", 0)
        with code.range(first * group, smaller(last * group, args[5])) as row:
            dx = args[0] + row * width * rows.size
            x, y = args[2] + row * args[9] * rows.size, args[3] + row * args[10] * rows.size
            own, whole = g[row * args[8]], result[row]
            own = select(negative, -own, own)
            if norm == "inf":
                ties = _over(
                    rows,
                    added,
                    lambda x, y, whole=whole: select(  # type: ignore[misc]
                        absolute((x - y) + _like(eps, x)).compare("==", _like(whole, x)), x.number(1.0), 0.0
                    ),
                    x,
                    y,
                    width,
                )
                own = own / ties

            def slope(x: Value, y: Value, own: Value, whole: Value, eps: Value, p: Value) -> Value:
                d = (x - y) + eps
                if norm == "0":
                    return d * 0.0
                if norm == "1":
                    return own * _sign(d)
                if norm == "inf":
                    return select(absolute(d).compare("==", whole), own * _sign(d), 0.0)
                ratio = d / whole
                if norm == "p":
                    ratio = _sign(d) * power(absolute(ratio), p - 1.0)
                return select(whole.compare("==", 0.0) | d.compare("==", 0.0), 0.0, own * ratio)

            rows.write(slope, dx, [x, y], [own, whole, eps, p], width)

    return traced(emit)


def _lengths(rows: Rows, x: Value, width: Value, eps: Value, inside: bool) -> tuple[Value, Value]:
    """A row's length, kept from 0 by eps, and what its gradient divides by."""
    square = rows.dot(x, x, width)
    if inside:
        return sqrt(square + eps), square + eps
    length = sqrt(square)
    kept = select(length.compare("<", eps), eps, length)
    return kept, kept * length


@kernel
def cosines(dtype: str, inside: bool) -> Any:
    """``x . y / (|x| |y|)`` for each pair of rows, lengths at least eps, or with eps inside their squares.

    args: result, x, y, rows, width, rows a chunk, distances of x's and of y's rows (elements), address of eps.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        result, width, group = rows.numbers(args[0]), args[4], args[5]
        eps = number_of(code.words(args[8]), dtype)
        with code.range(first * group, smaller(last * group, args[3])) as row:
            x, y = (args[k] + row * args[5 + k] * rows.size for k in (1, 2))
            a, _ = _lengths(rows, x, width, eps, inside)
            b, _ = _lengths(rows, y, width, eps, inside)
            result[row] = rows.dot(x, y, width) / (a * b)

    return traced(emit)


@kernel
def cosines_backward(dtype: str, inside: bool) -> Any:
    """The gradient of `cosines` for x, contiguous: ``g (y / (|x| |y|) - result x / |x|**2)``.

    args: dx, g, x, y, result, rows, width, rows a chunk, distances of g, of x's, of y's rows (elements), address of
    eps.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        g, result, width, group = rows.numbers(args[1]), rows.numbers(args[4]), args[6], args[7]
        eps = number_of(code.words(args[11]), dtype)
        with code.range(first * group, smaller(last * group, args[5])) as row:
            dx = args[0] + row * width * rows.size
            x, y = args[2] + row * args[9] * rows.size, args[3] + row * args[10] * rows.size
            a, divisor = _lengths(rows, x, width, eps, inside)
            b, _ = _lengths(rows, y, width, eps, inside)
            own = g[row * args[8]]
            along = select(divisor.compare("==", 0.0), 0.0, own * result[row] / divisor)
            rows.write(lambda x, y, across, along: y * across - x * along, dx, [x, y], [own / (a * b), along], width)

    return traced(emit)
