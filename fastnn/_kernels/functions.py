"""gelu, silu and the activations' derivatives, over traced values (`vector.Value`).

Each serves float32 and float64, a scalar or a vector, without branches. Largest error found, in units in the last
place of the correctly rounded result (subnormal results included), over samples of all exponents and signs:

    gelu 8.5    silu 3.3

gelu errs 4.3 from -1 on (further below, one unit of x makes x**2 units of the result). Its tanh form errs 2 above zero
and below it as many times 1 + w, w the magnitude of the exponent. Derivatives of gelu, silu err 2.5 epsilon times
the terms that they add up; that of the tanh form 1 + w times as much.
NaN gives NaN; ±inf, overflow and underflow give IEEE's limits. Functions of mathematics, of which these are made, stand
in `fastnn._kernels.mathematics`.
"""

from __future__ import annotations

import math

from fastnn._kernels.mathematics.error import LIFT, bounded, lifted_exp, tail
from fastnn._kernels.mathematics.exponential import exp as exp
from fastnn._kernels.mathematics.logarithm import log as log
from fastnn._kernels.vector import Value, fma, polynomial, quotient, select, with_sign_of

# Beyond these magnitudes, results that fall to zero are zero whatever the rounding: gelu (both forms), silu.
_GELU_RANGE = {"float32": 14.6, "float64": 38.7}
_GELU_TANH_RANGE = {"float32": 11.0, "float64": 21.7}
_SILU_RANGE = {"float32": 109.0, "float64": 753.0}


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


# -- x times a function that rises from 0 to 1, odd about 1/2: above zero what is missing from x is computed


def _gated(x: Value, missing: Value) -> Value:
    """``max(x, 0)`` less ``2**-LIFT * missing``, with x's sign where it is zero."""
    zero = with_sign_of(x.number(0.0), x)
    return fma(missing, -(2.0 ** -LIFT[x.dtype]), select(x.compare(">", zero), x, zero))


def _gated_backward(dy: Value, x: Value, lifted: Value) -> Value:
    """`dy` times the derivative, which at ``-|x|`` is ``2**-LIFT * lifted``; at ``|x|`` it is 1 less that."""
    below = lifted * 2.0 ** -LIFT[x.dtype]
    return dy * select(x.compare(">", 0.0), 1.0 - below, below)


def gelu(x: Value) -> Value:
    """``x * P(X <= x)``, X normal with mean 0 and variance 1."""
    a = bounded(x, _GELU_RANGE)
    e = lifted_exp(a * -0.5, a) * a
    above, below = tail(a)
    return _gated(x, quotient(e * above, below))


def gelu_backward(dy: Value, x: Value) -> Value:
    """From the gradient of gelu's result and its argument."""
    a = bounded(x, _GELU_RANGE)
    density = 1.0 / math.sqrt(2.0 * math.pi)
    ratio = fma(a, -density, quotient(*tail(a)))
    return _gated_backward(dy, x, ratio * lifted_exp(a * -0.5, a))


_GELU_TANH = (2.0 * math.sqrt(2.0 / math.pi), 2.0 * math.sqrt(2.0 / math.pi) * 0.044715)


def gelu_tanh(x: Value) -> Value:
    """``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``, which is x times a sigmoid."""
    a = bounded(x, _GELU_TANH_RANGE)
    e = lifted_exp(-a, polynomial(a * a, _GELU_TANH))
    return _gated(x, quotient(e * a, fma(e, 2.0 ** -LIFT[x.dtype], 1.0)))


def gelu_tanh_backward(dy: Value, x: Value) -> Value:
    """From the gradient of the tanh form's result and its argument."""
    a = bounded(x, _GELU_TANH_RANGE)
    z = a * a
    first, third = _GELU_TANH
    e = lifted_exp(-a, polynomial(z, _GELU_TANH))
    return _gated_backward(dy, x, _sigmoid_slope(e, a * polynomial(z, (first, 3.0 * third))))


def silu(x: Value) -> Value:
    """``x * sigmoid(x)``."""
    a = bounded(x, _SILU_RANGE)
    e = lifted_exp(-a, 1.0)
    return _gated(x, quotient(e * a, fma(e, 2.0 ** -LIFT[x.dtype], 1.0)))


def silu_backward(dy: Value, x: Value) -> Value:
    """From the gradient of silu's result and its argument."""
    a = bounded(x, _SILU_RANGE)
    return _gated_backward(dy, x, _sigmoid_slope(lifted_exp(-a, 1.0), a))


def _sigmoid_slope(e: Value, slope: Value) -> Value:
    """The lifted derivative at ``-|x|`` of ``x e / (1 + e)`` from the lifted e and ``|x|`` times log e's."""
    divisor = fma(e, 2.0 ** -LIFT[e.dtype], 1.0)
    return quotient(e * (divisor - slope), divisor * divisor)
