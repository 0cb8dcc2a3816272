"""NumPy behind views and broadcasting: reading shapes and axes, and carrying gradients back through broadcasting."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from fastnn.errors import ShapeError


def integer(name: str, value: Any) -> int:
    """An int; TypeError, naming what it is, for anything that is no integer."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None


def shape_argument(name: str, args: tuple[Any, ...], lowest: int = -1) -> tuple[int, ...]:
    """Shapes (or axes) come as separate ints or as one sequence; none may be below `lowest`."""
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = tuple(args[0])
    numbers = tuple(integer(name, a) for a in args)
    if min(numbers, default=0) < lowest:
        raise ShapeError(f"{name} must be at least {lowest}, got {numbers}")
    return numbers


def axis_argument(op: str, dim: int, ndim: int) -> int:
    """An axis counted from 0; IndexError, as in torch, where there is none such."""
    dim = integer(f"{op}: dim", dim)
    if not -max(ndim, 1) <= dim < max(ndim, 1):
        raise IndexError(f"{op}: dim must lie from {-max(ndim, 1)} to {max(ndim, 1) - 1}, got {dim}")
    return dim % max(ndim, 1)


def dim_argument(dim: Any) -> Any:
    """Torch's `dim` as NumPy's axis: no axes at all mean every axis there."""
    return (tuple(dim) or None) if isinstance(dim, (tuple, list)) else dim


def sum_to(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an operand of the given shape: summed over the axes along which broadcasting repeated it."""
    lead = gradient.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        lead + i for i, extent in enumerate(shape) if extent == 1 and gradient.shape[lead + i] != 1
    )
    return np.asarray(gradient.sum(axis=axes)).reshape(shape) if axes else gradient
