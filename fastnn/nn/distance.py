"""Distances and angles as modules."""

from __future__ import annotations

from typing import Any

from fastnn.nn import functional as F
from fastnn.nn.module import Module
from fastnn.tensor import Tensor


class PairwiseDistance(Module):
    """The p-norm of ``x1 - x2 + eps`` along the last axis; see `fastnn.nn.functional.pairwise_distance`."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Any, x2: Any) -> Tensor:
        """The distances of (*, D) and (*, D): (*), or (*, 1)."""
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along `dim`; see `fastnn.nn.functional.cosine_similarity`."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Any, x2: Any) -> Tensor:
        """The cosines, without the axis `dim`."""
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


__all__ = ["CosineSimilarity", "PairwiseDistance"]
