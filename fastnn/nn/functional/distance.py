"""Distances and angles of pairs of vectors under torch's names and arguments."""

from __future__ import annotations

from typing import Any

from fastnn import ops
from fastnn._numpy_views import axis_argument
from fastnn.nn.functional.loss import together
from fastnn.tensor import Tensor

NORMS = {0.0: "0", 1.0: "1", 2.0: "2", float("inf"): "inf"}


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of ``x1 - x2 + eps`` along the last axis.

    Shapes: x1 (*, D), x2 (*, D), broadcast -> (*), with `keepdim` (*, 1).
    """
    a, b = together("pairwise_distance", x1, x2)
    y = ops.pairwise_distance(a, b, NORMS.get(float(p), "p"), eps, p)
    return y.unsqueeze(-1) if keepdim else y


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along `dim`, their lengths at least `eps`; shapes broadcast."""
    a, b = together("cosine_similarity", x1, x2)
    axis = axis_argument("cosine_similarity", dim, a.ndim)
    if a.ndim and axis != a.ndim - 1:
        order = [i for i in range(a.ndim) if i != axis] + [axis]
        a, b = a.permute(order), b.permute(order)
    return (
        ops.cosine_similarity(a, b, False, eps)
        if a.ndim
        else ops.cosine_similarity(a.reshape(1), b.reshape(1), False, eps)
    )


__all__ = ["cosine_similarity", "pairwise_distance"]
