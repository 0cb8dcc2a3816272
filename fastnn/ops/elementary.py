"""The elementary functions: exponentials, logarithms, powers, roots, angles."""

from __future__ import annotations

import math

import numpy as np

from fastnn.ops.pointwise import Gradient, pointwise, unary

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "cube",
    "exp",
    "exp2",
    "expm1",
    "hypot",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "power",
    "reciprocal",
    "rsqrt",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "square",
    "tan",
]

POSITIVE = {"x": (0.05, 4.0)}
INSIDE = {"x": (-0.95, 0.95)}
_LN2, _LN10 = math.log(2), math.log(10)


def _one(x: np.ndarray) -> np.ndarray:
    """One, in the dtype of x: a Python number beside a NumPy scalar may change the dtype."""
    return np.ones((), x.dtype)


# -- exponentials

exp = unary("exp", "``e**x``.", np.exp, lambda dy, y: dy * y, "y", row="multiply", floating=True)
exp2 = unary("exp2", "``2**x``.", np.exp2, lambda dy, y: dy * y * _LN2, "y", floating=True)
expm1 = unary("expm1", "``e**x - 1``, accurate near 0.", np.expm1, lambda dy, y: dy * (y + 1), "y", floating=True)
sinh = unary("sinh", "Hyperbolic sine.", np.sinh, lambda dy, x: dy * np.cosh(x), floating=True)
cosh = unary("cosh", "Hyperbolic cosine.", np.cosh, lambda dy, x: dy * np.sinh(x), floating=True)

# -- logarithms and inverse hyperbolic functions

log = unary("log", "Natural logarithm.", np.log, lambda dy, x: dy / x, row="divide", domain=POSITIVE, floating=True)
log2 = unary("log2", "Logarithm to base 2.", np.log2, lambda dy, x: dy / (x * _LN2), domain=POSITIVE, floating=True)
log10 = unary(
    "log10", "Logarithm to base 10.", np.log10, lambda dy, x: dy / (x * _LN10), domain=POSITIVE, floating=True
)
log1p = unary(
    "log1p",
    "``log(1 + x)``, accurate near 0.",
    np.log1p,
    lambda dy, x: dy / (x + 1),
    domain={"x": (-0.9, 3.0)},
    floating=True,
)
asinh = unary(
    "asinh", "Inverse of the hyperbolic sine.", np.arcsinh, lambda dy, x: dy / np.sqrt(x * x + 1), floating=True
)
acosh = unary(
    "acosh",
    "Inverse of the hyperbolic cosine; NaN below 1.",
    np.arccosh,
    lambda dy, x: dy / np.sqrt(x * x - 1),
    domain={"x": (1.1, 5.0)},
    floating=True,
)
atanh = unary(
    "atanh",
    "Inverse of the hyperbolic tangent; NaN outside [-1, 1].",
    np.arctanh,
    lambda dy, x: dy / ((1 - x) * (1 + x)),
    domain=INSIDE,
    floating=True,
)


def _logaddexp_gradient(dz: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.asarray(dz * np.exp(np.where(x == z, 0, x - z)))


def _logaddexp2_gradient(dz: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.asarray(dz * np.exp2(np.where(x == z, 0, x - z)))


def _logaddexp(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``log(exp(x) + exp(y))`` without overflow."""
    return np.asarray(np.logaddexp(x, y))


def _logaddexp2(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``log2(2**x + 2**y)`` without overflow."""
    return np.asarray(np.logaddexp2(x, y))


logaddexp = pointwise(
    "logaddexp",
    _logaddexp,
    {n: Gradient(_logaddexp_gradient, (n, "z"), "logaddexp_backward") for n in "xy"},
    floating=True,
)
logaddexp2 = pointwise(
    "logaddexp2",
    _logaddexp2,
    {n: Gradient(_logaddexp2_gradient, (n, "z"), "logaddexp2_backward") for n in "xy"},
    floating=True,
)

# -- powers and roots

sqrt = unary(
    "sqrt", "Square root; NaN below 0.", np.sqrt, lambda dy, y: dy / (y + y), "y", domain=POSITIVE, floating=True
)
rsqrt = unary(
    "rsqrt",
    "``1 / sqrt(x)``.",
    lambda x: _one(x) / np.sqrt(x),
    lambda dy, y: dy * (y * y * y / -2),
    "y",
    domain=POSITIVE,
    floating=True,
)
square = unary("square", "``x * x``.", np.square, lambda dy, x: dy * (x + x))
cube = unary("cube", "``x * x * x``.", lambda x: x * x * x, lambda dy, x: dy * (3 * (x * x)))
reciprocal = unary(
    "reciprocal",
    "``1 / x``.",
    lambda x: _one(x) / x,
    lambda dy, y: -dy * (y * y),
    "y",
    domain=POSITIVE,
    floating=True,
)


def _power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``x**y``, as IEEE 754 says: 1 to any power and anything to the power of 0 is 1."""
    return np.asarray(np.power(x, y))


def _power_gradient_x(dz: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(y == 0, 0, dz * (y * np.power(x, y - 1)))


def _power_gradient_y(dz: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.where((x == 0) & (y >= 0), 0, dz * (z * np.log(x)))


power = pointwise(
    "power",
    _power,
    {
        "x": Gradient(_power_gradient_x, ("x", "y"), "power_backward_x"),
        "y": Gradient(_power_gradient_y, ("x", "y", "z"), "power_backward_y"),
    },
    domain=POSITIVE,
)


def _hypot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``sqrt(x**2 + y**2)`` without overflow."""
    return np.asarray(np.hypot(x, y))


hypot = pointwise(
    "hypot",
    _hypot,
    {n: Gradient(lambda dz, x, z: dz * (x / z), (n, "z"), "hypot_backward") for n in "xy"},
    floating=True,
)

# -- angles

sin = unary("sin", "Sine.", np.sin, lambda dy, x: dy * np.cos(x), floating=True)
cos = unary("cos", "Cosine.", np.cos, lambda dy, x: -dy * np.sin(x), floating=True)
tan = unary("tan", "Tangent.", np.tan, lambda dy, y: dy * (y * y + 1), "y", domain={"x": (-1.3, 1.3)}, floating=True)
asin = unary(
    "asin",
    "Inverse of the sine; NaN outside [-1, 1].",
    np.arcsin,
    lambda dy, x: dy / np.sqrt((1 - x) * (1 + x)),
    domain=INSIDE,
    floating=True,
)
acos = unary(
    "acos",
    "Inverse of the cosine; NaN outside [-1, 1].",
    np.arccos,
    lambda dy, x: -dy / np.sqrt((1 - x) * (1 + x)),
    domain=INSIDE,
    floating=True,
)
atan = unary("atan", "Inverse of the tangent.", np.arctan, lambda dy, x: dy / (x * x + 1), floating=True)


def _atan2(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The angle of the point whose ordinate is x and whose abscissa is y."""
    return np.asarray(np.arctan2(x, y))


atan2 = pointwise(
    "atan2",
    _atan2,
    {
        "x": Gradient(lambda dz, x, y: dz * (y / (x * x + y * y)), ("x", "y"), "atan2_backward_x"),
        "y": Gradient(lambda dz, x, y: dz * (-x / (x * x + y * y)), ("x", "y"), "atan2_backward_y"),
    },
    floating=True,
)


def _sinc_gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    slope = (np.cos(np.pi * x) - np.sinc(x)) / np.where(x == 0, _one(x), x)
    return np.asarray(dy * np.where(x == 0, 0, slope))


sinc = unary("sinc", "``sin(pi x) / (pi x)``, 1 at 0.", np.sinc, _sinc_gradient, floating=True)
