"""Functions whose arguments need reading before an op can serve them; NotImplemented leaves a call to NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn import ops


def einsum(equation: Any, *operands: Any, optimize: Any = False) -> Any:
    """`numpy.einsum` of text and two or more arrays; of one array it may be a view, which is NumPy's."""
    if type(equation) is not str or len(operands) < 2 or not all(type(x) is np.ndarray for x in operands):
        return NotImplemented
    result = ops.einsum(equation, *operands)
    # NumPy's two ways of computing differ in this
    return result if result.ndim or optimize is not False else result[()]


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """`numpy.tensordot` of arrays."""
    if type(a) is not np.ndarray or type(b) is not np.ndarray:
        return NotImplemented
    return ops.tensordot(a, b, axes)


def cumsum(a: Any, axis: Any = None) -> Any:
    """`numpy.cumsum`, of the elements in a row unless an axis is given."""
    if (
        type(a) is not np.ndarray
        or not a.flags.c_contiguous
        or not a.ndim
        or (axis is not None and type(axis) is not int)
    ):
        return NotImplemented
    return ops.cumsum(a.reshape(-1), 0) if axis is None else ops.cumsum(a, axis)


def clip(a: Any, a_min: Any, a_max: Any) -> Any:
    """`numpy.clip` between Python numbers."""
    if type(a) is not np.ndarray or not a.flags.c_contiguous or not a.ndim:
        return NotImplemented
    for bound in (a_min, a_max):
        if type(bound) not in (int, float) or not math.isfinite(bound) or abs(bound) > 1e30:
            return NotImplemented
    return ops.clip(a, low=a_min, high=a_max) if a_min <= a_max else NotImplemented
