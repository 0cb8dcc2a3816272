"""Sorting and order statistics under torch's names and arguments. NaN is larger than any number."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import ops
from fastnn._runtime.tensor import TensorBase, derived
from fastnn.errors import DTypeError, ShapeError
from fastnn.functions.arguments import input_of, into
from fastnn.functions.results import axis_of, pair, plain
from fastnn.ops import sorting
from fastnn.ops.reduction import expanded
from fastnn.tensor import Tensor

# -- sorting


def sort(input: Any, dim: int = -1, descending: bool = False, *, stable: bool = False, out: Any = None) -> Any:
    """The elements sorted along `dim`, and their places: (values, indices). Equal elements keep their order."""
    x = input_of("sort", input)
    return pair("sort", out, *sorting.sort_at(x, axis=axis_of("sort", dim, x), descending=descending))


def argsort(input: Any, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """Places that sort along `dim` (int64). Equal elements keep their order."""
    x = input_of("argsort", input)
    return sorting.argsort(x, axis=axis_of("argsort", dim, x), descending=descending)


def msort(input: Any, *, out: Any = None) -> Tensor:
    """The elements sorted along the first axis."""
    x = input_of("msort", input)
    return into("msort", sorting.sort_at(x, axis=0)[0], out)


def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, *, out: Any = None) -> Any:
    """The `k` largest (or smallest) elements along `dim`, and their places: (values, indices), in sorted order.

    Of equal elements the first ones are taken.
    """
    x = input_of("topk", input)
    axis = axis_of("topk", dim, x)
    return pair("topk", out, *sorting.top_at(x, count=k, axis=axis, descending=largest))


# -- elements picked by place


def _picked(name: str, x: Tensor, places: np.ndarray, axis: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    """Elements at places (whose reduced axis has length 1); the gradient goes there."""
    whole = x.array.reshape(x.shape or (1,))
    values = np.take_along_axis(whole, places, axis)
    shape = expanded(x.shape, (axis,)) if keepdim else tuple(n for a, n in enumerate(x.shape) if a != axis)

    def back(g: np.ndarray) -> np.ndarray:
        dx = np.zeros(whole.shape, g.dtype)
        np.put_along_axis(dx, places, g.reshape(places.shape), axis)
        return dx.reshape(x.shape)

    return (
        derived(x, values.reshape(shape), name, back, False),
        plain(places.reshape(shape).astype(np.int64)),
    )


def _line(name: str, input: Any, dim: int) -> tuple[Tensor, np.ndarray, int]:
    """The input, its array with at least one axis, and the axis."""
    x = input_of(name, input)
    axis = axis_of(name, dim, x)
    array = x.array.reshape(x.shape or (1,))
    if array.shape[axis] == 0 and array.size == 0 and all(n for a, n in enumerate(array.shape) if a != axis):
        raise IndexError(f"{name}: input must have elements along dim {dim}, got shape {x.shape}")
    return x, array, axis


def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """The `k`-th smallest elements along `dim` (from 1), and their places: (values, indices)."""
    x, array, axis = _line("kthvalue", input, dim)
    length = array.shape[axis]
    if not 1 <= k <= max(length, 1):
        raise ValueError(f"kthvalue: k must lie from 1 to {length}, the elements along the dim, got {k}")
    places = np.take(sorting.order(array, axis, False), [k - 1], axis)
    return pair("kthvalue", out, *_picked("kthvalue", x, places, axis, keepdim))


def _middle(array: np.ndarray, axis: int, skip_nan: bool) -> np.ndarray:
    """Places of the lower medians along an axis; of the first NaN, unless those are left out."""
    order = sorting.order(array, axis, False)
    length = array.shape[axis]
    missing = np.isnan(array).sum(axis=axis, keepdims=True) if array.dtype.kind == "f" else np.zeros((), np.int64)
    if skip_nan:
        at = np.maximum(length - missing - 1, 0) // 2
    else:
        at = np.where(missing > 0, length - missing, (length - 1) // 2)
    shape = tuple(1 if a == axis else n for a, n in enumerate(array.shape))
    return np.take_along_axis(order, np.broadcast_to(at, shape), axis)


def _median(name: str, input: Any, dim: int | None, keepdim: bool, out: Any) -> Any:
    skip_nan = name == "nanmedian"
    if dim is not None:
        x, array, axis = _line(name, input, dim)
        return pair(name, out, *_picked(name, x, _middle(array, axis, skip_nan), axis, keepdim))
    x = input_of(name, input)
    if not x.array.size:
        if x.dtype.kind != "f":
            raise IndexError(f"{name}: input must have elements, got shape {x.shape}")
        return into(
            name, derived(x, np.asarray(np.nan, x.dtype), name, lambda g: np.zeros(x.shape, g.dtype), False), out
        )
    flat = x.array.reshape(-1)
    value = flat[_middle(flat, 0, skip_nan)[0]]
    ties = (x.array == value) | ((x.array != x.array) & (value != value))

    def back(g: np.ndarray) -> np.ndarray:
        return np.asarray(np.where(ties, g / ties.sum(), 0), g.dtype)

    return into(name, derived(x, np.asarray(value), name, back, False), out)


def median(input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """The lower of the middle elements: of all, or along `dim` with places, (values, indices). NaN if there is one.

    Of all elements, equal ones share the gradient evenly.
    """
    return _median("median", input, dim, keepdim, out)


def nanmedian(input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """As `median`, of the elements that are not NaN; NaN where all are."""
    return _median("nanmedian", input, dim, keepdim, out)


def mode(input: Any, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """The most frequent elements along `dim`, the smallest of several, and the places of the last such ones."""
    x, array, axis = _line("mode", input, dim)
    order = np.moveaxis(sorting.order(array, axis, False), axis, -1)
    ranked = np.take_along_axis(np.moveaxis(array, axis, -1), order, -1)
    length = ranked.shape[-1]
    if ranked.size:
        number = np.arange(length)
        fresh = np.ones(ranked.shape, np.bool_)
        fresh[..., 1:] = ranked[..., 1:] != ranked[..., :-1]
        start = np.maximum.accumulate(np.where(fresh, number, 0), axis=-1)
        best = np.argmax(number - start, axis=-1)[..., None]
    else:
        best = np.zeros((*ranked.shape[:-1], 1), np.int64)
    places = np.moveaxis(np.take_along_axis(order, best, -1), -1, axis)
    return pair("mode", out, *_picked("mode", x, places, axis, keepdim))


# -- quantiles

INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(name: str, input: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str, out: Any) -> Tensor:
    x = input_of(name, input)
    if x.dtype.kind != "f":
        raise DTypeError(f"{name}: input must be of a floating dtype, got {x.dtype}")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"{name}: interpolation must be one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}")
    given = q.array if isinstance(q, TensorBase) else np.asarray(q, x.dtype)
    if given.ndim > 1:
        raise ShapeError(f"{name}: q must be a number or have one axis, got shape {given.shape}")
    if given.size and not ((given >= 0) & (given <= 1)).all():
        raise ValueError(f"{name}: q must lie from 0 to 1, got {given}")
    if isinstance(q, TensorBase) and given.dtype != x.dtype:
        raise DTypeError(f"{name}: q must have the dtype of input, {x.dtype}, got {given.dtype}")
    if not x.array.size:
        raise ShapeError(f"{name}: input must have elements, got shape {x.shape}")
    axis = 0 if dim is None else axis_of(name, dim, x)
    array = x.array.reshape(-1) if dim is None else x.array.reshape(x.shape or (1,))
    lines = np.moveaxis(array, axis, -1)
    order = sorting.order(lines, lines.ndim - 1, False)
    ranked = np.take_along_axis(lines, order, -1)
    missing = np.isnan(lines).sum(-1, keepdims=True)
    length = lines.shape[-1]
    wanted = given.reshape(-1).astype(x.dtype)
    if name == "nanquantile":
        rank = wanted * np.maximum(length - missing - 1, 0)
        rank = np.where(missing == length, 0, rank)
    else:
        rank = np.where(missing > 0, length - 1, wanted * (length - 1))
    rank = np.broadcast_to(rank, (*lines.shape[:-1], wanted.size)).astype(x.dtype)
    low, high = np.floor(rank).astype(np.int64), np.ceil(rank).astype(np.int64)
    if interpolation == "lower":
        weight = np.zeros_like(rank)
    elif interpolation == "higher":
        weight = np.ones_like(rank)
    elif interpolation == "midpoint":
        weight = np.full_like(rank, 0.5)
    elif interpolation == "nearest":
        low = high = np.rint(rank).astype(np.int64)
        weight = np.zeros_like(rank)
    else:
        weight = rank - low
    below, above = (np.take_along_axis(ranked, k, -1) for k in (low, high))
    value = np.where(low == high, below, below + weight * (above - below))
    value = np.where(weight == 1, above, value)
    # the quantiles' axis comes first, and not at all for a single number
    kept = tuple(n for a, n in enumerate(x.shape) if a != axis) if dim is not None else ()
    if keepdim:
        kept = expanded(x.shape, (axis,) if dim is not None else tuple(range(x.ndim)))
    shape = (*((wanted.size,) if given.ndim else ()), *kept)
    result = np.moveaxis(value, -1, 0).reshape(shape)

    def back(g: np.ndarray) -> np.ndarray:
        own = np.moveaxis(g.reshape(wanted.size, *lines.shape[:-1]), 0, -1)
        dx = np.zeros(lines.shape, g.dtype)
        grid: list[Any] = list(np.indices(own.shape))
        for rank_, share in ((low, 1 - weight), (high, weight)):
            grid[-1] = np.take_along_axis(order, rank_, -1)
            np.add.at(dx, tuple(grid), own * share)
        return np.moveaxis(dx, -1, axis).reshape(x.shape)

    found = derived(x, np.asarray(result, x.dtype), name, back, False)
    if isinstance(q, TensorBase) and q.requires_grad:
        # the rank moves with q, and the result along the line between two elements
        slope = (above - below) * (np.maximum(length - missing - 1, 0) if name == "nanquantile" else length - 1)
        slope = np.where((missing > 0) if name == "quantile" else (missing == length), 0, slope)
        if interpolation != "linear":
            slope = np.zeros_like(slope)

        def back_q(g: np.ndarray) -> np.ndarray:
            own = np.moveaxis(g.reshape(wanted.size, *lines.shape[:-1]), 0, -1)
            return (own * slope).reshape(-1, wanted.size).sum(0).reshape(given.shape).astype(g.dtype)

        found = ops.add(found, derived(q, np.zeros(shape, x.dtype), name, back_q, False))
    return into(name, found, out)


def quantile(
    input: Any,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    out: Any = None,
) -> Tensor:
    """Quantiles along `dim` or of all elements; NaN where there is one.

    Parameters
    ----------
    q : from 0 to 1, a number or several; several make the result's first axis.
    interpolation : between the two elements nearest to the rank ``q * (n - 1)``: ``"linear"``, ``"lower"``,
        ``"higher"``, ``"midpoint"`` or ``"nearest"``.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, out)


def nanquantile(
    input: Any,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    out: Any = None,
) -> Tensor:
    """As `quantile`, of the elements that are not NaN; NaN where all are."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, out)


__all__ = [
    "argsort",
    "kthvalue",
    "median",
    "mode",
    "msort",
    "nanmedian",
    "nanquantile",
    "quantile",
    "sort",
    "topk",
]
