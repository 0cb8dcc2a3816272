"""exp and its kin: ``x = n ln 2 + r`` with ``|r| <= ln(2) / 2``, so ``exp(x) = 2**n * exp(r)``.

The polynomials approximate ``(exp(r) - 1 - r) / r**2`` and ``(sinh(x) / x - 1) / x**2``. The first one interpolates
at Chebyshev nodes, in 150 digits, then is rounded to the format; the others are fitted by weighted least squares at
Chebyshev nodes, in 60 digits, one coefficient after the other: each is rounded before those above it are fitted anew.
"""

from __future__ import annotations

from typing import NamedTuple

from fastnn._kernels.mathematics.double import BIAS, MANTISSA, fast_two_sum, power_of_two
from fastnn._kernels.vector import Value, absolute, fma, polynomial, quotient, scaled, select, with_sign_of

LOG2_E = 1.4426950408889634
# ln 2 in two parts; the first has zeros enough at its end that its product with an exponent is exact.
LN2 = {
    "float32": (0.693145751953125, 1.428606765330187e-06),
    "float64": (0.6931471805598903, 5.497923018708371e-14),
}
# ln 2 in two parts, each rounded to the format.
_LN2_PAIR = {
    "float32": (0.6931471824645996, -1.9046542121259336e-09),
    "float64": (0.6931471805599453, 2.3190468138462996e-17),
}
# Beyond these the result is 0 (or -1) or inf whatever the rounding.
EXP_RANGE = {"float32": (-105.0, 89.0), "float64": (-746.0, 710.0)}
_EXP2_RANGE = {"float32": (-151.0, 128.5), "float64": (-1076.0, 1024.5)}
EXPM1_RANGE = {"float32": (-18.0, 89.0), "float64": (-38.0, 710.0)}
_COSH_RANGE = {"float32": 90.0, "float64": 711.0}
# (exp(r) - 1 - r) / r**2 for |r| <= ln(2) / 2
EXP = {
    "float32": (4.999998808e-01, 1.666651666e-01, 4.166964069e-02, 8.369131014e-03, 1.374655054e-03),
    "float64": (
        0.5000000000000001,
        0.16666666666666669,
        0.04166666666662243,
        0.008333333333329931,
        0.0013888888918057098,
        0.0001984126986370219,
        2.4801519991900052e-05,
        2.755726745716343e-06,
        2.762070569712557e-07,
        2.5100860168090098e-08,
    ),
}
# (tanh(x) / x - 1) / x**2 as a polynomial of x**2, for |x| <= 0.625
TANH = {
    "float32": (-3.333332837e-01, 1.333276927e-01, -5.385084823e-02, 2.099689469e-02, -6.096299738e-03),
    "float64": (
        -0.3333333333333333,
        0.13333333333333042,
        -0.05396825396789636,
        0.02186948851898143,
        -0.008863235102653483,
        0.0035921217436959856,
        -0.0014557753532096296,
        0.0005896603606552671,
        -0.0002375896885211701,
        9.256923588512033e-05,
        -3.119892666773487e-05,
        6.484104982405479e-06,
    ),
}
# (sinh(x) / x - 1) / x**2 as a polynomial of x**2, for |x| <= 1
_SINH = {
    "float32": (1.666666716e-01, 8.333315141e-03, 1.984166593e-04, 2.789983910e-06),
    "float64": (
        0.16666666666666669,
        0.00833333333333297,
        0.00019841269841531245,
        2.7557319130352524e-06,
        2.5052126861989364e-08,
        1.6056999965204122e-10,
        7.765916630596675e-13,
    ),
}


class Reduced(NamedTuple):
    """``x = n ln 2 + whole + small``; `bits` is n as an integer."""

    n: Value
    bits: Value
    whole: Value
    small: Value


def bounded(x: Value, low: float, high: float) -> Value:
    """The number within limits; NaN stays."""
    x = select(x.compare("<", low), low, x)
    return select(x.compare(">", high), high, x)


def nearest(x: Value, factor: float = 1.0) -> tuple[Value, Value]:
    """The integer nearest to ``x * factor``, as a float and as an integer.

    Adding 1.5 * 2**mantissa rounds to an integer and leaves it in the low bits: no conversion, so NaN is harmless.
    """
    magic = 1.5 * 2.0 ** MANTISSA[x.dtype]
    shifted = fma(x, factor, magic)
    return shifted - magic, shifted.bits() - shifted.number(magic).bits()


def reduced(x: Value) -> Reduced:
    """Take multiples of ln 2 off. The remainder's first part is exact: rounding it costs nothing."""
    n, bits = nearest(x, LOG2_E)
    ln2, rest = LN2[x.dtype]
    return Reduced(n, bits, fma(-n, ln2, x), n * -rest)


def excess(whole: Value, small: Value) -> Value:
    """What ``exp(whole + small)`` is above ``1 + whole``."""
    r = whole + small
    return fma(polynomial(r, EXP[r.dtype]) * r, r, small)


def exp_of(whole: Value, small: Value, n: Value, bits: Value) -> Value:
    """``2**n * exp(whole + small)``."""
    p = (excess(whole, small) + whole) + 1.0
    return scaled(p, n, bits, MANTISSA[p.dtype], BIAS[p.dtype])


def exp(x: Value) -> Value:
    """The exponential."""
    low, high = EXP_RANGE[x.dtype]
    # What is sure to vanish is not computed: a result below the normal numbers costs 150 cycles on many CPUs.
    vanishes = x.compare("<", low)
    x = select(vanishes, 0.0, x)
    n, bits, whole, small = reduced(select(x.compare(">", high), high, x))
    return select(vanishes, 0.0, exp_of(whole, small, n, bits))


def exp2(x: Value) -> Value:
    """``2**x``: the difference from the nearest integer is exact, and its product with ln 2 is kept in two parts."""
    low, high = _EXP2_RANGE[x.dtype]
    vanishes = x.compare("<", low)
    x = select(vanishes, 0.0, x)
    x = select(x.compare(">", high), high, x)
    n, bits = nearest(x)
    r = x - n
    ln2, rest = _LN2_PAIR[x.dtype]
    whole = r * ln2
    return select(vanishes, 0.0, exp_of(whole, fma(r, rest, fma(r, ln2, -whole)), n, bits))


def expm1(x: Value) -> Value:
    """``exp(x) - 1`` without cancellation: ``2**n * ((1 - 2**-n) + (exp(r) - 1))``."""
    n, bits, whole, small = reduced(bounded(x, *EXPM1_RANGE[x.dtype]))
    # Where 2**-n has no place beside 1, it does not count.
    within = bits.compare("<", 64)
    one_less = 1.0 - power_of_two(-select(within, bits, bits.number(64)), x.dtype)
    high, low = fast_two_sum(one_less, whole)
    p = high + (low + excess(whole, small))
    result = scaled(p, n, bits, MANTISSA[x.dtype], BIAS[x.dtype])
    return with_sign_of(result, x)


def _exponentials(a: Value) -> tuple[Value, Value, Value, Reduced]:
    """For a >= 0, ``exp(a)`` and ``exp(-a)`` over ``2**n``: the first one in two parts."""
    r = reduced(a)
    high, low = fast_two_sum(a.number(1.0), r.whole)
    low = low + excess(r.whole, r.small)
    within = r.bits.compare("<", 30)
    bits = select(within, r.bits, r.bits.number(30))
    return high, low, power_of_two(-(bits + bits), a.dtype) / (high + low), r


def sinh(x: Value) -> Value:
    """An odd polynomial up to 1, half the difference of two exponentials above."""
    z = x * x
    near = fma(x * z, polynomial(z, _SINH[x.dtype]), x)
    magnitude = absolute(x)
    limit = _COSH_RANGE[x.dtype]
    high, low, other, r = _exponentials(select(magnitude.compare(">", limit), limit, magnitude))
    far = scaled((high - other) + low, r.n - 1.0, r.bits - 1, MANTISSA[x.dtype], BIAS[x.dtype])
    return with_sign_of(select(magnitude.compare("<", 1.0), near, far), x)


def cosh(x: Value) -> Value:
    """Half the sum of two exponentials."""
    magnitude = absolute(x)
    limit = _COSH_RANGE[x.dtype]
    high, low, other, r = _exponentials(select(magnitude.compare(">", limit), limit, magnitude))
    return scaled((high + other) + low, r.n - 1.0, r.bits - 1, MANTISSA[x.dtype], BIAS[x.dtype])


def tanh_rest(magnitude: Value) -> Value:
    """What ``tanh(a)`` is below 1, for ``a >= 0``: ``2 / (exp(2 a) + 1)``."""
    # From 20 on (float32: from 10) the result is 1.
    most = 10.0 if magnitude.dtype == "float32" else 20.0
    a = select(magnitude.compare(">", most), most, magnitude)
    return quotient(a.number(2.0), exp(a + a) + 1.0)


def tanh(x: Value) -> Value:
    """An odd polynomial up to 0.625, ``1 - 2 / (exp(2|x|) + 1)`` above."""
    z = x * x
    near = fma(x * z, polynomial(z, TANH[x.dtype]), x)
    magnitude = absolute(x)
    return with_sign_of(select(magnitude.compare("<", 0.625), near, 1.0 - tanh_rest(magnitude)), x)


def sigmoid(x: Value) -> Value:
    """``1 / (1 + exp(-x))``, written with ``exp(-|x|)``, which does not overflow and keeps small results' digits."""
    low, _ = EXP_RANGE[x.dtype]
    exponent = -absolute(x)
    n, bits, whole, small = reduced(select(exponent.compare("<", low), low, exponent))
    e = exp_of(whole, small, n, bits)
    divisor = 1.0 + e
    result = quotient(select(x.compare("<", 0.0), e, x.number(1.0)), divisor)
    # What rounding took from the divisor comes back to first order; 1 - e/2 stands for its reciprocal.
    lost = e - (divisor - 1.0)
    return fma(result * lost, fma(e, 0.5, -1.0), result)
