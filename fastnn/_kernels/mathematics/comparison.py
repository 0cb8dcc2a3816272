"""Functions that choose: the larger, the smaller, what lies between bounds, signs, the next float."""

from __future__ import annotations

import math

from fastnn._kernels.vector import Value, absolute, fma, maximum, select, with_sign_of

__all__ = ["clip", "fmax", "fmin", "heaviside", "lerp", "maximum", "minimum", "nan_to_num", "nextafter", "sign"]


def sign(x: Value) -> Value:
    """-1, 0 or 1; NaN stays."""
    return select(x.compare("==", 0.0) | x.compare("!=", x), x, with_sign_of(x.number(1.0), x))


def minimum(x: Value, y: Value) -> Value:
    """The smaller; NaN if either is."""
    return select(y.compare("!=", y), y, select(x.compare(">", y), y, x))


def fmax(x: Value, y: Value) -> Value:
    """The larger; the other one if one is NaN."""
    return select(x.compare(">=", y) | y.compare("!=", y), x, y)


def fmin(x: Value, y: Value) -> Value:
    """The smaller; the other one if one is NaN."""
    return select(x.compare("<=", y) | y.compare("!=", y), x, y)


def clip(x: Value, low: Value, high: Value) -> Value:
    """The number within bounds, the upper one if they cross; NaN if one of the three is."""
    return minimum(maximum(x, low), high)


def nan_to_num(x: Value, nan: Value, positive: Value, negative: Value) -> Value:
    """x, but numbers in place of NaN, inf and -inf."""
    x = select(x.compare("==", math.inf), positive, x)
    x = select(x.compare("==", -math.inf), negative, x)
    return select(x.compare("!=", x), nan, x)


def heaviside(x: Value, zero: Value) -> Value:
    """0 below zero, 1 above, `zero` at zero; NaN stays."""
    step = select(x.compare("<", 0.0), x.number(0.0), 1.0)
    return select(x.compare("!=", x), x, select(x.compare("==", 0.0), zero, step))


def nextafter(x: Value, y: Value) -> Value:
    """The neighbour of x among the floats in the direction of y; y where they are equal."""
    bits = x.bits()
    # Away from zero the bits grow with the magnitude.
    away = x.compare("<", y) ^ bits.compare("<", 0)
    moved = (bits + select(away, bits.number(1), -1)).bits()
    least = with_sign_of(bits.number(1).bits(), y)
    moved = select(x.compare("==", 0.0), least, moved)
    moved = select(x.compare("==", y), y, moved)
    return select(x.compare("!=", x) | y.compare("!=", y), x + y, moved)


def lerp(start: Value, end: Value, weight: Value) -> Value:
    """``start + weight * (end - start)``, reckoned from the end that is nearer, so that both are reached."""
    # Operands are chosen first, so that few vectors are alive at a time.
    near = absolute(weight).compare("<", 0.5)
    return fma(select(near, weight, weight - 1.0), end - start, select(near, start, end))
