"""Rows of the elementwise table for activations: each function beside its derivative, over traced values.

A derivative takes the gradient of the result, then what was saved (the argument, or the result where that says all),
then the function's own hyper-parameters. At a kink it is what torch takes. NaN gives NaN. Largest errors found, in
units in the last place, over samples of all exponents and signs:

    softplus, logsigmoid 1.6    elu 1.1    selu 3.3    mish 4.2    tanhshrink 10.3    softsign 1.5

tanhshrink errs most where it starts to be a difference, at 0.625; what is not named errs what its roundings do.
"""

from __future__ import annotations

from fastnn._kernels.constants import SELU_ALPHA, SELU_SCALE
from fastnn._kernels.formula import Formula
from fastnn._kernels.mathematics.exponential import EXP_RANGE, TANH, exp, expm1, sigmoid, tanh
from fastnn._kernels.mathematics.logarithm import softplus
from fastnn._kernels.vector import Value, absolute, fma, polynomial, quotient, select

# Beyond these magnitudes mish is x (above) or x exp(x) (below), and exp's powers still fit the format.
_MISH_RANGE = {"float32": 20.0, "float64": 38.0}


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


def _elu(x: Value, alpha: Value | float, scale: float = 1.0) -> Value:
    below = expm1(x) * alpha
    return select(x.compare(">", 0.0), x, below) * scale if scale != 1.0 else select(x.compare(">", 0.0), x, below)


def _elu_backward(dy: Value, x: Value, alpha: Value | float, scale: float = 1.0) -> Value:
    slope = exp(select(x.compare(">", 0.0), 0.0, x)) * alpha
    above = dy * scale if scale != 1.0 else dy
    return select(x.compare(">", 0.0), above, above * slope)


def _celu(x: Value, alpha: Value) -> Value:
    return select(x.compare(">", 0.0), x, expm1(x / alpha) * alpha)


def _celu_backward(dy: Value, x: Value, alpha: Value) -> Value:
    return select(x.compare(">", 0.0), dy, dy * exp(x / alpha))


def _mish_parts(x: Value) -> tuple[Value, Value]:
    """``e = exp(x)`` within the format's range, and ``e (e + 2)``; ``tanh(softplus(x))`` is ``n / (n + 2)``."""
    most = _MISH_RANGE[x.dtype]
    e = exp(select(x.compare(">", most), most, x))
    return e, e * (e + 2.0)


def _mish(x: Value) -> Value:
    _, n = _mish_parts(x)
    shut = x.compare("<", EXP_RANGE[x.dtype][0])
    return select(shut, x.number(-0.0), x) * quotient(n, n + 2.0)


def _mish_backward(dy: Value, x: Value) -> Value:
    e, n = _mish_parts(x)
    inverse = quotient(x.number(1.0), n + 2.0)
    most, (least, _) = _MISH_RANGE[x.dtype], EXP_RANGE[x.dtype]
    bounded = select(x.compare(">", most), most, select(x.compare("<", least), least, x))
    # the slope of tanh(softplus(x)): 4 e (1 + e) / (n + 2)**2
    slope = (e * inverse) * ((e + 1.0) * inverse) * 4.0
    return dy * fma(bounded, slope, n * inverse)


def _softplus(x: Value, beta: Value, threshold: Value) -> Value:
    z = x * beta
    return select(z.compare(">", threshold), x, softplus(z) / beta)


def _softplus_backward(dy: Value, x: Value, beta: Value, threshold: Value) -> Value:
    z = x * beta
    return select(z.compare(">", threshold), dy, dy * sigmoid(z))


def _softsign_backward(dy: Value, x: Value) -> Value:
    divisor = absolute(x) + 1.0
    return dy / (divisor * divisor)


def _tanhshrink(x: Value) -> Value:
    z = x * x
    return select(absolute(x).compare("<", 0.625), -(x * z * polynomial(z, TANH[x.dtype])), x - tanh(x))


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
    "hardsigmoid": Formula(1, lambda x: clipped(x + 3.0, 0.0, 6.0) * (1.0 / 6.0)),
    "hardsigmoid_backward": Formula(2, _hardsigmoid_backward),
    "hardswish": Formula(1, lambda x: x * clipped(x + 3.0, 0.0, 6.0) * (1.0 / 6.0)),
    "hardswish_backward": Formula(2, _hardswish_backward),
    "hardshrink": Formula(1, lambda x, bound: select(_inside(x, bound), 0.0, x), 1),
    "hardshrink_backward": Formula(2, lambda dy, x, bound: select(_inside(x, bound), 0.0, dy), 1),
    "softshrink": Formula(1, _softshrink, 1),
    "softshrink_backward": Formula(2, lambda dy, x, bound: select(_inside(x, bound), 0.0, dy), 1),
    "elu": Formula(1, _elu, 1),
    "elu_backward": Formula(2, _elu_backward, 1),
    "selu": Formula(1, lambda x: _elu(x, SELU_ALPHA, SELU_SCALE)),
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
