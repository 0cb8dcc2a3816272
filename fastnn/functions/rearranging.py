"""Copies in another arrangement under torch's names and arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import ops
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import DTypeError, ShapeError
from fastnn.functions.arguments import axis, integer, into, one_or_several, tensor_of


def flip(input: Any, *dims: Any, **named: Any) -> Any:
    """The order of elements reversed along some axes."""
    axes = one_or_several(dims) if not named else named["dims"]
    return ops.flip(tensor_of(input), tuple(axes) if isinstance(axes, (tuple, list)) else (axes,))


def fliplr(input: Any) -> Any:
    """The second axis reversed."""
    x = tensor_of(input)
    if x.ndim < 2:
        raise ShapeError(f"fliplr: input must have at least 2 axes, got shape {x.shape}")
    return ops.flip(x, 1)


def flipud(input: Any) -> Any:
    """The first axis reversed."""
    x = tensor_of(input)
    if x.ndim < 1:
        raise ShapeError("flipud: input must have at least 1 axis, got shape ()")
    return ops.flip(x, 0)


def rot90(input: Any, k: int = 1, dims: Any = (0, 1)) -> Any:
    """Turned by `k` quarters in the plane of two axes, from the first towards the second."""
    x = tensor_of(input)
    if len(dims) != 2 or x.ndim < 2:
        raise ShapeError(f"rot90: dims must name 2 axes of an input with at least 2, got {tuple(dims)} of {x.shape}")
    one, two = (axis("rot90", d, x.ndim, "dims") for d in dims)
    if one == two:
        raise ShapeError(f"rot90: dims must name different axes, got {tuple(dims)}")
    turns = integer("rot90: k", k) % 4
    if turns == 0:
        return ops.copy(x)
    if turns == 2:
        return ops.flip(x, (one, two))
    return ops.swapaxes(ops.flip(x, two if turns == 1 else one), one, two)


def roll(input: Any, shifts: Any, dims: Any = None) -> Any:
    """Elements moved along axes, those that leave at the end coming back at the start; without axes in C order."""
    shifts = tuple(shifts) if isinstance(shifts, (tuple, list)) else (shifts,)
    if dims is None or (isinstance(dims, (tuple, list)) and not dims):
        if len(shifts) != 1:
            raise ShapeError(f"roll: shifts must be one number where no dims are given, got {shifts}")
        return ops.roll(tensor_of(input), shifts[0])
    dims = tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    if len(shifts) != len(dims):
        raise ShapeError(f"roll: shifts and dims must go together, got {shifts} and {dims}")
    return ops.roll(tensor_of(input), shifts, dims)


def tile(input: Any, *dims: Any, **named: Any) -> Any:
    """The input as a tile, laid so many times along each axis; missing axes are new ones in front."""
    return ops.tile(tensor_of(input), tuple(named["dims"]) if named else one_or_several(dims))


def repeat(self: Any, *repeats: Any, **named: Any) -> Any:
    """As `tile`, with a number for each axis at least."""
    counts = tuple(named["repeats"]) if named else one_or_several(repeats)
    if len(counts) < self.ndim:
        raise ShapeError(f"repeat: repeats must hold a number for each of the {self.ndim} axes, got {counts}")
    return ops.tile(self, counts)


def repeat_interleave(
    input: Any, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Any:
    """Each slice along an axis several times in a row; without an axis each element.

    Parameters
    ----------
    repeats : how often, one number or one for each slice. Without it the input holds these numbers, and the indices
        repeated so are the result.
    output_size : the result's extent, which is checked.
    """
    x = tensor_of(input)
    if repeats is None:
        if x.ndim != 1:
            raise ShapeError(f"repeat_interleave: repeats must have 1 axis, got shape {x.shape}")
        return tensor_of(np.repeat(np.arange(x.numel()), _counts(x.array)))
    counts = np.asarray(repeats.array if isinstance(repeats, TensorBase) else repeats)
    if dim is None:
        x, dim = ops.reshape(x, (-1,)), 0
    place = axis("repeat_interleave", dim, x.ndim)
    if not x.ndim:
        x = ops.reshape(x, (1,))
    extent = x.shape[place]
    counts = _counts(counts)
    if counts.size == 1:
        made = ops.repeat(x, int(counts.reshape(())), place)
    else:
        if counts.shape != (extent,):
            raise ShapeError(f"repeat_interleave: repeats must have shape ({extent},), got {counts.shape}")
        made = ops.take(x, np.repeat(np.arange(extent), counts), place)
    if output_size is not None and made.shape[place] != output_size:
        raise ValueError(f"repeat_interleave: output_size must be {made.shape[place]}, got {output_size}")
    return made


def _counts(repeats: np.ndarray) -> np.ndarray:
    if repeats.dtype.kind not in "iu":
        raise DTypeError(f"repeat_interleave: repeats must hold integers, got dtype {repeats.dtype}")
    if repeats.size and repeats.min() < 0:
        raise ValueError(f"repeat_interleave: repeats must not be negative, got {repeats.min()}")
    return repeats


def tril(input: Any, diagonal: int = 0, *, out: Any = None) -> Any:
    """Matrices with 0 above a diagonal."""
    return into("tril", ops.tril(tensor_of(input), diagonal), out)


def triu(input: Any, diagonal: int = 0, *, out: Any = None) -> Any:
    """Matrices with 0 below a diagonal."""
    return into("triu", ops.triu(tensor_of(input), diagonal), out)


def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Matrices with the last axis on a diagonal, 0 elsewhere."""
    return ops.diag_embed(tensor_of(input), offset, dim1, dim2)


def diag(input: Any, diagonal: int = 0, *, out: Any = None) -> Any:
    """A matrix with the vector on its diagonal, or a copy of a matrix' diagonal."""
    x = tensor_of(input)
    if x.ndim == 1:
        made = ops.diag_embed(x, diagonal, 0, 1)
    elif x.ndim == 2:
        made = ops.copy(ops.diagonal(x, diagonal))
    else:
        raise ShapeError(f"diag: input must have 1 or 2 axes, got shape {x.shape}")
    return into("diag", made, out)


def diagflat(input: Any, offset: int = 0) -> Any:
    """A matrix with all elements, in C order, on its diagonal."""
    return ops.diag_embed(ops.reshape(tensor_of(input), (-1,)), offset, 0, 1)


def trace(input: Any) -> Any:
    """The sum of a matrix' diagonal."""
    x = tensor_of(input)
    if x.ndim != 2:
        raise ShapeError(f"trace: input must have 2 axes, got shape {x.shape}")
    if x.dtype.kind in "bu":
        x = x.to(np.int64)
    return ops.sum(ops.diagonal(x))


def kron(input: Any, other: Any, *, out: Any = None) -> Any:
    """The Kronecker product: blocks of `other`, one for each element of `input` and scaled by it."""
    x, y = tensor_of(input), tensor_of(other)
    ndim = max(x.ndim, y.ndim)
    one, two = (1,) * (ndim - x.ndim) + x.shape, (1,) * (ndim - y.ndim) + y.shape
    left = ops.reshape(x, [e for n in one for e in (n, 1)])
    right = ops.reshape(y, [e for n in two for e in (1, n)])
    product = left * right
    return into("kron", ops.reshape(product, [n * m for n, m in zip(one, two, strict=True)]), out)


__all__ = [
    "diag",
    "diag_embed",
    "diagflat",
    "flip",
    "fliplr",
    "flipud",
    "kron",
    "repeat",
    "repeat_interleave",
    "roll",
    "rot90",
    "tile",
    "trace",
    "tril",
    "triu",
]
