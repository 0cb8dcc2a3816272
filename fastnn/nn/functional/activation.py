"""Activations under torch's names and arguments."""

from __future__ import annotations

from typing import Any

from fastnn import ops
from fastnn.tensor import Tensor, as_tensor


def relu(input: Any, inplace: bool = False) -> Tensor:
    """``max(input, 0)``. NaN stays NaN."""
    return as_tensor(input).relu_() if inplace else ops.relu(input)


def tanh(input: Any) -> Tensor:
    """Hyperbolic tangent."""
    return ops.tanh(input)


def sigmoid(input: Any) -> Tensor:
    """``1 / (1 + exp(-input))``."""
    return ops.sigmoid(input)


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """``input`` times the normal distribution up to it, or ``approximate="tanh"``'s form of that.

    Raises
    ------
    ValueError : `approximate` is neither ``"none"`` nor ``"tanh"``.
    """
    return ops.gelu(input, approximate=approximate)


def silu(input: Any, inplace: bool = False) -> Tensor:
    """``input * sigmoid(input)``."""
    return as_tensor(input)._map_("silu") if inplace else ops.silu(input)


def _softmax_dim(name: str, dim: int | None) -> int:
    if dim is None:
        raise TypeError(f"{name}: dim is missing; say along which axis the probabilities add up to 1")
    return dim


def softmax(input: Any, dim: int | None = None) -> Tensor:
    """``exp(input) / sum(exp(input))`` along `dim`."""
    return ops.softmax(input, axis=_softmax_dim("softmax", dim))


def log_softmax(input: Any, dim: int | None = None) -> Tensor:
    """Logarithm of the softmax along `dim`."""
    return ops.log_softmax(input, axis=_softmax_dim("log_softmax", dim))
