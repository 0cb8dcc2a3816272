"""Distances between vectors and their directions, under torch's names and arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import ops
from fastnn._numpy_views import axis_argument
from fastnn.errors import ShapeError
from fastnn.functions.arguments import floats_of, input_of, into, together
from fastnn.functions.pointwise import clamp_min
from fastnn.ops import folds
from fastnn.tensor import Tensor, as_tensor

NORMS = {0.0: "0", 1.0: "1", 2.0: "2", float("inf"): "inf"}


def _together(name: str, *inputs: Any) -> tuple[Tensor, ...]:
    """The inputs as Tensors of floats, broadcast to one shape; ShapeError where they do not go together."""
    tensors = (input_of(name, x) for x in inputs)
    return together(name, *(t if t.dtype.kind in "fc" else t.float() for t in tensors))


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The `p`-norm of ``x1 - x2 + eps`` over the last axis, broadcast: (*, D), (*, D) -> (*), with `keepdim` (*, 1)."""
    a, b = as_tensor(x1), as_tensor(x2)
    if a.dtype.kind in "biu" and b.dtype.kind in "biu":
        # eps makes floats of the integers' difference
        a, b = ops.subtract(a, b).to(dtype=np.float32), as_tensor(np.zeros((), np.float32))
    a, b = _together("pairwise_distance", a, b)
    y = ops.pairwise_distance(a, b, NORMS.get(float(p), "p"), eps, p)
    return y.unsqueeze(-1) if keepdim else y


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along `dim`, broadcast; lengths below `eps` count as `eps`."""
    a, b = _together("cosine_similarity", x1, x2)
    axis = axis_argument("cosine_similarity", dim, a.ndim)
    if not a.ndim:
        return ops.cosine_similarity(a.reshape(1), b.reshape(1), False, eps)
    if axis != a.ndim - 1:
        order = [i for i in range(a.ndim) if i != axis] + [axis]
        a, b = a.permute(order), b.permute(order)
    return ops.cosine_similarity(a, b, False, eps)


def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Any = None) -> Tensor:
    """The input over its `p`-norm along `dim`; norms below `eps` count as `eps`."""
    x = floats_of("normalize", input)
    length = clamp_min(folds.norm(x, ord=p, axis=dim, keepdims=True), eps)
    return into("normalize", ops.divide(x, length), out)


def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The `p`-norms of the differences of all rows: (*, P, M), (*, R, M) -> (*, P, R).

    `compute_mode` is taken and checked; differences are formed in every mode, which loses no digits.
    """
    a, b = floats_of("cdist", x1), floats_of("cdist", x2)
    modes = "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"
    if compute_mode not in modes:
        raise ValueError(f"cdist: compute_mode must be one of {', '.join(modes)}, got {compute_mode!r}")
    if p < 0:
        raise ValueError(f"cdist: p must not be negative, got {p}")
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-1]:
        raise ShapeError(f"cdist: x1 and x2 must be matrices with as many columns, got {a.shape} and {b.shape}")
    return folds.norm(ops.subtract(a.unsqueeze(-2), b.unsqueeze(-3)), ord=p, axis=-1) if a.shape[-1] else _nothing(a, b)


def _nothing(a: Tensor, b: Tensor) -> Tensor:
    """The distances of rows without elements."""
    return ops.sum(ops.subtract(a.unsqueeze(-2), b.unsqueeze(-3)), axis=-1)


def pdist(input: Any, p: float = 2.0) -> Tensor:
    """The `p`-norms of the differences of each pair of rows, (N, M) -> (N (N - 1) / 2): row 0 to the others first."""
    x = floats_of("pdist", input)
    if x.ndim != 2:
        raise ShapeError(f"pdist: input must be a matrix, got shape {x.shape}")
    if p < 0:
        raise ValueError(f"pdist: p must not be negative, got {p}")
    first, second = np.triu_indices(x.shape[0], 1)
    difference = ops.subtract(x[first], x[second])
    return folds.norm(difference, ord=p, axis=-1) if x.shape[1] else ops.sum(difference, axis=-1)


__all__ = ["cdist", "cosine_similarity", "pairwise_distance", "pdist"]
