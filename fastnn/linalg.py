"""Linear algebra under `torch.linalg`'s names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastnn import ops
from fastnn.errors import ShapeError
from fastnn.functions import reductions, vectors
from fastnn.functions.arguments import input_of, into, together
from fastnn.functions.norms import matrix_norm, norm, vector_norm
from fastnn.functions.pointwise import mul
from fastnn.functions.products import chain, matmul
from fastnn.functions.results import axis_of


def multi_dot(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Product of two or more matrices, in the order that takes the fewest multiplications.

    Parameters
    ----------
    tensors : matrices (N0, N1), (N1, N2), ...; the first may be a vector (N1), which counts as a row, and the last a
        vector, which counts as a column.

    Returns
    -------
    The product, without the axes that vectors do not have.

    Raises
    ------
    ShapeError : fewer than two tensors, or shapes that do not go together.
    """
    if len(tensors) < 2:
        raise ShapeError(f"multi_dot: there must be at least 2 tensors, got {len(tensors)}")
    return chain("multi_dot", tensors, vectors=True, out=out)


def cross(input: Any, other: Any, *, dim: int = -1, out: Any = None) -> Any:
    """Cross products of the vectors of three along `dim`; operands broadcast."""
    return vectors.cross(input, other, dim, out=out)


def diagonal(A: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """The diagonals of matrices, as a last axis; a positive offset lies above the main one."""
    return ops.diagonal(input_of("diagonal", A), offset, dim1, dim2)


def vander(x: Any, *, N: int | None = None) -> Any:
    """Powers of the elements from 0 up, (*, M) -> (*, M, N); N is M by default."""
    points = input_of("vander", x)
    if points.ndim == 0:
        points = points.reshape(1)
    return vectors.powers("vander", points, N, True)


def vecdot(x: Any, y: Any, *, dim: int = -1, out: Any = None) -> Any:
    """Dot products of the vectors along `dim`; operands broadcast."""
    first, second = together("vecdot", x, y)
    if first.ndim == 0:
        raise ShapeError("vecdot: x and y must have at least 1 axis, got shape ()")
    return into("vecdot", reductions.sum(mul(first, second), axis_of("vecdot", dim, first)), out)


__all__ = ["cross", "diagonal", "matmul", "matrix_norm", "multi_dot", "norm", "vander", "vecdot", "vector_norm"]
