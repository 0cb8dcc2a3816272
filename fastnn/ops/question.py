"""Functions of elements that give bools."""

from __future__ import annotations

import numpy as np

from fastnn.ops.pointwise import pointwise, unary

__all__ = [
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "signbit",
]

isnan = unary("isnan", "Whether x is NaN.", np.isnan, result="bool")
isinf = unary("isinf", "Whether x is infinite.", np.isinf, result="bool")
isfinite = unary("isfinite", "Whether x is neither infinite nor NaN.", np.isfinite, result="bool")
isposinf = unary("isposinf", "Whether x is inf.", lambda x: x == np.inf, result="bool")
isneginf = unary("isneginf", "Whether x is -inf.", lambda x: x == -np.inf, result="bool")
signbit = unary(
    "signbit",
    "Whether the sign is negative, -0 included.",
    lambda x: np.signbit(x) if x.dtype.kind == "f" else x < 0,
    result="bool",
)
logical_not = unary("logical_not", "Whether x is 0.", np.logical_not, result="bool")
logical_and = pointwise("logical_and", np.logical_and, result="bool", doc="Whether neither is 0.")
logical_or = pointwise("logical_or", np.logical_or, result="bool", doc="Whether one is not 0.")
logical_xor = pointwise("logical_xor", np.logical_xor, result="bool", doc="Whether just one is 0.")
