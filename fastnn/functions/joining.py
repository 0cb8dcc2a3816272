"""Tensors joined, under torch's names and arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import ops
from fastnn._runtime.dispatch import call_on
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import ShapeError
from fastnn.functions.arguments import axis, into, one_or_several, tensor_of
from fastnn.functions.shaping import atleast_1d, atleast_2d, atleast_3d, diagonal, unbind
from fastnn.ops.joining import MOST

_concatenate, _stack = ops.concatenate, ops.stack


def _sequence(name: str, tensors: Any) -> list[Any]:
    if isinstance(tensors, TensorBase):
        tensors = unbind(tensors)
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(f"{name}: tensors must be a sequence of Tensors, got {type(tensors).__name__}")
    if not tensors:
        raise ValueError(f"{name}: tensors must hold at least one Tensor, got none")
    return [x if isinstance(x, TensorBase) else tensor_of(x) for x in tensors]


def cat(tensors: Any, dim: int = 0, *, out: Any = None) -> Any:
    """Tensors of the same shape but for one axis, one after the other along it; empty vectors are skipped."""
    try:
        if out is None and type(tensors) in (list, tuple) and 0 < len(tensors) <= MOST:
            made = call_on(_concatenate, tensors, dim)
            return made if isinstance(made, TensorBase) else tensor_of(made)
        return into("cat", _concatenate(*_sequence("cat", tensors), axis=dim), out)
    except (ShapeError, IndexError):
        given = _sequence("cat", tensors)
        kept = [x for x in given if x.shape != (0,)]
        if not kept or len(kept) == len(given):
            raise
        dtype = np.result_type(*(x.dtype for x in given))
        made = _concatenate(*kept, axis=dim)
        return into("cat", made if made.dtype == dtype else made.to(dtype), out)


def concat(tensors: Any, dim: int = 0, *, out: Any = None) -> Any:
    """As `cat`."""
    return cat(tensors, dim, out=out)


def concatenate(tensors: Any, dim: int = 0, *, axis: int | None = None, out: Any = None) -> Any:
    """As `cat`; NumPy's name for the axis is taken too."""
    return cat(tensors, dim if axis is None else axis, out=out)


def stack(tensors: Any, dim: int = 0, *, out: Any = None) -> Any:
    """Tensors of one shape side by side along a new axis."""
    if out is None and type(tensors) in (list, tuple) and 0 < len(tensors) <= MOST:
        made = call_on(_stack, tensors, dim)
        return made if isinstance(made, TensorBase) else tensor_of(made)
    return into("stack", _stack(*_sequence("stack", tensors), axis=dim), out)


def hstack(tensors: Any, *, out: Any = None) -> Any:
    """Joined along the second axis; vectors along the first."""
    given = atleast_1d(_sequence("hstack", tensors))
    return cat(given, 0 if given[0].ndim == 1 else 1, out=out)


def vstack(tensors: Any, *, out: Any = None) -> Any:
    """Joined along the first axis, vectors as rows."""
    return cat(atleast_2d(_sequence("vstack", tensors)), 0, out=out)


row_stack = vstack


def dstack(tensors: Any, *, out: Any = None) -> Any:
    """Joined along the third axis, (M, N) taken as (M, N, 1) and (N) as (1, N, 1)."""
    return cat(atleast_3d(_sequence("dstack", tensors)), 2, out=out)


def column_stack(tensors: Any, *, out: Any = None) -> Any:
    """Joined along the second axis, vectors as columns."""
    given = [x if x.ndim > 1 else x.reshape(x.numel(), 1) for x in _sequence("column_stack", tensors)]
    return cat(given, 1, out=out)


def block_diag(*tensors: Any) -> Any:
    """A matrix with the given ones (vectors as rows, numbers as 1x1) on its diagonal, 0 elsewhere."""
    given = [tensor_of(x) for x in one_or_several(tensors)]
    for i, x in enumerate(given):
        if x.ndim > 2:
            raise ShapeError(f"block_diag: tensor {i} must have at most 2 axes, got shape {x.shape}")
    blocks = atleast_2d(given)
    dtype = np.result_type(*(x.dtype for x in blocks))
    width = sum(x.shape[1] for x in blocks)
    rows, start = [], 0
    for x in blocks:
        end = start + x.shape[1]
        rows.append(ops.pad(x if x.dtype == dtype else x.to(dtype), ((0, 0), (start, width - end))))
        start = end
    return cat(rows, 0)


def select_scatter(input: Any, src: Any, dim: int, index: int) -> Any:
    """A copy of the input with `src` in the place of the slice at `index` along an axis."""
    x = tensor_of(input)
    place = axis("select_scatter", dim, x.ndim)
    extent = x.shape[place] if x.ndim else 0
    if not -extent <= index < extent:
        raise IndexError(f"select_scatter: index must lie from {-extent} to {extent - 1}, got {index}")
    where: Any = (*(slice(None),) * place, index, ...)
    return _replaced("select_scatter", x, lambda a: a[where], src)


def slice_scatter(
    input: Any,
    src: Any,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
    *,
    out: Any = None,
) -> Any:
    """A copy of the input with `src` in the place of the slices from `start` to `end` along an axis."""
    x = tensor_of(input)
    if step <= 0:
        raise ValueError(f"slice_scatter: step must be positive, got {step}")
    place = axis("slice_scatter", dim, x.ndim)
    made = _replaced("slice_scatter", x, lambda a: a[(*(slice(None),) * place, slice(start, end, step))], src)
    return into("slice_scatter", made, out)


def diagonal_scatter(input: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """A copy of the input with `src` in the place of a diagonal."""
    return _replaced("diagonal_scatter", tensor_of(input), lambda a: diagonal(a, offset, dim1, dim2), src)


def _replaced(name: str, x: Any, region: Callable[[Any], Any], src: Any) -> Any:
    """A copy with `src` in the place of a view of it."""
    made, part = clone(x), tensor_of(src)
    place = region(made)
    if part.shape != place.shape:
        raise ShapeError(f"{name}: src must have shape {place.shape}, got {part.shape}")
    place[...] = part
    return made


def clone(input: Any, *, memory_format: Any = None) -> Any:
    """A copy that stays on the tape, laid out in memory as the input is."""
    x = tensor_of(input)
    if memory_format is not None and "contiguous" in str(memory_format):
        return ops.reshape(x, x.shape, True)
    return ops.copy(x)


def contiguous(self: Any, memory_format: Any = None) -> Any:
    """The Tensor itself if its elements lie in C order, else a copy in which they do."""
    return self if self.array.flags.c_contiguous else ops.reshape(self, self.shape, True)


__all__ = [
    "block_diag",
    "cat",
    "clone",
    "column_stack",
    "concat",
    "concatenate",
    "contiguous",
    "diagonal_scatter",
    "dstack",
    "hstack",
    "row_stack",
    "select_scatter",
    "slice_scatter",
    "stack",
    "vstack",
]
