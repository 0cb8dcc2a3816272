"""exp, log, erf, tanh, sigmoid, gelu, silu and the activations' derivatives, over traced values (`vector.Value`).

Each serves float32 and float64, a scalar or a vector, without branches. Largest error found, in units in the last
place of the correctly rounded result (subnormal results included), over samples of all exponents and signs:

    exp 0.95    log 0.85    erf 1.9    tanh 1.35    sigmoid 1.85    gelu 8.5    silu 3.3

gelu errs 4.3 from -1 on (further below, one unit of x makes x**2 units of the result). Its tanh form errs 2 above zero
and below it as many times 1 + w, w the magnitude of the exponent. Derivatives of erf, gelu, silu err 2.5 epsilon times
the terms that they add up; that of the tanh form 1 + w times as much.
NaN gives NaN; ±inf, overflow and underflow give IEEE's limits. The polynomials interpolate at Chebyshev nodes (near
the minimax polynomial) in 150 digits, then are rounded to the format; the rational function is Remez's, in 80.
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
# erf(x) / x - 1 as a polynomial of x**2, for |x| <= 0.75
_ERF = {
    "float32": (
        1.283791661e-01,
        -3.761262000e-01,
        1.128338650e-01,
        -2.683511376e-02,
        5.115332082e-03,
        -6.756479852e-04,
    ),
    "float64": (
        0.1283791670955126,
        -0.37612638903183754,
        0.11283791670955087,
        -0.026866170645118446,
        0.005223977625222192,
        -0.0008548327001135946,
        0.00012055331545294116,
        -1.4925589383821143e-05,
        1.646038320985815e-06,
        -1.63332293434337e-07,
        1.4413879289095029e-08,
        -9.502840894774706e-10,
    ),
}
# The normal distribution's tail beyond a over exp(-a**2 / 2), a polynomial over another, for a up to 14.5 (38.7).
_TAIL = {
    "float32": (
        (5.000000000e-01, 4.383023679e-01, 1.832406372e-01, 4.063508287e-02, 4.116583616e-03),
        (
            1.000000000e00,
            1.674489737e00,
            1.202525973e00,
            4.694851339e-01,
            1.018634886e-01,
            1.031862572e-02,
        ),
    ),
    "float64": (
        (
            0.5,
            0.8277378288525675,
            0.67931852801878,
            0.3571216039188631,
            0.13193711592419688,
            0.03563083829719702,
            0.007113892029171963,
            0.0010381490561932538,
            0.00010638305892836932,
            6.961386143608651e-06,
            2.2363202593646397e-07,
        ),
        (
            1.0,
            2.4533602185080006,
            2.81613529647303,
            2.0004754930392914,
            0.9794545072500567,
            0.34802146089171787,
            0.09188062158400599,
            0.01809742455254007,
            0.0026197033850820866,
            0.0002672233458076719,
            1.7449607338224568e-05,
            5.605623593252214e-07,
        ),
    ),
}
# `_lifted_exp` gives 2**this times the exponential.
_LIFT = {"float32": 40, "float64": 100}
# Beyond these magnitudes, results that fall to zero are zero whatever the rounding: gelu (both forms), silu, and
# exp(-x**2); and erf is 1.
_GELU_RANGE = {"float32": 14.6, "float64": 38.7}
_GELU_TANH_RANGE = {"float32": 11.0, "float64": 21.7}
_SILU_RANGE = {"float32": 109.0, "float64": 753.0}
_GAUSSIAN_RANGE = {"float32": 10.4, "float64": 27.4}
_ERF_RANGE = {"float32": 4.0, "float64": 6.0}


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


def _lifted_exp(p: Value, q: Value | float) -> Value:
    """``2**_LIFT * exp(p * q)`` for a product that is not positive, whose own rounding costs nothing.

    The power of two keeps the result among the normal numbers: who multiplies by its inverse last rounds only once.
    """
    mantissa, lift = _MANTISSA[p.dtype], _LIFT[p.dtype]
    ln2, rest = _LN2[p.dtype]
    # As in `exp`, but the integer in the low bits is the result's biased exponent.
    magic = 1.5 * 2.0**mantissa + (_BIAS[p.dtype] + lift)
    shifted = fma(p * q, _LOG2_E, magic)
    n = shifted - magic
    r = fma(n, -rest, fma(p, q, n * -ln2))
    return polynomial(r, (1.0, 1.0, *_EXP[p.dtype])) * (shifted.bits() << mantissa).bits()


def _bounded(x: Value, most: dict[str, float]) -> Value:
    """The magnitude, but no more than the format's bound."""
    magnitude, bound = absolute(x), most[x.dtype]
    return select(magnitude.compare(">", bound), bound, magnitude)


def _tail(a: Value) -> tuple[Value, Value]:
    """The two polynomials of a whose quotient, times ``exp(-a**2 / 2)``, is the normal distribution beyond a."""
    above, below = _TAIL[a.dtype]
    return polynomial(a, above), polynomial(a, below)


def erf(x: Value) -> Value:
    """An odd polynomial up to 0.75, above it 1 less the normal distribution's two tails beyond ``sqrt(2) |x|``."""
    a = _bounded(x, _ERF_RANGE)
    e = _lifted_exp(-a, a)
    above, below = _tail(a * math.sqrt(2.0))
    large = fma(quotient(e * above, below), -(2.0 ** (1 - _LIFT[x.dtype])), 1.0)
    small = fma(polynomial(a * a, _ERF[x.dtype]), a, a)
    return with_sign_of(select(a.compare("<", 0.75), small, large), x)


def erf_backward(dy: Value, x: Value) -> Value:
    """From the gradient of erf's result and its argument: ``dy * 2 / sqrt(pi) * exp(-x**2)``."""
    a = _bounded(x, _GAUSSIAN_RANGE)
    return dy * (_lifted_exp(-a, a) * (2.0 / math.sqrt(math.pi) * 2.0 ** -_LIFT[x.dtype]))


# -- x times a function that rises from 0 to 1, odd about 1/2: above zero what is missing from x is computed


def _gated(x: Value, missing: Value) -> Value:
    """``max(x, 0)`` less ``2**-_LIFT * missing``, with x's sign where it is zero."""
    zero = with_sign_of(x.number(0.0), x)
    return fma(missing, -(2.0 ** -_LIFT[x.dtype]), select(x.compare(">", zero), x, zero))


def _gated_backward(dy: Value, x: Value, lifted: Value) -> Value:
    """`dy` times the derivative, which at ``-|x|`` is ``2**-_LIFT * lifted``; at ``|x|`` it is 1 less that."""
    below = lifted * 2.0 ** -_LIFT[x.dtype]
    return dy * select(x.compare(">", 0.0), 1.0 - below, below)


def gelu(x: Value) -> Value:
    """``x * P(X <= x)``, X normal with mean 0 and variance 1."""
    a = _bounded(x, _GELU_RANGE)
    e = _lifted_exp(a * -0.5, a) * a
    above, below = _tail(a)
    return _gated(x, quotient(e * above, below))


def gelu_backward(dy: Value, x: Value) -> Value:
    """From the gradient of gelu's result and its argument."""
    a = _bounded(x, _GELU_RANGE)
    density = 1.0 / math.sqrt(2.0 * math.pi)
    ratio = fma(a, -density, quotient(*_tail(a)))
    return _gated_backward(dy, x, ratio * _lifted_exp(a * -0.5, a))


_GELU_TANH = (2.0 * math.sqrt(2.0 / math.pi), 2.0 * math.sqrt(2.0 / math.pi) * 0.044715)


def gelu_tanh(x: Value) -> Value:
    """``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``, which is x times a sigmoid."""
    a = _bounded(x, _GELU_TANH_RANGE)
    e = _lifted_exp(-a, polynomial(a * a, _GELU_TANH))
    return _gated(x, quotient(e * a, fma(e, 2.0 ** -_LIFT[x.dtype], 1.0)))


def gelu_tanh_backward(dy: Value, x: Value) -> Value:
    """From the gradient of the tanh form's result and its argument."""
    a = _bounded(x, _GELU_TANH_RANGE)
    z = a * a
    first, third = _GELU_TANH
    e = _lifted_exp(-a, polynomial(z, _GELU_TANH))
    return _gated_backward(dy, x, _sigmoid_slope(e, a * polynomial(z, (first, 3.0 * third))))


def silu(x: Value) -> Value:
    """``x * sigmoid(x)``."""
    a = _bounded(x, _SILU_RANGE)
    e = _lifted_exp(-a, 1.0)
    return _gated(x, quotient(e * a, fma(e, 2.0 ** -_LIFT[x.dtype], 1.0)))


def silu_backward(dy: Value, x: Value) -> Value:
    """From the gradient of silu's result and its argument."""
    a = _bounded(x, _SILU_RANGE)
    return _gated_backward(dy, x, _sigmoid_slope(_lifted_exp(-a, 1.0), a))


def _sigmoid_slope(e: Value, slope: Value) -> Value:
    """The lifted derivative at ``-|x|`` of ``x e / (1 + e)`` from the lifted e and ``|x|`` times log e's."""
    divisor = fma(e, 2.0 ** -_LIFT[e.dtype], 1.0)
    return quotient(e * (divisor - slope), divisor * divisor)
