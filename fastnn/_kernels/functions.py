"""gelu, silu and the activations' derivatives, over traced values (`vector.Value`).

Each serves float32 and float64, a scalar or a vector, without branches. `fastnn.testing.accuracy` states how far
results and derivatives are from the truth, docs/accuracy.md what was found: results of float32 are within 2 units in
the last place for every argument. What would cost more than that is computed in two parts: the exponent (its square,
its cube), the excess of exp over 1, the divisor.
NaN gives NaN; ±inf, overflow and underflow give IEEE's limits. Functions of mathematics, of which these are made, stand
in `fastnn._kernels.mathematics`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from fastnn._kernels.mathematics.error import LIFT, bounded, lifted_excess, lifted_exp, lifted_power, tail
from fastnn._kernels.mathematics.exponential import EXP, LOG2_E
from fastnn._kernels.mathematics.exponential import exp as exp
from fastnn._kernels.mathematics.logarithm import log as log
from fastnn._kernels.vector import Value, fma, polynomial, quotient, select, with_sign_of

# Beyond these magnitudes, results that fall to zero are zero whatever the rounding: gelu (both forms), silu.
_GELU_RANGE = {"float32": 14.6, "float64": 38.7}
_GELU_TANH_RANGE = {"float32": 11.0, "float64": 21.7}
_SILU_RANGE = {"float32": 109.0, "float64": 753.0}


class _Mills(NamedTuple):
    """What the normal distribution beyond a is over ``exp(-a**2 / 2)``, for a up to 14.6 (38.7).

    Times ``factor * (a + centre)`` it is `middle` and a polynomial of ``v = (centre - a) / (centre + a)``, fitted by
    weighted least squares at Chebyshev nodes, in 60 digits, one coefficient after the other (as in `exponential`).
    What ``w = a / (a + centre)`` lacks makes `slope`, a polynomial of v, times ``a - w (a + centre)`` of the result.
    """

    centre: float
    factor: float
    middle: float
    slope: tuple[float, ...]
    coefficients: tuple[float, ...]


_MILLS = {
    "float32": _Mills(
        2.0,
        2.0,
        1.25,
        (0.1739, 0.476, 0.3543),
        (
            9.481599927e-02,
            6.628089547e-01,
            5.759504437e-02,
            -7.343886793e-02,
            -9.419668932e-04,
            1.346972492e-02,
            -3.894724650e-03,
            -1.650511869e-03,
            1.660351525e-03,
            -2.593019744e-04,
            -2.911878109e-04,
            1.264912135e-04,
        ),
    ),
    "float64": _Mills(
        4.0,
        1.0,
        1.0,
        (0.01755, 0.06956, 0.1405, 0.1711, 0.0883),
        (
            -0.2447148695842485,
            0.6078966419718921,
            0.38713740074221864,
            0.18652185795966308,
            0.060396574890688705,
            0.0075401889664888115,
            -0.003479692361890481,
            -0.0016308184538678736,
            0.00013334425056741835,
            0.00023109490731755534,
            -1.9078532199856713e-06,
            -3.5144582972999235e-05,
            7.150030828719829e-07,
            5.9200417921759584e-06,
            -6.252832754627917e-07,
            -1.021900392451597e-06,
            2.642260871218645e-07,
            1.566277640858389e-07,
            -7.72681612942728e-08,
            -1.608412911358128e-08,
            1.4644372577317614e-08,
            3.4108819740131864e-10,
            -1.2008651932045762e-09,
        ),
    ),
}
# gelu's tanh form is x times the sigmoid of ``2 sqrt(2 / pi) * 0.044715 * x * (x**2 + 1 / 0.044715)``.
_CUBIC = 2.0 * math.sqrt(2.0 / math.pi) * 0.044715
# What the factor, rounded to the format, lacks of it; 1 / 0.044715 in two parts; ln 2 over the factor in two parts, the
# first with zeros enough at its end that its product with an exponent is exact.
_CUBIC_LACKS = {"float32": 3.3618368064652994e-08, "float64": -8.654145915762844e-18}
_PER_CUBIC = {
    "float32": (22.363861083984375, -1.081747996067861e-06),
    "float64": (22.36386000223638, 7.068084733670861e-15),
}
_LN2_PER_CUBIC = {
    "float32": (9.7138671875, 0.0002238405286334455),
    "float64": (9.714091028024995, -1.2993710870057628e-12),
}


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


def _positive_part(x: Value) -> Value:
    """``max(x, 0)``, with x's sign where it is zero."""
    zero = with_sign_of(x.number(0.0), x)
    return select(x.compare(">", zero), x, zero)


def _gated_backward(dy: Value, x: Value, lifted: Value) -> Value:
    """`dy` times the derivative, which at ``-|x|`` is ``2**-LIFT * lifted``; at ``|x|`` it is 1 less that."""
    below = lifted * 2.0 ** -LIFT[x.dtype]
    return dy * select(x.compare(">", 0.0), 1.0 - below, below)


def gelu(x: Value) -> Value:
    """``x * P(X <= x)``, X normal with mean 0 and variance 1."""
    a = bounded(x, _GELU_RANGE)
    centre, factor, middle, slope, coefficients = _MILLS[x.dtype]
    w = quotient(a, a + centre)
    v = fma(w, -2.0, 1.0)
    lost = fma(-w, a, fma(-w, centre, a)) * polynomial(v, slope)
    h = polynomial(v, coefficients)
    whole, rest, e = lifted_excess(a * -0.5, a)
    # w (middle + h) (1 + whole + rest), the largest term last
    above = fma(whole, middle, fma(rest, middle, fma(whole + rest, h, h)))
    missing = fma(w, middle, fma(w, above, lost)) * e
    return fma(missing, -(2.0 ** -LIFT[x.dtype]) / factor, _positive_part(x))


def gelu_backward(dy: Value, x: Value) -> Value:
    """From the gradient of gelu's result and its argument."""
    a = bounded(x, _GELU_RANGE)
    density = 1.0 / math.sqrt(2.0 * math.pi)
    ratio = fma(a, -density, quotient(*tail(a)))
    return _gated_backward(dy, x, ratio * lifted_exp(a * -0.5, a))


_GELU_TANH = (2.0 * math.sqrt(2.0 / math.pi), _CUBIC)


def gelu_tanh(x: Value) -> Value:
    """``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``, which is x times a sigmoid."""
    a = bounded(x, _GELU_TANH_RANGE)
    # The exponent over its factor is a (s + s_low); multiples of ln 2 over the factor are taken off it.
    constant, constant_low = _PER_CUBIC[x.dtype]
    s = fma(a, a, constant)
    s_low = fma(a, a, constant - s) + constant_low
    product = a * s
    n, e = lifted_power(product, -_CUBIC * LOG2_E)
    ln2, low = _LN2_PER_CUBIC[x.dtype]
    whole = fma(n, ln2, product)
    small = fma(n, low, fma(a, s_low, fma(a, s, -product)))
    r = (whole + small) * -_CUBIC
    # exp(r) is 1 + r + r**2 P(r); r times what the factor lacks goes with the square.
    rest = fma(fma(polynomial(r, EXP[x.dtype]), r, _CUBIC_LACKS[x.dtype]), r, small * -_CUBIC)
    return _times_sigmoid(x, a, whole, -_CUBIC, rest, e)


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
    whole, rest, e = lifted_excess(-a)
    return _times_sigmoid(x, a, whole, 1.0, rest, e)


def _times_sigmoid(x: Value, a: Value, whole: Value, factor: float, rest: Value, e: Value) -> Value:
    """X times a sigmoid that at ``-|x|`` is ``E / (1 + E)`` with ``E = 2**-LIFT * e * (1 + whole * factor + rest)``.

    `a` is ``|x|``, or less where the result is 0 or x. What rounding took from the divisor is taken off the numerator;
    0.92 (1 + t) stands for ``(1 + t) / (1 + E)``.
    """
    lift = 2.0 ** LIFT[x.dtype]
    one = e + lift
    t = fma(whole, factor, rest)
    divisor = fma(e, t, one)
    lost = fma(-e, t, divisor - one)
    t = fma(whole, factor, fma(lost, fma(t, 0.92 / lift, 0.92 / lift), rest))
    return _positive_part(x) - quotient(fma(a, t, a) * e, divisor)


def silu_backward(dy: Value, x: Value) -> Value:
    """From the gradient of silu's result and its argument."""
    a = bounded(x, _SILU_RANGE)
    return _gated_backward(dy, x, _sigmoid_slope(lifted_exp(-a, 1.0), a))


def _sigmoid_slope(e: Value, slope: Value) -> Value:
    """The lifted derivative at ``-|x|`` of ``x e / (1 + e)`` from the lifted e and ``|x|`` times log e's."""
    divisor = fma(e, 2.0 ** -LIFT[e.dtype], 1.0)
    return quotient(e * (divisor - slope), divisor * divisor)
