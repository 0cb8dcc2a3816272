"""Linear algebra under `torch.linalg`'s names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastnn.errors import ShapeError
from fastnn.functions.norms import matrix_norm, norm, vector_norm
from fastnn.functions.products import chain, matmul


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


__all__ = ["matmul", "matrix_norm", "multi_dot", "norm", "vector_norm"]
