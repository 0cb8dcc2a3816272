"""Norms of vectors and matrices under `torch.linalg`'s names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn._numpy_views import dim_argument
from fastnn._runtime.tensor import derived
from fastnn.errors import ShapeError
from fastnn.functions.arguments import floats_of, into
from fastnn.functions.results import axis_of, call
from fastnn.ops import folds
from fastnn.tensor import Tensor


def vector_norm(
    x: Any, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """Norm over `dim` (None: of all elements as one vector): ``sum(|x| ** ord) ** (1 / ord)``, inf, -inf, 0."""
    x = floats_of("vector_norm", x, dtype)
    return call(folds.norm, x, out, ord=ord, axis=dim_argument(dim), keepdims=keepdim)


def _singular(x: Tensor, axes: tuple[int, int], order: Any, keepdim: bool) -> Tensor:
    """A function of the singular values over two axes: their sum ("nuc"), the largest (2) or the smallest (-2)."""
    moved = np.moveaxis(x.array, axes, (-2, -1))
    u, s, vh = np.linalg.svd(moved, full_matrices=False)
    if order == "nuc":
        value, weights = s.sum(-1), np.ones_like(s)
    else:
        value = s.max(-1) if order > 0 else s.min(-1)
        ties = s == value[..., None]
        weights = ties / ties.sum(-1, keepdims=True)
    direction = (u * weights[..., None, :]) @ vh

    def back(g: np.ndarray) -> np.ndarray:
        spread = g.reshape(s.shape[:-1])[..., None, None] * direction
        return np.moveaxis(spread, (-2, -1), axes).astype(x.dtype)

    if keepdim:
        value = np.moveaxis(value[..., None, None], (-2, -1), axes)
    return derived(x, np.asarray(value, x.dtype), "matrix_norm", back, False)


def matrix_norm(
    A: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """Norm of the matrices over two axes.

    Parameters
    ----------
    A : at least two axes.
    ord : ``"fro"`` (root of the sum of squares), ``"nuc"`` (sum of singular values), inf and -inf (largest and smallest
        sum of a row's magnitudes), 1 and -1 (of a column's), 2 and -2 (largest and smallest singular value).
    dim : the rows' axis and the columns'.

    Raises
    ------
    ValueError : another `ord`. ShapeError : `dim` does not name two different axes.
    """
    x = floats_of("matrix_norm", A, dtype)
    axes = tuple(axis_of("matrix_norm", d, x) for d in dim)
    if x.ndim < 2 or len(set(axes)) != 2 or len(axes) != 2:
        raise ShapeError(f"matrix_norm: dim must name two different axes of {x.shape}, got {dim}")
    if ord == "fro":
        result = folds.norm(x, axis=axes, keepdims=keepdim)
    elif ord == "nuc" or (isinstance(ord, (int, float)) and abs(ord) == 2):
        result = _singular(x, axes, ord, keepdim)
    elif isinstance(ord, (int, float)) and (abs(ord) == 1 or math.isinf(ord)):
        summed, extreme = axes if abs(ord) == 1 else axes[::-1]
        sums = folds.norm(x, ord=1, axis=summed, keepdims=True)
        result = (folds.max if ord > 0 else folds.min)(sums, axis=extreme, keepdims=True)
        if not keepdim:
            result = result.reshape(tuple(n for a, n in enumerate(x.shape) if a not in axes))
    else:
        raise ValueError(f"matrix_norm: ord must be 'fro', 'nuc', inf, -inf, 1, -1, 2 or -2, got {ord!r}")
    return into("matrix_norm", result, out)


def norm(
    A: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """Norm of vectors (one `dim`), of matrices (two), or of all elements (no `dim` and no `ord`).

    Without `dim` but with an `ord`, `A` must have one axis or two.
    """
    x = floats_of("norm", A, dtype)
    if ord is None:
        return vector_norm(x, 2, dim, keepdim, out=out)
    if dim is None:
        if x.ndim not in (1, 2):
            raise ShapeError(f"norm: without dim, A must have 1 or 2 axes for an ord, got shape {x.shape}")
        dim = tuple(range(x.ndim))
    count = 1 if isinstance(dim, int) else len(dim)
    if count == 2:
        return matrix_norm(x, ord, dim, keepdim, out=out)
    if count != 1:
        raise ShapeError(f"norm: dim must name 1 or 2 axes, got {dim}")
    if isinstance(ord, str):
        raise ValueError(f"norm: ord {ord!r} is for matrices, got one axis")
    return vector_norm(x, ord, dim, keepdim, out=out)


__all__ = ["matrix_norm", "norm", "vector_norm"]
