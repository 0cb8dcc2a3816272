"""Checks of hyper-parameters, and their values as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._runtime.tensor import TensorBase
from fastnn.errors import GraphError


def check_range(name: str, value: Any, low: float, high: float = np.inf, closed: bool = False) -> None:
    """ValueError unless ``low <= value < high`` (`closed`: ``<= high``; no upper bound: ``low <= value``)."""
    if isinstance(value, TensorBase) and value.array.size != 1:
        raise ValueError(f"{name} must be one number, got a Tensor of shape {value.shape}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not (low <= number and (number < high or high == np.inf or (closed and number == high))):
        to = "to" if closed else "to below"
        wanted = f"at least {low}" if high == np.inf else f"from {low} {to} {high}"
        raise ValueError(f"{name} must be {wanted}, got {value}")


def check_pair(name: str, value: Any) -> None:
    """TypeError unless there are two values."""
    try:
        fits = len(value) == 2
    except TypeError:
        fits = False
    if not fits:
        raise TypeError(f"{name} must be two numbers, got {value!r}")


def check_betas(name: str, betas: Any) -> tuple[float, float]:
    """Two numbers from 0 to below 1, or Tensors of one; returned as floats."""
    check_pair(f"{name}: betas", betas)
    for i, beta in enumerate(betas):
        check_range(f"{name}: betas[{i}]", beta, 0, 1)
    if isinstance(betas[0], TensorBase) != isinstance(betas[1], TensorBase):
        raise ValueError(f"{name}: betas must be two numbers or two Tensors, got {betas!r}")
    return float(betas[0]), float(betas[1])


def check_implementation(name: str, foreach: bool | None, fused: bool | None, differentiable: bool) -> None:
    """Refuse what contradicts itself; apart from that these choices make no difference here."""
    if fused and differentiable:
        raise GraphError(f"{name}: fused and differentiable must not both be set")
    if fused and foreach:
        raise GraphError(f"{name}: fused and foreach must not both be set")


def check_foreach(name: str, foreach: bool | None, capturable: bool, **values: Any) -> None:
    """Refuse hyper-parameters in Tensors with ``foreach=True``, as torch does."""
    for what, value in values.items():
        if foreach and not capturable and isinstance(value, TensorBase):
            raise ValueError(f"{name}: {what} must be a number with foreach=True and capturable=False, got a Tensor")


__all__ = ["check_betas", "check_foreach", "check_implementation", "check_pair", "check_range"]
