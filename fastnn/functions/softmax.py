"""Softmax and its kin under torch's names and arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import ops
from fastnn.functions.arguments import input_of
from fastnn.functions.results import axis_of, call
from fastnn.tensor import Tensor


def converted(name: str, input: Any, dim: Any, dtype: Any) -> tuple[Tensor, int]:
    """The input in `dtype`, if given, and the axis."""
    x = input_of(name, input)
    if dim is None:
        raise TypeError(f"{name}: dim is missing; say along which axis the probabilities add up to 1")
    if dtype is not None and np.dtype(dtype) != x.dtype:
        x = x.to(dtype=dtype)
    return x, dim if isinstance(dim, int) else axis_of(name, dim, x)


def softmax(input: Any, dim: int, dtype: Any = None, *, out: Any = None) -> Tensor:
    """``exp(input) / sum(exp(input))`` along `dim`, without overflow; `dtype`: what to convert to first."""
    x, axis = converted("softmax", input, dim, dtype)
    return call(ops.softmax, x, out, axis=axis)


def log_softmax(input: Any, dim: int, dtype: Any = None, *, out: Any = None) -> Tensor:
    """Logarithm of the softmax along `dim`; `dtype`: what to convert to first."""
    x, axis = converted("log_softmax", input, dim, dtype)
    return call(ops.log_softmax, x, out, axis=axis)


__all__ = ["log_softmax", "softmax"]
