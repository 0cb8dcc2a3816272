"""Gradients of functions of elements: what comes from the result, then what the forward pass kept."""

from __future__ import annotations

import math
from collections.abc import Callable

from fastnn._kernels.mathematics.exponential import exp
from fastnn._kernels.mathematics.exponential import exp2 as power_of_two
from fastnn._kernels.mathematics.logarithm import log
from fastnn._kernels.mathematics.power import power
from fastnn._kernels.mathematics.trigonometric import cos
from fastnn._kernels.mathematics.trigonometric import sinc as sine_quotient
from fastnn._kernels.vector import Value, select

_LN2, _LN10 = math.log(2.0), math.log(10.0)


def exp2(dy: Value, y: Value) -> Value:
    """Of ``2**x``, from the result."""
    return dy * (y * _LN2)


def log2(dy: Value, x: Value) -> Value:
    """Of ``log2(x)``."""
    return dy / (x * _LN2)


def log10(dy: Value, x: Value) -> Value:
    """Of ``log10(x)``."""
    return dy / (x * _LN10)


def logit(dy: Value, x: Value) -> Value:
    """Of ``log(x / (1 - x))``; NaN outside [0, 1]."""
    slope = dy / (x * (1.0 - x))
    return select(x.compare(">=", 0.0) & x.compare("<=", 1.0), slope, math.nan)


def logaddexp(dz: Value, x: Value, z: Value) -> Value:
    """Of ``log(exp(x) + exp(y))`` for x, from the result; 1 where both are the same infinity."""
    return dz * exp(select(x.compare("==", z), 0.0, x - z))


def logaddexp2(dz: Value, x: Value, z: Value) -> Value:
    """Of ``log2(2**x + 2**y)`` for x, from the result."""
    return dz * power_of_two(select(x.compare("==", z), 0.0, x - z))


def logarithm_of(dz: Value, x: Value, y: Value, logarithm: Callable[[Value], Value], pole: float) -> Value:
    """Of ``x * logarithm(y)`` for x: 0 where x is 0 and y not beyond the pole."""
    return select(x.compare("==", 0.0) & y.compare("<=", pole), 0.0, dz * logarithm(y))


def entropy(dy: Value, x: Value) -> Value:
    """Of ``-x log(x)``."""
    return dy * (-log(x) - 1.0)


def power_base(dz: Value, x: Value, y: Value) -> Value:
    """Of ``x**y`` for x: ``y * x**(y - 1)``, 0 where y is."""
    return select(y.compare("==", 0.0), 0.0, dz * (y * power(x, y - 1.0)))


def power_exponent(dz: Value, x: Value, y: Value, z: Value) -> Value:
    """Of ``x**y`` for y, from the result: ``x**y * log(x)``, 0 where x is 0 and y not negative."""
    return select(x.compare("==", 0.0) & y.compare(">=", 0.0), 0.0, dz * (z * log(x)))


def sinc(dy: Value, x: Value) -> Value:
    """Of ``sin(pi x) / (pi x)``: ``(cos(pi x) - sinc(x)) / x``, 0 at 0."""
    return select(x.compare("==", 0.0), 0.0, dy * ((cos(x * math.pi) - sine_quotient(x)) / x))


def copysign(dz: Value, x: Value, z: Value) -> Value:
    """Of the magnitude of x with another sign, from the result: 0 at 0."""
    return select(x.compare("==", 0.0), 0.0, dz * (z / x))


def taken(dz: Value, mask: Value) -> Value:
    """`dz` where an operand was taken, 0 elsewhere."""
    return select(mask, dz, 0.0)


def chosen(dz: Value, x: Value, y: Value, operator: str) -> Value:
    """Of the larger (``>``) or smaller (``<``) of two for x: half of it where they are equal or one is NaN."""
    other = "<" if operator == ">" else ">"
    tied = ~(x.compare(operator, y) | x.compare(other, y))
    return select(x.compare(other, y), 0.0, select(tied, dz * 0.5, dz))


def clip(dy: Value, x: Value, low: Value, high: Value) -> Value:
    """Of x within bounds, which belong to what is within."""
    return taken(dy, x.compare(">=", low) & x.compare("<=", high))
