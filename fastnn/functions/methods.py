"""Methods of Tensor that are no functions, or whose arguments stand in another order than the function's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.errors import ShapeError
from fastnn.functions import comparison, gamma, reductions
from fastnn.functions._options import size_argument
from fastnn.tensor import from_numpy


def polygamma(self: Any, n: int) -> Any:
    """The `n`-th derivative of `digamma`."""
    return gamma.polygamma(n, self)


def where(self: Any, condition: Any, other: Any) -> Any:
    """The Tensor's own elements where the condition holds, else those of `other`."""
    return comparison.where(condition, self, other)


def _converting(name: str, dtype: str) -> Callable[[Any], Any]:
    def convert(self: Any) -> Any:
        return self.to(np.dtype(dtype))

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"Convert to {dtype}."
    return convert


byte = _converting("byte", "uint8")
char = _converting("char", "int8")
half = _converting("half", "float16")
short = _converting("short", "int16")


def type_as(self: Any, other: Any) -> Any:
    """Convert to the dtype of another Tensor."""
    return self.to(other.dtype)


def nelement(self: Any) -> int:
    """As `numel`."""
    return int(self.array.size)


def ndimension(self: Any) -> int:
    """As `dim`."""
    return int(self.ndim)


def get_device(self: Any) -> int:
    """The number of a graphics device: -1, there is none."""
    return -1


def sum_to_size(self: Any, *size: Any) -> Any:
    """Sum over the axes along which a Tensor of the given size would be repeated to broadcast to this one's shape."""
    shape = size_argument("sum_to_size", size)
    lead = self.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, self.shape[lead:], strict=True)):
        raise ShapeError(f"sum_to_size: size must broadcast to {self.shape}, got {shape}")
    axes = [*range(lead), *(lead + i for i, n in enumerate(shape) if n != self.shape[lead + i])]
    if axes or not shape:
        return reductions.sum(self, axes or None, keepdim=True).reshape(shape)
    return self.view(shape)


def fill_diagonal_(self: Any, fill_value: Any, wrap: bool = False) -> Any:
    """Set the elements whose indices are all the same; with `wrap`, of a tall matrix, again after a row left out."""
    if self.ndim < 2 or (self.ndim > 2 and len(set(self.shape)) > 1):
        raise ShapeError(f"fill_diagonal_: a Tensor must have 2 axes, or more of one extent, got shape {self.shape}")
    count = min(self.shape)
    diagonal = (np.arange(count),) * self.ndim
    if wrap and self.ndim == 2:
        rows, columns = self.shape
        places = np.arange(0, rows * columns, columns + 1)
        diagonal = (places // max(columns, 1), places % max(columns, 1))
    self[tuple(from_numpy(i) for i in diagonal)] = fill_value
    return self


__all__ = [
    "byte",
    "char",
    "fill_diagonal_",
    "get_device",
    "half",
    "ndimension",
    "nelement",
    "polygamma",
    "short",
    "sum_to_size",
    "type_as",
    "where",
]
