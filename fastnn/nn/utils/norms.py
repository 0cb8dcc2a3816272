"""Norms of weights, with their gradients."""

from __future__ import annotations

import numpy as np

from fastnn._numpy_views import axis_argument
from fastnn._runtime.tensor import derived
from fastnn.tensor import Tensor


def norm_except_dim(v: Tensor, dim: int | None) -> Tensor:
    """The 2-norm of `v` over all axes but `dim`, which are kept with length 1; over all of them, a scalar, for None."""
    x = v.array
    axes = None
    if dim is not None and dim != -1:
        kept = axis_argument("norm_except_dim", dim, v.ndim)
        axes = tuple(axis for axis in range(v.ndim) if axis != kept)
    norm = np.asarray(np.sqrt(np.sum(x * x, axis=axes, keepdims=axes is not None)))
    return derived(v, norm, "norm", lambda g: x * (g / norm), False)


__all__ = ["norm_except_dim"]
