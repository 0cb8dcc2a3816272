"""Comparisons, questions and logic under torch's names; the results are bools."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import ops
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import DTypeError
from fastnn.functions.operands import array_of, delivered, given, kind_of
from fastnn.functions.pointwise import _binary, _unary

eq = _binary("eq", "equal")
ne = not_equal = _binary("ne", "not_equal")
lt = less = _binary("lt", "less")
le = less_equal = _binary("le", "less_equal")
gt = greater = _binary("gt", "greater")
ge = greater_equal = _binary("ge", "greater_equal")
logical_and = _binary("logical_and")
logical_or = _binary("logical_or")
logical_xor = _binary("logical_xor")
logical_not = _unary("logical_not")
isfinite = _unary("isfinite")
isinf = _unary("isinf")
isnan = _unary("isnan")
isneginf = _unary("isneginf")
isposinf = _unary("isposinf")
signbit = _unary("signbit")


def isreal(input: Any) -> Any:
    """Whether each element has no imaginary part."""
    return given(np.isreal(array_of(input)))


def where(condition: Any, input: Any = None, other: Any = None, *, out: Any = None) -> Any:
    """From `input` where the condition (bools) holds, else from `other`; all three broadcast.

    With the condition alone, the indices of what holds, one Tensor an axis.
    """
    if input is None and other is None:
        return tuple(given(index) for index in np.nonzero(array_of(condition)))
    if input is None or other is None:
        raise TypeError("where: input and other go together")
    if kind_of(condition) == "u" and condition.dtype.itemsize == 1:
        condition = ops.not_equal(condition, 0)
    return ops.where(condition, input, other) if out is None else ops.where(condition, input, other, out=out)


def equal(input: Any, other: Any) -> bool:
    """Whether two Tensors have the same shape and elements."""
    x, y = array_of(input), array_of(other)
    return x.shape == y.shape and bool(np.array_equal(x, y))


def isclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether ``|input - other| <= atol + rtol * |other|``; infinities are close to their like alone."""
    x, y = array_of(input), array_of(other)
    if x.dtype != y.dtype:
        raise DTypeError(f"isclose: other must have dtype {x.dtype} to match input, got {y.dtype}")
    for name, number in (("rtol", rtol), ("atol", atol)):
        if number < 0:
            raise ValueError(f"isclose: {name} must not be negative, got {number}")
    with np.errstate(all="ignore"):
        close = np.equal(x, y)
        if equal_nan and x.dtype.kind in "fc":
            close = close | (np.isnan(x) & np.isnan(y))
        if rtol == 0 and atol == 0:
            return given(close)
        y = y if x.dtype.kind in "fc" else y.astype(np.float32)
        distance = np.abs(x - y)
        close = close | (np.isfinite(distance) & (distance <= atol + np.abs(rtol * y)))
    return given(close)


def allclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all elements are close, see `isclose`."""
    return bool(isclose(input, other, rtol, atol, equal_nan).array.all())


def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False, out: Any = None
) -> Any:
    """For each element, whether it is among the others."""
    if not isinstance(elements, TensorBase) and not isinstance(test_elements, TensorBase):
        raise TypeError("isin: elements or test_elements must be a Tensor")
    found = np.isin(array_of(elements), array_of(test_elements), assume_unique=assume_unique, invert=invert)
    return delivered(np.asarray(found), out, True)


def is_same_size(input: Any, other: Any) -> bool:
    """Whether two Tensors have the same shape."""
    return bool(array_of(input).shape == array_of(other).shape)


__all__ = [
    "allclose",
    "eq",
    "equal",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "is_same_size",
    "isclose",
    "isfinite",
    "isin",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "le",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "ne",
    "not_equal",
    "signbit",
    "where",
]
