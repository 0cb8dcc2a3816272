"""Flatten: join axes."""

from __future__ import annotations

from typing import Any

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


__all__ = ["Flatten"]
