"""Distinct elements, bins and counts under torch's names and arguments. No gradients go through them."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from fastnn._runtime.tensor import TensorBase
from fastnn.errors import ArgumentError, DTypeError, ShapeError
from fastnn.functions.arguments import floats_of, input_of, into
from fastnn.functions.results import axis_of, plain
from fastnn.tensor import Tensor


def _several(values: np.ndarray, inverse: np.ndarray | None, counts: np.ndarray | None) -> Any:
    found = tuple(plain(a) for a in (values, inverse, counts) if a is not None)
    return found if len(found) > 1 else found[0]


def unique(
    input: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Distinct elements in order, or distinct slices along `dim`.

    Returns
    -------
    The elements; with `return_inverse` also where each element of the input is among them (int64, the input's shape, or
    one for each slice); with `return_counts` also how often each occurs (int64).
    """
    x = input_of("unique", input)
    axis = None if dim is None else axis_of("unique", dim, x)
    if axis is not None and x.array.size == 0:
        if x.shape[axis]:
            raise ShapeError(f"unique: slices along dim must have elements, got shape {x.shape}")
        none = np.zeros(0, np.int64)
        return _several(x.array.copy(), none if return_inverse else None, none if return_counts else None)
    values, inverse, counts = np.unique(x.array, return_inverse=True, return_counts=True, axis=axis, equal_nan=False)
    inverse = inverse.reshape(x.shape if axis is None else (x.shape[axis],))
    return _several(
        values,
        inverse.astype(np.int64) if return_inverse else None,
        counts.astype(np.int64) if return_counts else None,
    )


def unique_consecutive(
    input: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """As `unique`, but only equal neighbours count as one."""
    x = input_of("unique_consecutive", input)
    axis = None if dim is None else axis_of("unique_consecutive", dim, x)
    lines = x.array.reshape(-1) if axis is None else np.moveaxis(x.array.reshape(x.shape or (1,)), axis, 0)
    count = len(lines)
    fresh = np.ones(count, np.bool_)
    if count:
        fresh[1:] = (lines[1:] != lines[:-1]).any(axis=tuple(range(1, lines.ndim)))
    starts = np.flatnonzero(fresh)
    values = lines[starts]
    inverse = np.cumsum(fresh) - 1
    counts = np.diff(np.append(starts, count))
    if axis is None:
        inverse = inverse.reshape(x.shape)
    else:
        values = np.moveaxis(values, 0, axis)
    return _several(
        values,
        inverse.astype(np.int64) if return_inverse else None,
        counts.astype(np.int64) if return_counts else None,
    )


def _sides(name: str, right: bool, side: str | None) -> str:
    if side is None:
        return "right" if right else "left"
    if side not in ("left", "right"):
        raise ValueError(f"{name}: side must be 'left' or 'right', got {side!r}")
    if right and side == "left":
        raise ValueError(f"{name}: side 'left' and right=True contradict each other")
    return side


def searchsorted(
    sorted_sequence: Any,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
    out: Any = None,
) -> Tensor:
    """Where each element of `input` would be put into a sorted sequence.

    Parameters
    ----------
    sorted_sequence : (N), or (*, N) to match an `input` of shape (*, M) line by line.
    right, side : behind equal elements (``"right"``) or before them.
    sorter : places that sort the sequence, its shape.
    out_int32 : int32 instead of int64.
    """
    side = _sides("searchsorted", right, side)
    sequence = input_of("searchsorted", sorted_sequence).array
    number = not isinstance(input, TensorBase)
    wanted = (
        np.asarray(input, sequence.dtype if number and sequence.dtype.kind == "f" else None) if number else input.array
    )
    if sorter is not None:
        places = input_of("searchsorted", sorter).array
        if places.shape != sequence.shape:
            raise ShapeError(f"searchsorted: sorter must have shape {sequence.shape}, got {places.shape}")
        sequence = np.take_along_axis(sequence, places, -1)
    dtype = np.int32 if out_int32 else np.int64
    if sequence.ndim == 1:
        found = np.searchsorted(sequence, wanted, side=side)  # type: ignore[call-overload]
    else:
        if sequence.shape[:-1] != wanted.shape[:-1] or not sequence.ndim:
            raise ShapeError(
                f"searchsorted: input must have shape {(*sequence.shape[:-1], 'M')} to match sorted_sequence "
                f"{sequence.shape}, got {wanted.shape}"
            )
        found = np.empty(wanted.shape, dtype)
        for index in np.ndindex(*sequence.shape[:-1]):
            found[index] = np.searchsorted(sequence[index], wanted[index], side=side)  # type: ignore[call-overload]
    return into("searchsorted", plain(np.asarray(found, dtype)), out)


def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False, out: Any = None) -> Tensor:
    """Between which `boundaries` (N) each element lies: 0 to N; ``right``: a boundary belongs to the bucket above."""
    edges = input_of("bucketize", boundaries)
    if edges.ndim != 1:
        raise ShapeError(f"bucketize: boundaries must have one axis, got shape {edges.shape}")
    return searchsorted(edges, input, out_int32=out_int32, right=right, out=out)


def histc(input: Any, bins: int = 100, min: float = 0, max: float = 0, *, out: Any = None) -> Tensor:
    """How many elements lie in each of `bins` equal bins from `min` to `max` (both 0: the extremes), shape (bins).

    Elements outside, and NaN, count nowhere.
    """
    x = input_of("histc", input)
    if bins <= 0:
        raise ValueError(f"histc: bins must be positive, got {bins}")
    low, high = float(min), float(max)
    values = x.array.reshape(-1)
    if low == high and values.size:
        low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"histc: the range must be finite, got {low} to {high}")
    if low > high:
        raise ValueError(f"histc: max must not be less than min, got {min} and {max}")
    values = values[(values >= low) & (values <= high)]
    place = ((values - x.dtype.type(low)) * bins / x.dtype.type(high - low)).astype(np.int64)
    counts = np.bincount(np.minimum(place, bins - 1), minlength=bins)
    return into("histc", plain(counts.astype(x.dtype)), out)


_Histogram = namedtuple("_Histogram", "hist bin_edges")


def histogram(
    input: Any,
    bins: Any = 100,
    *,
    range: tuple[float, float] | None = None,
    weight: Any = None,
    density: bool = False,
    out: Any = None,
) -> Any:
    """How many elements lie in each bin, or the sum of their `weight` there: a tuple (hist, bin_edges).

    Parameters
    ----------
    input : any shape, float32 or float64.
    bins : a number of equal bins, or their edges, a vector that does not decrease, of the input's dtype. A bin holds
        its lower edge, the last one both.
    range : where equal bins begin and end (default: the extremes).
    density : divide by the total and the bins' widths. Elements outside count nowhere.
    """
    x = floats_of("histogram", input)
    edges: Any = input_of("histogram", bins).array if isinstance(bins, TensorBase) else bins
    if isinstance(edges, np.ndarray):
        if range is not None:
            raise ArgumentError("histogram: range must be None where bins holds edges")
        if edges.ndim != 1 or edges.dtype != x.dtype or edges.size < 1 or np.any(edges[1:] < edges[:-1]):
            raise ArgumentError(
                f"histogram: bins must be a number or a vector of increasing {x.dtype}, got shape {edges.shape} of "
                f"{edges.dtype}"
            )
    else:
        if bins <= 0:
            raise ArgumentError(f"histogram: bins must be positive, got {bins}")
        low, high = (x.array.min(initial=np.inf), x.array.max(initial=-np.inf)) if range is None else range
        if not x.array.size and range is None:
            low, high = 0.0, 1.0
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise ArgumentError(f"histogram: the range must be finite and not decrease, got {low} to {high}")
        edges = np.linspace(*((low - 0.5, high + 0.5) if low == high else (low, high)), bins + 1, dtype=x.dtype)
    own = None if weight is None else input_of("histogram", weight).array
    if own is not None and (own.shape != x.shape or own.dtype != x.dtype):
        wanted = f"shape {x.shape} and dtype {x.dtype}"
        raise ShapeError(f"histogram: weight must have {wanted}, got {own.shape} and {own.dtype}")
    values = x.array.reshape(-1)
    place = np.searchsorted(edges, values, side="right") - 1
    place[values == edges[-1]] = len(edges) - 2
    inside = (place >= 0) & (place < len(edges) - 1) & (values == values)
    counts = np.bincount(place[inside], None if own is None else own.reshape(-1)[inside], len(edges) - 1)
    if density:
        with np.errstate(all="ignore"):
            counts = counts / (counts.sum() * np.diff(edges))
    first, second = (None, None) if out is None else out
    return _Histogram(into("histogram", plain(counts.astype(x.dtype)), first), into("histogram", plain(edges), second))


def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each integer from 0 on occurs in a vector, or the sum of its `weights`; at least `minlength` counts."""
    x = input_of("bincount", input).array
    if x.ndim != 1 or x.dtype.kind not in "iu":
        raise DTypeError(f"bincount: input must be a vector of integers, got shape {x.shape} and dtype {x.dtype}")
    if x.size and x.min() < 0:
        raise ValueError("bincount: input must not hold negative numbers")
    if minlength < 0:
        raise ValueError(f"bincount: minlength must not be negative, got {minlength}")
    if weights is None:
        return plain(np.bincount(x, minlength=minlength).astype(np.int64))
    given = input_of("bincount", weights).array
    if given.shape != x.shape:
        raise ShapeError(f"bincount: weights must have shape {x.shape}, got {given.shape}")
    counts = np.bincount(x, weights=given, minlength=minlength)
    return plain(counts.astype(np.float32 if given.dtype == np.float32 else np.float64))


__all__ = ["bincount", "bucketize", "histc", "histogram", "searchsorted", "unique", "unique_consecutive"]
