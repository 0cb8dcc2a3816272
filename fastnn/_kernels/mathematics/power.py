"""Powers, roots, and the length of a vector in the plane."""

from __future__ import annotations

import math

from fastnn._kernels.mathematics.double import BIAS, MANTISSA, fast_two_sum, two_product
from fastnn._kernels.mathematics.exponential import LN2, bounded, exp_of, nearest
from fastnn._kernels.mathematics.logarithm import LOG, split
from fastnn._kernels.vector import Value, absolute, floor, fma, polynomial, select, sqrt

# 2/3 in two parts, each rounded to the format.
_TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
_LOG2_E = 1.4426950408889634
_EXP_RANGE = {"float32": (-105.0, 89.0), "float64": (-746.0, 710.0)}


def _log_pair(x: Value) -> tuple[Value, Value]:
    """``log(x)`` for finite x > 0 in two parts, with a relative error of 2**-30 (float64: 2**-64)."""
    f, e, _ = split(x)
    divisor = f + 2.0
    inverse = 1.0 / divisor
    s = f * inverse
    # What rounding took from the divisor, and from the quotient.
    s_low = (fma(-s, divisor, f) - s * (f - (divisor - 2.0))) * inverse
    z = s * s
    if x.dtype == "float32":
        tail = (s * z) * polynomial(z, LOG[x.dtype])
    else:
        # The cube's term in two parts: what comes after it is 2**-12 of the whole.
        two_thirds, rest = _TWO_THIRDS
        z, z_low = two_product(s, s)
        z_low = fma(s + s, s_low, z_low)
        cube, cube_low = two_product(s, z)
        cube_low = fma(s, z_low, fma(s_low, z, cube_low))
        term, term_low = two_product(cube, two_thirds)
        # The polynomial's own constant term differs from 2/3 by its approximation's error, which is kept.
        constant, *others = LOG[x.dtype]
        term_low = fma(cube, (constant - two_thirds), fma(cube_low, two_thirds, term_low))
        tail = term + (term_low + (cube * z) * polynomial(z, others))
    ln2, rest = LN2[x.dtype]
    high, low = fast_two_sum(e * ln2, s + s)
    low = low + fma(e, rest, s_low + s_low)
    total, lost = fast_two_sum(high, tail)
    if x.dtype == "float64":
        # The tail's own low part.
        lost = lost + ((term - tail) + (term_low + (cube * z) * polynomial(z, others)))
    return total, lost + low


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
    n, bits = nearest(w, _LOG2_E)
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
    """``x**3``."""
    return x * x * x


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
