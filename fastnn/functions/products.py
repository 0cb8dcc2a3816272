"""Products of vectors, matrices and batches under torch's names, with torch's arguments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from fastnn import ops
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import ShapeError
from fastnn.ops import addbmm, addmm, addmv, addr, baddbmm, bmm, mm, mv


def _vectors(name: str, **operands: Any) -> None:
    """Raise ShapeError for an operand that is no vector."""
    for argument, x in operands.items():
        shape = x.shape if hasattr(x, "shape") else np.shape(x)
        if len(shape) != 1:
            raise ShapeError(f"{name}: {argument} must have 1 axis, got shape {shape}")


def matmul(input: Any, other: Any, *, out: Any = None) -> Any:
    """Matrix product with NumPy's and torch's rules for vectors and batches; see `fastnn.ops.matmul`."""
    return ops.matmul(input, other, out=out)


def dot(input: Any, tensor: Any, *, out: Any = None) -> Any:
    """Sum of the products of two vectors' elements, (N), (N) -> ()."""
    _vectors("dot", input=input, tensor=tensor)
    return ops.dot(input, tensor, out=out)


def vdot(input: Any, other: Any, *, out: Any = None) -> Any:
    """As `dot`; a complex `input` is conjugated."""
    _vectors("vdot", input=input, other=other)
    return ops.vdot(input, other, out=out)


def inner(input: Any, other: Any, *, out: Any = None) -> Any:
    """Sum of products over the last axes, (*, K), (+, K) -> (*, +); the product itself if one operand has no axes."""
    return ops.inner(input, other, out=out)


def outer(input: Any, vec2: Any, *, out: Any = None) -> Any:
    """Matrix of the products of two vectors' elements, (N), (M) -> (N, M)."""
    _vectors("outer", input=input, vec2=vec2)
    return ops.outer(input, vec2, out=out)


ger = outer


def tensordot(a: Any, b: Any, dims: Any = 2, out: Any = None) -> Any:
    """Sum of products over the last `dims` axes of a and the first of b, or over pairs of axes.

    Parameters
    ----------
    a, b : any shapes.
    dims : a number of axes, or two lists of axes that go together (also as a Tensor). Where one of two axes has extent
        1, the other is summed over.
    """
    if isinstance(dims, TensorBase):
        dims = dims.array.tolist()
    a, b = _broadcast_pairs(a, b, dims)
    return ops.tensordot(a, b, dims, out=out)


def _broadcast_pairs(a: Any, b: Any, dims: Any) -> tuple[Any, Any]:
    """Sum the longer of two axes where the other has extent 1; what is wrong with `dims` is left for later."""
    if not (hasattr(a, "shape") and hasattr(b, "shape")):
        return a, b
    if isinstance(dims, int):
        pairs = list(zip(range(-dims, 0), range(dims), strict=True)) if 0 < dims <= min(a.ndim, b.ndim) else []
    else:
        pairs = list(zip(*dims, strict=False))
    for i, j in pairs:
        if not (isinstance(i, int) and isinstance(j, int) and -a.ndim <= i < a.ndim and -b.ndim <= j < b.ndim):
            break
        if a.shape[i] == 1 != b.shape[j]:
            b = ops.sum(b, axis=j, keepdims=True)
        elif b.shape[j] == 1 != a.shape[i]:
            a = ops.sum(a, axis=i, keepdims=True)
    return a, b


def einsum(equation: Any, *operands: Any) -> Any:
    """Sum of products by subscripts, ``einsum("bij,bjk->bik", x, y)``; see `fastnn.ops.einsum`.

    The operands may come in one list.
    """
    if isinstance(equation, str) and len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        (operands,) = operands
    return ops.einsum(equation, *operands)


# -- chains of matrices


@lru_cache(1024)
def _best_order(extents: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Where to split each stretch of a chain so that the multiplications are fewest: ``[first][last - first - 1]``.

    `extents` are those of the axes between the matrices: matrix i is (extents[i], extents[i + 1]). Cormen, Leiserson,
    Rivest and Stein, "Introduction to Algorithms", dynamic programming.
    """
    count = len(extents) - 1
    costs = [[0] * count for _ in range(count)]
    splits = [[0] * count for _ in range(count)]
    for length in range(2, count + 1):
        for first in range(count - length + 1):
            last = first + length - 1
            costs[first][last], splits[first][last] = min(
                (costs[first][k] + costs[k + 1][last] + extents[first] * extents[k + 1] * extents[last + 1], k)
                for k in range(first, last)
            )
    return tuple(map(tuple, splits))


def chain(name: str, matrices: Sequence[Any], *, vectors: bool, out: Any = None) -> Any:
    """The product of a chain of matrices in the cheapest order; the first and the last may be vectors if allowed."""
    matrices = [x if hasattr(x, "ndim") else np.asarray(x) for x in matrices]
    for i, x in enumerate(matrices):
        end = vectors and i in (0, len(matrices) - 1)
        if x.ndim != 2 and not (end and x.ndim == 1):
            raise ShapeError(f"{name}: tensor {i} must have {'1 or 2 axes' if end else '2 axes'}, got {tuple(x.shape)}")
        before = matrices[i - 1] if i else None
        if before is not None and before.shape[-1] != x.shape[0]:
            raise ShapeError(
                f"{name}: tensor {i} must have extent {before.shape[-1]} along its first axis to match tensor {i - 1} "
                f"{tuple(before.shape)}, got {tuple(x.shape)}"
            )
    first, last = matrices[0], matrices[-1]
    rows = [1 if first.ndim == 1 else first.shape[0], *(x.shape[0] for x in matrices[1:])]
    splits = _best_order((*rows, 1 if last.ndim == 1 else last.shape[1]))

    def product(i: int, j: int) -> Any:
        if i == j:
            return matrices[i]
        k = splits[i][j]
        return ops.matmul(product(i, k), product(k + 1, j), out=out if (i, j) == (0, len(matrices) - 1) else None)

    return product(0, len(matrices) - 1)


def chain_matmul(*matrices: Any, out: Any = None) -> Any:
    """Product of matrices (N0, N1), (N1, N2), ... in the order that takes the fewest multiplications."""
    if not matrices:
        raise TypeError("chain_matmul: matrices are missing")
    if len(matrices) == 1:
        return matrices[0] if out is None else ops.copy(matrices[0], out=out)
    return chain("chain_matmul", matrices, vectors=False, out=out)


__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bmm",
    "chain_matmul",
    "dot",
    "einsum",
    "ger",
    "inner",
    "matmul",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "vdot",
]
