"""Rows of the elementwise table for activations: each function beside its derivative, over traced values.

A derivative takes the gradient of the result, then what was saved (the argument, or the result where that says all),
then the function's own hyper-parameters. At a kink it is what torch takes. NaN gives NaN. `fastnn.testing.accuracy`
states how far results and derivatives are from the truth: for float32 results stay within 2 units in the last place.
"""

from __future__ import annotations

from fastnn._kernels.constants import SELU_ALPHA, SELU_SCALE
from fastnn._kernels.formula import Formula
from fastnn._kernels.mathematics import error
from fastnn._kernels.mathematics.double import fast_two_sum, power_of_two, two_product
from fastnn._kernels.mathematics.exponential import (
    EXPM1_RANGE,
    bounded,
    excess,
    exp,
    expm1,
    reduced,
    sigmoid,
    tanh,
    tanh_rest,
)
from fastnn._kernels.mathematics.logarithm import softplus
from fastnn._kernels.vector import Value, absolute, fma, polynomial, quotient, select, with_sign_of

# Beyond these magnitudes mish is x or 0 whatever the rounding.
_MISH_RANGE = {"float32": 109.0, "float64": 753.0}
# Beyond these its slope is 1, and powers of exp still fit the format.
_MISH_SLOPE_RANGE = {"float32": 20.0, "float64": 38.0}
# selu's scale times alpha in two parts, each rounded to the format.
_SELU_BELOW = {
    "float32": (1.7580993175506592, 2.3296717444054593e-08),
    "float64": (1.7580993408473768, 1.41535193800845e-17),
}
# (x - tanh(x)) / x**3 as a polynomial of x**2, for |x| <= 1.25, fitted as those of `mathematics.exponential`
_TANHSHRINK = {
    "float32": (
        3.333333433e-01,
        -1.333333105e-01,
        5.396431312e-02,
        -2.183278464e-02,
        8.716819808e-03,
        -3.271876136e-03,
        1.030138345e-03,
        -2.247173397e-04,
        2.391994167e-05,
    ),
    "float64": (
        0.3333333333333333,
        -0.1333333333333297,
        0.05396825396804982,
        -0.02186948853090398,
        0.008863235453723207,
        -0.0035921273368232144,
        0.0014558300097432554,
        -0.0005900078549997766,
        0.00023906423036591898,
        -9.675223312411543e-05,
        3.896125657993457e-05,
        -1.5436193481965136e-05,
        5.870064946985166e-06,
        -2.0552562657568825e-06,
        6.259047894045305e-07,
        -1.5461769749770386e-07,
        2.8361362046557773e-08,
        -3.375329380011611e-09,
        1.9329660612727292e-10,
    ),
}


def log_sigmoid(x: Value) -> Value:
    """``log(1 / (1 + exp(-x)))``."""
    return -softplus(-x)


# -- straight lines


def clipped(x: Value, low: Value | float, high: Value | float) -> Value:
    """X within bounds; the upper one where the lower one is above it. NaN stays."""
    x = select(x.compare("<", low), low, x)
    return select(x.compare(">", high), high, x)


def _hardtanh_backward(dy: Value, x: Value, low: Value | float, high: Value | float) -> Value:
    return select(x.compare("<=", low) | x.compare(">=", high), 0.0, dy)


def _leaky_relu(x: Value, slope: Value | float) -> Value:
    return select(x.compare(">", 0.0), x, x * slope)


def _leaky_relu_backward(dy: Value, x: Value, slope: Value | float) -> Value:
    return select(x.compare(">", 0.0), dy, dy * slope)


def _hardsigmoid_backward(dy: Value, x: Value) -> Value:
    return select(x.compare(">", -3.0) & x.compare("<", 3.0), dy * (1.0 / 6.0), 0.0)


def _hardswish_backward(dy: Value, x: Value) -> Value:
    inner = select(x.compare("<", 3.0), dy * fma(x, 1.0 / 3.0, 0.5), dy)
    return select(x.compare("<=", -3.0), 0.0, inner)


def _inside(x: Value, bound: Value) -> Value:
    return x.compare(">=", -bound) & x.compare("<=", bound)


def _softshrink(x: Value, bound: Value) -> Value:
    return select(x.compare(">", bound), x - bound, select(x.compare("<", -bound), x + bound, x * 0.0))


# -- exponentials


def _elu(x: Value, alpha: Value) -> Value:
    return select(x.compare(">", 0.0), x, expm1(x) * alpha)


def _selu(x: Value) -> Value:
    """Below zero ``exp(x) - 1`` and its factor in two parts each."""
    low, _ = EXPM1_RANGE[x.dtype]
    _, bits, whole, small = reduced(bounded(x, low, 0.0))
    power = power_of_two(bits, x.dtype)
    high, lost = fast_two_sum(power - 1.0, power * whole)
    low_part = fma(power, excess(whole, small), lost)
    factor, rest = _SELU_BELOW[x.dtype]
    product, lost = two_product(high, factor)
    below = product + fma(low_part, factor, fma(high, rest, lost))
    # What the scale is above 1 has more digits than the scale itself.
    return select(x.compare(">", 0.0), fma(x, SELU_SCALE - 1.0, x), with_sign_of(below, x))


def _elu_backward(dy: Value, x: Value, alpha: Value | float, scale: float = 1.0) -> Value:
    slope = exp(select(x.compare(">", 0.0), 0.0, x)) * alpha
    above = dy * scale if scale != 1.0 else dy
    return select(x.compare(">", 0.0), above, above * slope)


def _celu(x: Value, alpha: Value) -> Value:
    return select(x.compare(">", 0.0), x, expm1(x / alpha) * alpha)


def _celu_backward(dy: Value, x: Value, alpha: Value) -> Value:
    return select(x.compare(">", 0.0), dy, dy * exp(x / alpha))


def _mish(x: Value) -> Value:
    """X times ``1 - J`` above zero, times ``exp(x) (1 - J)`` below; J is a quotient in ``e = exp(-|x|)``.

    J is ``2 e**2 / (2 e**2 + 2 e + 1)`` above, ``(e**2 + e) / (e**2 + 2 e + 2)`` below. Both are 0.4 at 1; for large e
    only the difference from that is computed, for its roundings count less.
    """
    lift = 2.0 ** error.LIFT[x.dtype]
    a = error.bounded(x, _MISH_RANGE)
    whole, rest, power = error.lifted_excess(-a)
    t = whole + rest
    p = power * (1.0 / lift)
    e = fma(p, t, p)
    below, near = x.compare("<", 0.0), e.compare(">", 0.4375)

    def either(yes: float, no: float) -> Value:
        return select(below, x.number(yes), no)

    one = select(near, x.number(1.0), 0.0)
    factor = fma(e, select(near, x.number(0.6), 1.0), select(near, either(0.8, 0.2), either(1.0, 0.0)))
    divisor = fma(e, e + either(2.0, 1.0), either(2.0, 0.5))
    j = fma(one, 0.4, quotient((e - one) * factor, divisor))
    # The result is x 2**n (1 + t) (1 - j). For n = 0 that is about x / 2: what it is above that has few roundings.
    half = select(a.compare("<", 0.35), x.number(0.5), 0.0)
    t = select(below, t, 0.0)
    above = fma(-j, t, (half - j) + t)
    given = with_sign_of(a, x) * select(below, power, lift)
    return select(x.compare(">", a), x, fma(given, above, given * (1.0 - half)) * (1.0 / lift))


def _mish_backward(dy: Value, x: Value) -> Value:
    """Of ``x n / (n + 2)`` for ``n = e (e + 2)``, ``e = exp(x)``: ``4 x e (1 + e) / (n + 2)**2 + n / (n + 2)``."""
    lift = 2.0 ** error.LIFT[x.dtype]
    most, least = _MISH_SLOPE_RANGE[x.dtype], -_MISH_RANGE[x.dtype]
    given = bounded(x, least, most)
    lifted = error.lifted_exp(given, 1.0)
    e = lifted * (1.0 / lift)
    inverse = quotient(x.number(1.0), fma(e, e + 2.0, 2.0))
    slope = (lifted * inverse) * ((e + 1.0) * inverse) * 4.0
    return dy * (fma(given, slope, lifted * (e + 2.0) * inverse) * (1.0 / lift))


def _softplus(x: Value, beta: Value, threshold: Value) -> Value:
    z = x * beta
    return select(z.compare(">", threshold), x, softplus(z) / beta)


def _softplus_backward(dy: Value, x: Value, beta: Value, threshold: Value) -> Value:
    z = x * beta
    return select(z.compare(">", threshold), dy, dy * sigmoid(z))


def _softsign_backward(dy: Value, x: Value) -> Value:
    # The divisor's square might overflow.
    inverse = 1.0 / (absolute(x) + 1.0)
    return (dy * inverse) * inverse


def _tanhshrink(x: Value) -> Value:
    """``x**3`` times a polynomial of ``x**2`` up to 1.25, ``(|x| - 1) + 2 / (exp(2 |x|) + 1)`` above."""
    z, z_low = two_product(x, x)
    cube, cube_low = two_product(x, z)
    p = polynomial(z, _TANHSHRINK[x.dtype])
    near = fma(cube, p, fma(x, z_low, cube_low) * p)
    a = absolute(x)
    far = (a - 1.0) + tanh_rest(a)
    return select(a.compare("<", 1.25), near, with_sign_of(far, x))


def _tanhshrink_backward(dy: Value, x: Value) -> Value:
    y = tanh(x)
    return dy * (y * y)


def _glu(x: Value, gate: Value) -> Value:
    return x * sigmoid(gate)


def _glu_backward(dy: Value, gate: Value) -> Value:
    return dy * sigmoid(gate)


def _glu_gate_backward(dy: Value, x: Value, gate: Value) -> Value:
    y = sigmoid(gate)
    return dy * x * ((1.0 - y) * y)


ROWS: dict[str, Formula] = {
    "relu6": Formula(1, lambda x: clipped(x, 0.0, 6.0)),
    "relu6_backward": Formula(2, lambda dy, x: _hardtanh_backward(dy, x, 0.0, 6.0)),
    "hardtanh": Formula(1, clipped, 2),
    "hardtanh_backward": Formula(2, _hardtanh_backward, 2),
    "leaky_relu": Formula(1, _leaky_relu, 1),
    "leaky_relu_backward": Formula(2, _leaky_relu_backward, 1),
    "prelu": Formula(2, _leaky_relu),
    "prelu_backward": Formula(3, _leaky_relu_backward),
    "prelu_weight_backward": Formula(2, lambda dy, x: select(x.compare(">", 0.0), 0.0, x * dy)),
    "threshold": Formula(1, lambda x, least, value: select(x.compare("<=", least), value, x), 2),
    "threshold_backward": Formula(2, lambda dy, x, least, value: select(x.compare("<=", least), 0.0, dy), 2),
    "hardsigmoid": Formula(1, lambda x: clipped(x + 3.0, 0.0, 6.0) / 6.0),
    "hardsigmoid_backward": Formula(2, _hardsigmoid_backward),
    "hardswish": Formula(1, lambda x: x * (clipped(x + 3.0, 0.0, 6.0) / 6.0)),
    "hardswish_backward": Formula(2, _hardswish_backward),
    "hardshrink": Formula(1, lambda x, bound: select(_inside(x, bound), 0.0, x), 1),
    "hardshrink_backward": Formula(2, lambda dy, x, bound: select(_inside(x, bound), 0.0, dy), 1),
    "softshrink": Formula(1, _softshrink, 1),
    "softshrink_backward": Formula(2, lambda dy, x, bound: select(_inside(x, bound), 0.0, dy), 1),
    "elu": Formula(1, _elu, 1),
    "elu_backward": Formula(2, _elu_backward, 1),
    "selu": Formula(1, _selu),
    "selu_backward": Formula(2, lambda dy, x: _elu_backward(dy, x, SELU_ALPHA, SELU_SCALE)),
    "celu": Formula(1, _celu, 1),
    "celu_backward": Formula(2, _celu_backward, 1),
    "mish": Formula(1, _mish),
    "mish_backward": Formula(2, _mish_backward),
    "softplus": Formula(1, _softplus, 2),
    "softplus_backward": Formula(2, _softplus_backward, 2),
    "logsigmoid": Formula(1, log_sigmoid),
    "logsigmoid_backward": Formula(2, lambda dy, x: dy * sigmoid(-x)),
    "softsign": Formula(1, lambda x: x / (absolute(x) + 1.0)),
    "softsign_backward": Formula(2, _softsign_backward),
    "tanhshrink": Formula(1, _tanhshrink),
    "tanhshrink_backward": Formula(2, _tanhshrink_backward),
    "glu": Formula(2, _glu),
    "glu_backward": Formula(2, _glu_backward),
    "glu_gate_backward": Formula(3, _glu_gate_backward),
}
