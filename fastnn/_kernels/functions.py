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

from fastnn._kernels.mathematics.double import BIAS, MANTISSA
from fastnn._kernels.mathematics.exponential import EXP, LN2, LOG2_E
from fastnn._kernels.vector import Value, absolute, fma, polynomial, quotient, select, with_sign_of

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


def tanh_backward(dy: Value, y: Value) -> Value:
    """From the gradient of tanh's result and the result."""
    return dy * (1.0 - y * y)


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
    mantissa, lift = MANTISSA[p.dtype], _LIFT[p.dtype]
    ln2, rest = LN2[p.dtype]
    # As in `exp`, but the integer in the low bits is the result's biased exponent.
    magic = 1.5 * 2.0**mantissa + (BIAS[p.dtype] + lift)
    shifted = fma(p * q, LOG2_E, magic)
    n = shifted - magic
    r = fma(n, -rest, fma(p, q, n * -ln2))
    return polynomial(r, (1.0, 1.0, *EXP[p.dtype])) * (shifted.bits() << mantissa).bits()


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
