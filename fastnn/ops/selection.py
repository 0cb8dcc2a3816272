"""Functions that take one of their operands, or a part of it: extremes, bounds, signs, integer parts, remainders."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.ops.pointwise import NOTHING, PASSED, Gradient, pointwise, unary

__all__ = [
    "abs",
    "angle",
    "ceil",
    "clip",
    "clip_between",
    "copysign",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "frac",
    "heaviside",
    "maximum",
    "minimum",
    "nan_to_num",
    "nextafter",
    "remainder",
    "round",
    "sign",
    "trunc",
    "where",
]

# -- signs and integer parts; integers are their own


def _sign(x: np.ndarray) -> Any:
    return x if x.dtype.kind == "b" else np.sign(x)


def _whole(function: np.ufunc) -> Any:
    return lambda x: x.copy() if x.dtype.kind in "biu" else function(x)


abs = unary("abs", "Magnitude.", np.abs, lambda dy, x: dy * np.sign(x))
sign = unary("sign", "-1, 0 or 1; NaN stays.", _sign, np.zeros_like)
floor = unary("floor", "The largest integer not above x.", _whole(np.floor), np.zeros_like)
ceil = unary("ceil", "The smallest integer not below x.", _whole(np.ceil), np.zeros_like)
trunc = unary("trunc", "The integer part.", _whole(np.trunc), np.zeros_like)
round = unary("round", "The nearest integer, the even one of two.", _whole(np.rint), np.zeros_like)
angle = unary(
    "angle",
    "The angle of a number from the positive axis: 0, or pi below zero.",
    lambda x: np.where(np.isnan(x), x, np.where(x < 0, x.dtype.type(np.pi), x.dtype.type(0))),
    np.zeros_like,
    floating=True,
)
frac = pointwise(
    "frac",
    lambda x: np.copysign(x - np.trunc(x), x),
    {"x": PASSED},
    operands=("x",),
    doc="x less its integer part.",
)


def _copysign(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The magnitude of x with the sign of y."""
    return np.asarray(np.copysign(x, y))


copysign = pointwise(
    "copysign",
    _copysign,
    {
        "x": Gradient(
            lambda dz, x, z: dz * np.where(x == 0, 0, z / np.where(x == 0, 1, x)), ("x", "z"), "copysign_backward"
        ),
        "y": NOTHING,
    },
    floating=True,
)


def _heaviside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """0 below zero, 1 above, y at zero."""
    return np.asarray(np.heaviside(x, y)).astype(x.dtype, copy=False)


def _nextafter(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The neighbour of x among the floats, in the direction of y."""
    return np.asarray(np.nextafter(x, y))


heaviside = pointwise("heaviside", _heaviside)
nextafter = pointwise("nextafter", _nextafter, floating=True)

# -- division with remainder


def _fmod(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``x - trunc(x / y) * y``, exact, with the sign of x."""
    return np.asarray(np.fmod(x, y))


def _remainder(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``x - floor(x / y) * y``, exact but for one rounding, with the sign of y, as Python's ``%``."""
    return np.asarray(np.remainder(x, y))


def _floor_divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``floor(x / y)``, as Python's ``//``."""
    return np.asarray(np.floor_divide(x, y))


POSITIVE = {"y": (0.3, 2.0)}

fmod = pointwise(
    "fmod",
    _fmod,
    {"x": PASSED, "y": Gradient(lambda dz, x, y: -dz * np.trunc(x / y), ("x", "y"), "fmod_backward")},
    domain=POSITIVE,
)
remainder = pointwise(
    "remainder",
    _remainder,
    {"x": PASSED, "y": Gradient(lambda dz, x, y: -dz * np.floor_divide(x, y), ("x", "y"), "remainder_backward")},
    domain=POSITIVE,
)
floor_divide = pointwise("floor_divide", _floor_divide, {"x": NOTHING, "y": NOTHING}, domain=POSITIVE)

# -- the larger and the smaller


def _chosen(larger: bool) -> Any:
    def gradient(dz: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        wins, loses = (x > y, x < y) if larger else (x < y, x > y)
        return np.where(loses, 0, np.where(wins, dz, dz / 2))

    return gradient


def _extreme(name: str, function: np.ufunc, doc: str, row: str) -> Any:
    gradient = _chosen(name == "maximum")
    return pointwise(
        name,
        lambda x, y: function(x, y),
        {"x": Gradient(gradient, ("x", "y"), row), "y": Gradient(gradient, ("y", "x"), row)},
        doc=doc,
    )


def _finite_extreme(name: str, function: np.ufunc, doc: str) -> Any:
    def first(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(((x >= y) if name == "fmax" else (x <= y)) | np.isnan(y))

    return pointwise(
        name,
        lambda x, y: function(x, y),
        {
            "x": Gradient(lambda dz, x, y: np.where(first(x, y), dz, 0), ("x", "y"), f"{name}_backward_x"),
            "y": Gradient(lambda dz, x, y: np.where(first(x, y), 0, dz), ("x", "y"), f"{name}_backward_y"),
        },
        doc=doc,
    )


maximum = _extreme("maximum", np.maximum, "The larger; NaN if either is.", "larger_backward")
minimum = _extreme("minimum", np.minimum, "The smaller; NaN if either is.", "smaller_backward")
fmax = _finite_extreme("fmax", np.fmax, "The larger; where one is NaN, the other.")
fmin = _finite_extreme("fmin", np.fmin, "The smaller; where one is NaN, the other.")

# -- bounds


def _clip(x: np.ndarray, *, low: float = -math.inf, high: float = math.inf) -> np.ndarray:
    """The elements within bounds; the upper one if they cross."""
    return np.asarray(np.minimum(np.maximum(x, x.dtype.type(low)), x.dtype.type(high)))


def _clip_gradient(dy: np.ndarray, x: np.ndarray, low: Any, high: Any) -> np.ndarray:
    return np.where((x >= low) & (x <= high), dy, 0)


clip = pointwise(
    "clip",
    _clip,
    {"x": Gradient(_clip_gradient, ("x",), "clip_backward")},
    operands=("x",),
    cells={"low": -math.inf, "high": math.inf},
    cases=[{"*": s, "low": -0.5, "high": 1.25} for s in ((), (1,), (7, 33), (2, 3, 4), (0, 3))],
    bench=[{"*": s, "low": -0.5, "high": 1.25} for s in ((10,), (128, 128), (1000, 1000))],
)


def _clip_between(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The elements within bounds that are arrays; the upper one if they cross."""
    return np.asarray(np.minimum(np.maximum(x, low), high))


clip_between = pointwise(
    "clip_between",
    _clip_between,
    {
        "x": Gradient(_clip_gradient, ("x", "low", "high"), "clip_between_backward"),
        "low": Gradient(
            lambda dw, x, low, high: np.where((x < low) & (low < high), dw, 0),
            ("x", "low", "high"),
            "clip_between_backward_low",
        ),
        "high": Gradient(
            lambda dw, x, low, high: np.where((x > high) | (high < low), dw, 0),
            ("x", "low", "high"),
            "clip_between_backward_high",
        ),
    },
    operands=("x", "low", "high"),
)


def _nan_to_num(x: np.ndarray, *, nan: float = 0.0, posinf: float = math.inf, neginf: float = -math.inf) -> np.ndarray:
    """The elements, with numbers in place of NaN, inf and -inf."""
    return np.asarray(np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf))


nan_to_num = pointwise(
    "nan_to_num",
    _nan_to_num,
    {"x": Gradient(lambda dy, x, **_: np.where(np.isfinite(x), dy, 0), ("x",), "nan_to_num_backward")},
    operands=("x",),
    cells={"nan": 0.0, "posinf": math.inf, "neginf": -math.inf},
)


def _where(condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """From x where the condition holds, else from y."""
    return np.where(condition, x, y)


where = pointwise(
    "where",
    _where,
    {
        "x": Gradient(lambda dw, c: np.where(c, dw, 0), ("condition",), "where_backward_x"),
        "y": Gradient(lambda dw, c: np.where(c, 0, dw), ("condition",), "where_backward_y"),
    },
    operands=("condition", "x", "y"),
    mask=("condition",),
)
