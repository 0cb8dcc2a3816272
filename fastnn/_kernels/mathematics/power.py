"""Powers, roots, and the length of a vector in the plane."""

from __future__ import annotations

import math

from fastnn._kernels.mathematics.double import BIAS, MANTISSA, fast_two_sum, two_product
from fastnn._kernels.mathematics.exponential import LN2, LOG2_E, bounded, exp_of, nearest
from fastnn._kernels.mathematics.logarithm import split
from fastnn._kernels.vector import Value, absolute, floor, fma, polynomial, select, sqrt

# 2/3 in two parts, each rounded to the format.
_TWO_THIRDS = {
    "float32": (0.6666666865348816, -1.9868215517249155e-08),
    "float64": (0.6666666666666666, 3.700743415417188e-17),
}
# (log((1 + s) / (1 - s)) / s - 2 - 2/3 s**2) / s**4 as a polynomial of s**2 for |s| <= 3 - sqrt(8), fitted as those of
# `fastnn._kernels.mathematics.trigonometric`.
_LOG = {
    "float32": (4.000015557e-01, 2.854684293e-01, 2.342461348e-01),
    "float64": (
        0.4,
        0.2857142857142709,
        0.22222222222620733,
        0.18181818124353272,
        0.15384620344432373,
        0.13333065697323024,
        0.11773763963684444,
        0.10341249891694783,
        0.11568248122889978,
    ),
}
_EXP_RANGE = {"float32": (-105.0, 89.0), "float64": (-746.0, 710.0)}


def _log_pair(x: Value) -> tuple[Value, Value]:
    """``log(x)`` for finite x > 0 in two parts, with a relative error of 2**-33 (float64: 2**-63).

    With ``s = f / (2 + f)``, s and s**3 are kept in two parts; what follows them is 2**-12 of the whole.
    """
    f, e, _ = split(x)
    divisor = f + 2.0
    inverse = 1.0 / divisor
    s = f * inverse
    # What rounding took from the divisor, and from the quotient.
    s_low = (fma(-s, divisor, f) - s * (f - (divisor - 2.0))) * inverse
    z, z_low = two_product(s, s)
    z_low = fma(s + s, s_low, z_low)
    cube, cube_low = two_product(s, z)
    cube_low = fma(s, z_low, fma(s_low, z, cube_low))
    two_thirds, rest = _TWO_THIRDS[x.dtype]
    term, term_low = two_product(cube, two_thirds)
    term_low = fma(cube, rest, fma(cube_low, two_thirds, term_low))
    term_low = fma(cube * z, polynomial(z, _LOG[x.dtype]), term_low)
    ln2, rest = LN2[x.dtype]
    high, low = fast_two_sum(e * ln2, s + s)
    low = low + fma(e, rest, s_low + s_low)
    total, lost = fast_two_sum(high, term)
    # Renormalised: rounding of the lower part counts where the logarithm is multiplied.
    return fast_two_sum(total, lost + (low + term_low))


def power(x: Value, y: Value) -> Value:
    """``x**y`` as IEEE 754-2019, 9.2: ``exp(y log|x|)``, the logarithm and the product in two parts.

    1 to any power and anything to the power of 0 is 1, NaN included; a negative number to a power that is no integer
    is NaN; zeros and infinities keep their sign under odd powers.
    """
    low, high = _EXP_RANGE[x.dtype]
    a = absolute(x)
    regular = a.compare(">", 0.0) & a.compare("<", math.inf)
    log_high, log_low = _log_pair(select(regular, a, 1.0))
    w = y * log_high
    w_low = fma(y, log_low, fma(y, log_high, -w))
    within = w.compare(">", low) & w.compare("<", high)
    w, w_low = bounded(w, low, high), select(within, w_low, 0.0)
    n, bits = nearest(w, LOG2_E)
    ln2, rest = LN2[x.dtype]
    result = exp_of(fma(-n, ln2, w), fma(n, -rest, w_low), n, bits)
    result = select(w.compare("==", low), 0.0, result)
    grows = y.compare("<", 0.0)
    result = select(a.compare("==", 0.0), select(grows, y.number(math.inf), 0.0), result)
    result = select(a.compare("==", math.inf), select(grows, 0.0, y.number(math.inf)), result)
    result = select(a.compare("==", 1.0), 1.0, result)
    # Signs: a negative base (or -0) needs an integer; an odd one keeps the sign.
    half = 0.5 * y
    whole, even = floor(y).compare("==", y), floor(half).compare("==", half)
    negative = x.bits().compare("<", 0)
    result = select(negative & whole & ~even, -result, result)
    result = select(x.compare("<", 0.0) & a.compare("<", math.inf) & ~whole, math.nan, result)
    result = select(x.compare("!=", x) | y.compare("!=", y), x + y, result)
    return select(x.compare("==", 1.0) | y.compare("==", 0.0), 1.0, result)


def square_root(x: Value) -> Value:
    """``x**0.5``, rounded correctly; not quite `sqrt`: that of -0 is 0, of -inf is inf, as a power's."""
    return select(x.compare("==", -math.inf), math.inf, sqrt(x) + 0.0)


def cube(x: Value) -> Value:
    """``x**3``; what rounding takes from the square counts where the result is about to overflow."""
    square, lost = two_product(x, x)
    more = lost * x
    return fma(square, x, select(absolute(more).compare("<", math.inf), more, 0.0))


def rsqrt(x: Value) -> Value:
    """``1 / sqrt(x)``."""
    return 1.0 / sqrt(x)


def hypot(x: Value, y: Value) -> Value:
    """``sqrt(x**2 + y**2)`` without overflow: both are scaled by a power of two first."""
    mantissa, bias = MANTISSA[x.dtype], BIAS[x.dtype]
    a, b = absolute(x), absolute(y)
    large = select(a.compare("<", b), b, a)
    exponent = large.bits() >> mantissa
    exponent = select(exponent.compare("<", 1), 1, exponent)
    exponent = select(exponent.compare(">", 2 * bias - 1), 2 * bias - 1, exponent)
    down, up = ((2 * bias - exponent) << mantissa).bits(), (exponent << mantissa).bits()
    a_down, b_down = a * down, b * down
    result = sqrt(fma(a_down, a_down, b_down * b_down)) * up
    infinite = a.compare("==", math.inf) | b.compare("==", math.inf)
    return select(infinite, math.inf, result)
