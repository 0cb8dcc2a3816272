"""NumPy behind views and broadcasting: reading shapes, axes and indices, and carrying gradients back through them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._runtime.memory import empty
from fastnn._runtime.tensor import TensorBase


def shape_argument(args: tuple[Any, ...]) -> tuple[int, ...]:
    """Shapes come as separate ints or as one sequence."""
    if len(args) == 1 and not isinstance(args[0], (int, np.integer, TensorBase)):
        args = tuple(args[0])
    return tuple(int(a) for a in args)


def axis_argument(op: str, dim: int, ndim: int) -> int:
    """An axis counted from 0; IndexError, as in torch, where there is none such."""
    if not -max(ndim, 1) <= dim < max(ndim, 1):
        raise IndexError(f"{op}: dim must lie from {-max(ndim, 1)} to {max(ndim, 1) - 1}, got {dim}")
    return dim % max(ndim, 1)


def index_argument(index: Any) -> Any:
    """An index with Tensors replaced by their arrays."""
    if isinstance(index, tuple):
        return tuple(index_argument(i) for i in index)
    if isinstance(index, TensorBase):
        return index.array if index.array.ndim else index.array[()]
    return index


def is_basic(index: Any) -> bool:
    """Whether NumPy answers the index with a view."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        (isinstance(p, (int, np.integer, slice)) and not isinstance(p, (bool, np.bool_))) or p is None or p is Ellipsis
        for p in parts
    )


def scatter(gradient: np.ndarray, index: Any, shape: tuple[int, ...], dtype: Any, basic: bool) -> np.ndarray:
    """The gradient of what was indexed: `gradient` at `index`, added up where an element was taken twice."""
    result = empty(shape, dtype)
    result.fill(0)
    if basic:
        result[index] = gradient
    else:
        np.add.at(result, index, gradient)
    return result


def sum_to(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an operand of the given shape: summed over the axes along which broadcasting repeated it."""
    lead = gradient.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        lead + i for i, extent in enumerate(shape) if extent == 1 and gradient.shape[lead + i] != 1
    )
    return gradient.sum(axis=axes).reshape(shape) if axes else gradient
