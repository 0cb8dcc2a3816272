"""log and its kin: ``x = m 2**e`` with m in [sqrt(1/2), sqrt(2)), so ``log(x) = e ln 2 + log(m)``.

``log(m)`` with ``f = m - 1`` and ``s = f / (2 + f)`` is ``f - (f**2 / 2 - s (f**2 / 2 + R))``, R a polynomial of s**2
(as in Sun's fdlibm, ``e_log.c``). It interpolates ``(log((1 + s) / (1 - s)) / s - 2) / s**2`` at Chebyshev nodes, in
150 digits, then is rounded to the format.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from fastnn._kernels.mathematics.double import (
    BIAS,
    MANTISSA,
    fast_two_sum,
    power_of_two,
    smallest_normal,
    two_product,
    two_sum,
)
from fastnn._kernels.mathematics.exponential import LN2, exp
from fastnn._kernels.vector import Value, absolute, fma, maximum, polynomial, quotient, select, sqrt, with_sign_of

# The polynomial for |s| <= 3 - sqrt(8).
LOG = {
    "float32": (6.666666865e-01, 4.000012279e-01, 2.855080366e-01, 2.333096415e-01),
    "float64": (
        0.666666666666667,
        0.3999999999989924,
        0.2857142862609589,
        0.2222221111514416,
        0.18182890556695602,
        0.1533167403016786,
        0.1461703754879165,
    ),
}
# 1 / ln 2 and 1 / ln 10 in two parts, each rounded to the format.
_PER_LN2 = {
    "float32": (1.4426950216293335, 1.925963033500011e-08),
    "float64": (1.4426950408889634, 2.0355273740931033e-17),
}
_PER_LN10 = {
    "float32": (0.4342944920063019, -1.0103049952192578e-08),
    "float64": (0.4342944819032518, 1.098319650216765e-17),
}
# log10(2) in two parts; the first has zeros enough at its end that its product with an exponent is exact.
_LOG10_2 = {
    "float32": (0.301025390625, 4.605039066518657e-06),
    "float64": (0.301029995663157, 8.241712586023572e-13),
}
# From here on the logarithm of ``2 x`` serves for the inverse hyperbolic functions; below, squares do not overflow.
_LARGE = 2.0**30


class Split(NamedTuple):
    """``x = (1 + f) 2**e``; `exponent` is e as an integer."""

    f: Value
    e: Value
    exponent: Value


def split(x: Value) -> Split:
    """Take a power of two off, so that 1 + f lies in [sqrt(1/2), sqrt(2)); subnormal numbers too."""
    mantissa = MANTISSA[x.dtype]
    subnormal = x.compare("<", smallest_normal(x.dtype))
    bits = select(subnormal, x * 2.0**mantissa, x).bits()
    exponent = (bits - x.number(math.sqrt(0.5)).bits()) >> mantissa
    f = (bits - (exponent << mantissa)).bits() - 1.0
    # An exponent as a number, without a conversion: it stands in the low bits of 1.5 * 2**mantissa.
    magic = x.number(1.5 * 2.0**mantissa)
    e = (exponent + magic.bits()).bits() - magic
    return Split(f, select(subnormal, e - float(mantissa), e), exponent)


def _tail(f: Value, half_square: Value) -> Value:
    """What ``log(1 + f)`` is above ``f - f**2 / 2``."""
    s = quotient(f, f + 2.0)
    z = s * s
    return s * (half_square + z * polynomial(z, LOG[f.dtype]))


def _limits(result: Value, x: Value) -> Value:
    """The logarithm's values at 0 and inf, and NaN below 0."""
    finite = select(x.compare("<", math.inf), result, x)
    return select(x.compare(">", 0.0), finite, select(x.compare("==", 0.0), x.number(-math.inf), math.nan))


def log(x: Value) -> Value:
    """The natural logarithm."""
    f, e, _ = split(x)
    s = quotient(f, f + 2.0)
    z = s * s
    half_square = 0.5 * f * f
    ln2, rest = LN2[x.dtype]
    tail = fma(s, half_square + z * polynomial(z, LOG[x.dtype]), e * rest)
    return _limits(fma(e, ln2, f - (half_square - tail)), x)


def _scaled_log(f: Value, factor: tuple[float, float]) -> tuple[Value, Value]:
    """``log(1 + f)`` times a factor in two parts, in two parts."""
    half_square = 0.5 * f * f
    high = f - half_square
    low = ((f - high) - half_square) + _tail(f, half_square)
    whole, rest = factor
    product, error = two_product(high, whole)
    return product, fma(low, whole, fma(high, rest, error))


def log2(x: Value) -> Value:
    """The logarithm to base 2; exact for powers of two."""
    f, e, _ = split(x)
    product, low = _scaled_log(f, _PER_LN2[x.dtype])
    total, error = fast_two_sum(e, product)
    return _limits(total + (error + low), x)


def log10(x: Value) -> Value:
    """The logarithm to base 10."""
    f, e, _ = split(x)
    product, low = _scaled_log(f, _PER_LN10[x.dtype])
    whole, rest = _LOG10_2[x.dtype]
    total, error = fast_two_sum(e * whole, product)
    return _limits(total + (error + fma(e, rest, low)), x)


def _log_of_sum(u: Value, c: Value, more: Value | None = None) -> Value:
    """``log(u + c)`` for a positive finite u and a c that is small beside it; of twice that where `more` holds."""
    f, e, exponent = split(u)
    # A larger power would not be normal, and c has no place there anyway.
    most = BIAS[u.dtype] - 1
    f, lost = fast_two_sum(f, c * power_of_two(-select(exponent.compare("<", most), exponent, most), u.dtype))
    if more is not None:
        e = select(more, e + 1.0, e)
    half_square = 0.5 * f * f
    ln2, rest = LN2[u.dtype]
    tail = fma(e, rest, _tail(f, half_square)) + lost
    return fma(e, ln2, f - (half_square - tail))


def log1p(x: Value) -> Value:
    """``log(1 + x)``: what rounding took from the sum is given back."""
    u, c = two_sum(x.number(1.0), x)
    result = _log_of_sum(u, c)
    result = select(x.compare("<", math.inf), result, x)
    inside = with_sign_of(select(x.compare(">", -1.0), result, x.number(-math.inf)), x)
    return select(x.compare("<", -1.0), math.nan, select(x.compare("!=", x), x, inside))


def asinh(x: Value) -> Value:
    """``log(1 + (a + a**2 / (1 + sqrt(1 + a**2))))`` for ``a = |x|``; ``log(2 a)`` where a is large."""
    a = absolute(x)
    large = a.compare(">", _LARGE)
    near = select(large, 1.0, a)
    square = near * near
    v, v_low = two_sum(near, square / (sqrt(square + 1.0) + 1.0))
    u, c = two_sum(v.number(1.0), v)
    result = _log_of_sum(select(large, a, u), select(large, 0.0, c + v_low), large)
    return with_sign_of(select(a.compare("<", math.inf), result, a), x)


def acosh(x: Value) -> Value:
    """``log(1 + (t + sqrt(2 t + t**2)))`` for ``t = x - 1``; ``log(2 x)`` where x is large."""
    large = x.compare(">", _LARGE)
    t = select(large, 1.0, x) - 1.0
    v, v_low = two_sum(sqrt(fma(t, t, t + t)), t)
    u, c = two_sum(v.number(1.0), v)
    result = _log_of_sum(select(large, x, u), select(large, 0.0, c + v_low), large)
    return select(x.compare(">=", 1.0), select(x.compare("<", math.inf), result, x), math.nan)


def atanh(x: Value) -> Value:
    """Half of ``log(1 + 2 a / (1 - a))`` for ``a = |x|``, the quotient in two parts."""
    a = absolute(x)
    inside = a.compare("<", 1.0)
    near = select(inside, a, 0.0)
    divisor = 1.0 - near
    lost = (1.0 - divisor) - near
    double = near + near
    q = double / divisor
    q_low = (fma(-q, divisor, double) - q * lost) / divisor
    u, c = two_sum(q.number(1.0), q)
    result = 0.5 * _log_of_sum(u, c + q_low)
    outside = select(a.compare("==", 1.0), a.number(math.inf), math.nan)
    return with_sign_of(select(inside, result, outside), x)


def logaddexp(x: Value, y: Value) -> Value:
    """``log(exp(x) + exp(y))``: the larger one plus ``log(1 + exp(-|x - y|))``."""
    return _added_exponentials(x, y, 1.0)


def logaddexp2(x: Value, y: Value) -> Value:
    """``log2(2**x + 2**y)``."""
    return _added_exponentials(x, y, math.log(2.0))


def _added_exponentials(x: Value, y: Value, base: float) -> Value:
    # Equal infinities have no difference.
    difference = select(x.compare("==", y), 0.0, absolute(x - y))
    return maximum(x, y) + softened(difference * -base) * (1.0 / base)


def softened(x: Value) -> Value:
    """``log(1 + exp(x))`` for x that is not positive."""
    e = exp(x)
    u, c = two_sum(e.number(1.0), e)
    return _log_of_sum(u, c)


def softplus(x: Value) -> Value:
    """``log(1 + exp(x))``."""
    return maximum(x, 0.0) + softened(-absolute(x))


def logit(x: Value) -> Value:
    """``log(x / (1 - x))``; around 1/2 ``log(1 + (2 x - 1) / (1 - x))``, which does not cancel."""
    inside = x.compare(">", 0.0) & x.compare("<", 1.0)
    given = select(inside, x, 0.5)
    near = given.compare(">", 0.25) & given.compare("<", 0.75)
    divisor = 1.0 - given
    lost = (1.0 - divisor) - given
    above = select(near, (given + given) - 1.0, given)
    q = above / divisor
    q_low = (fma(-q, divisor, above) - q * lost) / divisor
    u, c = two_sum(q.number(1.0), q)
    result = _log_of_sum(select(near, u, q), select(near, c + q_low, q_low))
    edge = select(x.compare("==", 0.0), x.number(-math.inf), math.nan)
    edge = select(x.compare("==", 1.0), x.number(math.inf), edge)
    return select(inside, result, edge)


def times_logarithm(x: Value, y: Value, logarithm: Callable[[Value], Value]) -> Value:
    """The product of x and a logarithm of y; 0 where x is 0, whatever that may be, unless y is NaN."""
    product = x * logarithm(y)
    return select(x.compare("==", 0.0) & y.compare("==", y), 0.0, product)


def entropy(x: Value) -> Value:
    """``-x log(x)``; 0 at 0, -inf below."""
    return select(x.compare("==", 0.0), 0.0, select(x.compare("<", 0.0), x.number(-math.inf), -x * log(x)))
