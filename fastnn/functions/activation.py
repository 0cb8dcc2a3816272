"""The activations that torch has outside of its networks too, with torch's arguments."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from fastnn.nn.functional import activation as own
from fastnn.nn.functional.activation import (
    celu,
    celu_,
    hardshrink,
    prelu,
    relu,
    relu_,
    rrelu,
    rrelu_,
    selu,
    selu_,
    threshold,
    threshold_,
)


def softmax(input: Any, dim: int, dtype: npt.DTypeLike | None = None) -> Any:
    """``exp(input) / sum(exp(input))`` along `dim`, of `input` converted to `dtype` if that is given."""
    return own.softmax(input, dim, dtype=dtype)


def log_softmax(input: Any, dim: int, dtype: npt.DTypeLike | None = None) -> Any:
    """Logarithm of the softmax along `dim`, of `input` converted to `dtype` if that is given."""
    return own.log_softmax(input, dim, dtype=dtype)


__all__ = [
    "celu",
    "celu_",
    "hardshrink",
    "log_softmax",
    "prelu",
    "relu",
    "relu_",
    "rrelu",
    "rrelu_",
    "selu",
    "selu_",
    "softmax",
    "threshold",
    "threshold_",
]
