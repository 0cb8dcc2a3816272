"""Pairs of floats whose sum stands for one number with twice the digits, and what a format's bits mean.

T. J. Dekker, "A floating-point technique for extending the available precision", Numerische Mathematik 18 (1971);
D. E. Knuth, "The Art of Computer Programming", volume 2, 4.2.2. An FMA gives the rounding error of a product.
"""

from __future__ import annotations

from fastnn._kernels.vector import Value, fma

# Mantissa bits and exponent bias of each format.
MANTISSA = {"float32": 23, "float64": 52}
BIAS = {"float32": 127, "float64": 1023}


def two_sum(x: Value | float, y: Value) -> tuple[Value, Value]:
    """The sum, and what rounding took from it."""
    total = y + x
    part = total - x
    return total, (x - (total - part)) + (y - part)


def fast_two_sum(x: Value, y: Value) -> tuple[Value, Value]:
    """As `two_sum`, where x is zero or not smaller in magnitude than y."""
    total = x + y
    return total, y - (total - x)


def two_product(x: Value, y: Value | float) -> tuple[Value, Value]:
    """The product, and what rounding took from it."""
    product = x * y
    return product, fma(x, y, -product)


def power_of_two(exponent: Value, dtype: str) -> Value:
    """``2**exponent`` from integers that give a normal number."""
    return ((exponent + BIAS[dtype]) << MANTISSA[dtype]).bits()


def smallest_normal(dtype: str) -> float:
    """The smallest normal number."""
    return float(2.0 ** (1 - BIAS[dtype]))
