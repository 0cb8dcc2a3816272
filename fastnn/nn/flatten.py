"""Flatten and Unflatten: join axes, and take them apart."""

from __future__ import annotations

from typing import Any

from fastnn._numpy_views import axis_argument, integer
from fastnn.errors import ShapeError
from fastnn.nn.module import Module
from fastnn.tensor import Tensor, as_tensor


class Flatten(Module):
    """Joins the axes from `start_dim` to `end_dim`; by default all but the batch."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Tensor:
        """Flatten a Tensor or an array."""
        return as_tensor(input).flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """The axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits the axis `dim` into axes of `unflattened_size`, of which one may be -1.

    Parameters
    ----------
    dim : the axis.
    unflattened_size : extents, whose product is that of the axis.
    """

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        self.dim = integer("Unflatten: dim", dim)
        if not isinstance(unflattened_size, (tuple, list)):
            raise TypeError(f"Unflatten: unflattened_size must be a tuple of ints, got {unflattened_size!r}")
        for position, extent in enumerate(unflattened_size):
            if not isinstance(extent, int):
                raise TypeError(f"Unflatten: unflattened_size[{position}] must be an integer, got {extent!r}")
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Any) -> Tensor:
        """Split a Tensor's or an array's axis."""
        x = as_tensor(input)
        axis = axis_argument("Unflatten", self.dim, x.ndim)
        known = 1
        for extent in self.unflattened_size:
            known *= extent
        if not self.unflattened_size or x.ndim == 0 or (-1 not in self.unflattened_size and known != x.shape[axis]):
            raise ShapeError(
                f"Unflatten: unflattened_size {self.unflattened_size} does not fit axis {self.dim} of {x.shape}"
            )
        return x.reshape((*x.shape[:axis], *self.unflattened_size, *x.shape[axis + 1 :]))

    def extra_repr(self) -> str:
        """The axis and the extents."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


__all__ = ["Flatten", "Unflatten"]
