"""Norms of weights."""

from __future__ import annotations

import numpy as np

from fastnn._numpy_views import axis_argument
from fastnn.nn.module import Module
from fastnn.ops.folds import norm
from fastnn.tensor import Tensor, from_numpy


def norm_except_dim(v: Tensor, dim: int | None) -> Tensor:
    """The 2-norm of `v` over all axes but `dim`, which are kept with length 1; over all of them, a scalar, for None."""
    if dim is None or dim == -1:
        return norm(v)
    kept = axis_argument("norm_except_dim", dim, v.ndim)
    return norm(v, axis=tuple(axis for axis in range(v.ndim) if axis != kept), keepdims=True)


def unit(x: np.ndarray, eps: float) -> np.ndarray:
    """A vector over its norm, or over `eps` if that is larger."""
    found: np.ndarray = x / max(float(np.sqrt(np.sum(x * x))), eps)
    return found


def axis_of_outputs(module: Module) -> int:
    """The axis of a weight that counts the outputs: 1 in transposed convolutions."""
    return int(any(base.__name__.startswith("ConvTranspose") for base in type(module).__mro__))


def rows_against_rest(weight: Tensor, dim: int) -> Tensor:
    """The weight as a matrix: axis `dim` against all others."""
    if dim:
        weight = weight.permute(dim, *(axis for axis in range(weight.ndim) if axis != dim))
    return weight if weight.ndim == 2 else weight.reshape(weight.shape[0], weight.numel() // weight.shape[0])


def power_steps(matrix: np.ndarray, start: Tensor, other: Tensor, count: int, eps: float) -> None:
    """Bring two vectors closer to the singular vectors of the largest singular value, in place.

    `other` is what `matrix` makes of `start`, and `start` what its transpose makes of `other`.
    """
    for _ in range(count):
        other.array[...] = unit(matrix @ start.array, eps)
        start.array[...] = unit(other.array @ matrix, eps)
    start._touch()
    other._touch()


def spectrally_normed(weight: Tensor, matrix: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The weight over ``u @ matrix @ v``; gradients do not reach `u` and `v`, and these may be changed afterwards."""
    left, right = from_numpy(u.array.copy()), from_numpy(v.array.copy())
    divided: Tensor = weight / (left @ (matrix @ right))
    return divided


__all__ = ["axis_of_outputs", "norm_except_dim", "power_steps", "rows_against_rest", "spectrally_normed", "unit"]
