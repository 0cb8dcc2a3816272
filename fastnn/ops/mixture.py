"""Sums of products of elements, logarithms times elements, and functions of probabilities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.ops.activation import _each_erf, _each_erfc
from fastnn.ops.pointwise import PASSED, Gradient, pointwise, unary

__all__ = ["addcdiv", "addcmul", "entropy", "erfc", "erfinv", "lerp", "logit", "xlog1py", "xlogy"]


def _lerp(start: np.ndarray, end: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """``start + weight * (end - start)``; both ends are reached."""
    span = end - start
    return np.where(np.abs(weight) < 0.5, start + weight * span, end - span * (1 - weight))


lerp = pointwise(
    "lerp",
    _lerp,
    {
        "start": Gradient(lambda dw, weight: dw * (1 - weight), ("weight",), "lerp_backward_start"),
        "end": Gradient(lambda dw, weight: dw * weight, ("weight",), "multiply"),
        "weight": Gradient(lambda dw, start, end: dw * (end - start), ("start", "end"), "lerp_backward_weight"),
    },
    operands=("start", "end", "weight"),
)


def _addcmul(x: np.ndarray, y: np.ndarray, z: np.ndarray, *, value: float = 1.0) -> np.ndarray:
    """``x + value * y * z``."""
    return np.asarray(x + y * z * x.dtype.type(value))


def _addcdiv(x: np.ndarray, y: np.ndarray, z: np.ndarray, *, value: float = 1.0) -> np.ndarray:
    """``x + value * y / z``."""
    return np.asarray(x + y / z * x.dtype.type(value))


def _with_value(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*cases, {**cases[1], "value": 0.75}]


_CASES = _with_value(
    [
        {"x": (1,), "y": (1,), "z": (1,)},
        {"x": (7, 33), "y": (7, 33), "z": (7, 33)},
        {"x": (5, 1), "y": (4,), "z": ()},
        {"x": (0, 4), "y": (4,), "z": (1, 1)},
    ]
)

addcmul = pointwise(
    "addcmul",
    _addcmul,
    {
        "x": PASSED,
        "y": Gradient(lambda dw, z, value: dw * (z * value), ("z",), "addcmul_backward"),
        "z": Gradient(lambda dw, y, value: dw * (y * value), ("y",), "addcmul_backward"),
    },
    operands=("x", "y", "z"),
    cells={"value": 1.0},
    cases=_CASES,
)
addcdiv = pointwise(
    "addcdiv",
    _addcdiv,
    {
        "x": PASSED,
        "y": Gradient(lambda dw, z, value: dw * (value / z), ("z",), "addcdiv_backward_y"),
        "z": Gradient(lambda dw, y, z, value: -dw * (value * (y / (z * z))), ("y", "z"), "addcdiv_backward_z"),
    },
    operands=("x", "y", "z"),
    cells={"value": 1.0},
    cases=_CASES,
    domain={"z": (0.5, 2.0)},
    floating=True,
)


def _times(x: np.ndarray, logarithm: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where((x == 0) & ~np.isnan(y), 0, x * logarithm).astype(np.result_type(x), copy=False)


def _xlogy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``x * log(y)``, 0 where x is 0 and y is not NaN."""
    return _times(x, np.log(y), y)


def _xlog1py(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``x * log(1 + y)``, 0 where x is 0 and y is not NaN."""
    return _times(x, np.log1p(y), y)


xlogy = pointwise(
    "xlogy",
    _xlogy,
    {
        "x": Gradient(
            lambda dz, x, y: np.where((x == 0) & (y <= 0), 0, dz * np.log(y)), ("x", "y"), "xlogy_backward_x"
        ),
        "y": Gradient(lambda dz, x, y: dz * (x / y), ("x", "y"), "xlogy_backward_y"),
    },
    domain={"y": (0.1, 3.0)},
    floating=True,
)
xlog1py = pointwise(
    "xlog1py",
    _xlog1py,
    {
        "x": Gradient(
            lambda dz, x, y: np.where((x == 0) & (y <= -1), 0, dz * np.log1p(y)), ("x", "y"), "xlog1py_backward_x"
        ),
        "y": Gradient(lambda dz, x, y: dz * (x / (y + 1)), ("x", "y"), "xlog1py_backward_y"),
    },
    domain={"y": (-0.8, 3.0)},
    floating=True,
)


def _entropy(x: np.ndarray) -> np.ndarray:
    found = -x * np.log(x)
    return np.where(x == 0, x.dtype.type(0), np.where(x < 0, x.dtype.type(-np.inf), found))


entropy = unary(
    "entropy",
    "``-x * log(x)``, 0 at 0, -inf below.",
    _entropy,
    lambda dy, x: dy * (-np.log(x) - 1),
    domain={"x": (0.05, 3.0)},
    floating=True,
)


def _logit(x: np.ndarray) -> np.ndarray:
    """The logarithm of the odds."""
    return np.asarray(np.log(x) - np.log1p(-x))


def _logit_gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.where((x >= 0) & (x <= 1), dy / (x * (1 - x)), np.nan)


logit = unary(
    "logit",
    "``log(x / (1 - x))``; NaN outside [0, 1].",
    _logit,
    _logit_gradient,
    domain={"x": (0.05, 0.95)},
    floating=True,
)


def _erfinv(x: np.ndarray) -> np.ndarray:
    """The inverse of erf, by Newton's method from Winitzki's approximation."""
    wide = np.asarray(x, np.float64)
    a = np.abs(wide)
    with np.errstate(all="ignore"):
        logarithm = np.log((1 - a) * (1 + a))
        part = 2 / (np.pi * 0.147) + logarithm / 2
        y = np.sqrt(np.sqrt(part * part - logarithm / 0.147) - part)
        for _ in range(4):
            # Above 1/2 the complement, which does not cancel.
            beyond = np.where(a > 0.5, (1 - a) - _each_erfc(y), _each_erf(y) - a)
            step = beyond * (math.sqrt(math.pi) / 2) * np.exp(y * y)
            y = y - step / (1 + y * step)
    y = np.where(a == 0, 0.0, np.where(a == 1, np.inf, np.where(a < 1, y, np.nan)))
    return np.asarray(np.copysign(y, wide), x.dtype if x.dtype.kind == "f" else np.float64)


erfc = unary(
    "erfc",
    "1 less the error function, without cancellation.",
    _each_erfc,
    lambda dy, x: dy * (-2 / math.sqrt(math.pi)) * np.exp(-x * x),
    floating=True,
)
erfinv = unary(
    "erfinv",
    "The inverse of the error function; NaN outside [-1, 1].",
    _erfinv,
    lambda dy, y: dy * (np.exp(y * y) * (math.sqrt(math.pi) / 2)),
    "y",
    domain={"x": (-0.95, 0.95)},
    floating=True,
)
