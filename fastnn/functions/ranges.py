"""Ranges, grids and indices under torch's names and arguments; options are those of `fastnn.functions.creation`."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from fastnn import _default_dtype, ops
from fastnn._numpy_views import integer, shape_argument
from fastnn._runtime.capture import frozen
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import ArgumentError, DTypeError, ShapeError
from fastnn.functions._options import KERNEL, check_place, dtype_argument, finished, target
from fastnn.functions.joining import stack
from fastnn.tensor import Tensor, _numbers


def _number(name: str, what: str, value: Any) -> Any:
    """A Python number, also from a Tensor without axes."""
    if type(value) is int or type(value) is float:
        return value
    number = _numbers(name, value)
    if number.ndim:
        raise ShapeError(f"{name}: {what} must be a number, got shape {number.shape}")
    return number.item()


def _range_length(name: str, start: Any, end: Any, step: Any, integers: bool) -> int:
    if step == 0:
        raise ArgumentError(f"{name}: step must not be zero")
    if not all(math.isfinite(x) for x in (start, end)):
        raise ArgumentError(f"{name}: start and end must be finite, got {start} and {end}")
    if (end - start) * (1 if step > 0 else -1) < 0:
        raise ArgumentError(f"{name}: end must lie beyond start in the direction of step, got {start}, {end}, {step}")
    if integers:
        return int(-((int(start) - int(end)) // int(step))) if int(step) else 0
    return math.ceil((end - start) / step)


def arange(
    *args: Any, start: Any = None, end: Any = None, step: Any = None, out: Any = None, dtype: Any = None,
    layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """``start, start + step, ...`` below `end`: ``arange(end)`` or ``arange(start, end, step=1)``.

    The dtype is int64 if all numbers are integers, else the default dtype.
    """
    check_place("arange", device, layout)
    given = list(args)
    if len(given) > 3:
        raise TypeError(f"arange: takes at most 3 numbers, got {len(given)}")
    if len(given) == 1 and end is None:
        given = [0 if start is None else start, given[0]]
    elif len(given) == 1 and start is None:
        given = [given[0], end]
    elif not given:
        given = [0 if start is None else start, end]
    if len(given) < 2 or given[1] is None:
        raise TypeError("arange: end is missing")
    if len(given) == 2:
        given.append(1 if step is None else step)
    first, last, by = (_number("arange", w, x) for w, x in zip(("start", "end", "step"), given, strict=True))
    whole = all(isinstance(x, int) for x in (first, last, by))
    default = np.dtype(np.int64) if whole else _default_dtype.floating
    wanted = dtype_argument("arange", dtype, out.dtype if isinstance(out, TensorBase) else default)
    if wanted == np.int64:
        first, last, by = int(first), int(last), int(by)
    length = _range_length("arange", first, last, by, wanted == np.int64)
    if out is None and wanted == np.int64:
        numbers = np.arange(length, dtype=np.int64)
        if by != 1:
            numbers *= by
        if first:
            numbers += first
        return finished("arange", frozen(numbers), None, requires_grad)
    array = target("arange", (length,), dtype, wanted, out)
    if array.dtype in KERNEL:
        ops.ramp(array, float(first), float(by), out=array)
    elif wanted.kind in "iub":
        array[...] = np.arange(length, dtype=np.int64) * int(by) + int(first)
    else:
        array[...] = np.arange(length, dtype=np.float64) * by + first
    if out is None and array.dtype not in KERNEL:
        frozen(array)
    return finished("arange", array, out, requires_grad)


def _spaced(name: str, start: Any, end: Any, steps: Any, dtype: Any, out: Any) -> tuple[np.ndarray, Any, Any]:
    """Memory for a result, and the ends of what steps evenly; for a dtype of integers they are integers."""
    count = integer(f"{name}: steps", steps)
    if count < 0:
        raise ArgumentError(f"{name}: steps must be at least 0, got {count}")
    first, last = _number(name, "start", start), _number(name, "end", end)
    mixed = any(isinstance(x, complex) for x in (first, last))
    array = target(name, (count,), dtype, _default_dtype.complex_ if mixed else _default_dtype.floating, out)
    if array.dtype.kind in "iu":
        first, last = int(first), int(last)
    return array, first, last


def _steps(first: Any, last: Any, count: int) -> np.ndarray:
    """Numbers in float64 (or complex128) that step evenly; each half is counted from its own end."""
    if count <= 1:
        return np.full(count, first)
    places = np.arange(count)
    by = (last - first) / (count - 1)
    return np.where(places < count // 2, first + by * places, last - by * (count - 1 - places))


def linspace(
    start: Any, end: Any, steps: Any, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """`steps` numbers from `start` to `end`, both included, evenly spaced."""
    check_place("linspace", device, layout)
    array, first, last = _spaced("linspace", start, end, steps, dtype, out)
    count = array.size
    if array.dtype in KERNEL and count > 1:
        by = (last - first) / (count - 1)
        ops.ramp(array, float(first), by, float(last), float(count // 2), count - 1.0, out=array)
    else:
        array[...] = _steps(first, last, count)
        if out is None:
            frozen(array)
    return finished("linspace", array, out, requires_grad)


def logspace(
    start: Any, end: Any, steps: Any, base: float = 10.0, *, out: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """`base` to the power of each of `steps` evenly spaced numbers from `start` to `end`."""
    check_place("logspace", device, layout)
    array, first, last = _spaced("logspace", start, end, steps, dtype, out)
    powers = _steps(first, last, array.size)
    with np.errstate(all="ignore"):
        array[...] = np.power(float(base), powers).astype(array.dtype)
    return finished("logspace", frozen(array) if out is None else array, out, requires_grad)


# -- matrices and indices


def eye(
    n: Any, m: Any = None, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A matrix of n rows and m (default: n) columns with 1 on the diagonal, else 0."""
    check_place("eye", device, layout)
    shape = shape_argument("eye: n and m", (n, n if m is None else m), 0)
    array = target("eye", shape, dtype, _default_dtype.floating, out)
    array[...] = 0
    diagonal = np.arange(min(shape))
    array[diagonal, diagonal] = 1
    return finished("eye", frozen(array) if out is None else array, out, requires_grad)


def _triangle(name: str, row: Any, col: Any, offset: Any, dtype: Any, upper: bool) -> Tensor:
    shape = shape_argument(f"{name}: row and col", (row, col), 0)
    offset = integer(f"{name}: offset", offset)
    i, j = np.arange(shape[0])[:, None], np.arange(shape[1])
    chosen = j - i >= offset if upper else j - i <= offset
    found = np.stack(np.nonzero(chosen)) if chosen.size else np.empty((2, 0), np.int64)
    return finished(name, found.astype(dtype_argument(name, dtype, np.int64)), None)


def tril_indices(
    row: Any, col: Any, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Row and column numbers (2, count) of a matrix's elements on and below diagonal `offset`, row by row."""
    check_place("tril_indices", device, layout)
    return _triangle("tril_indices", row, col, offset, dtype, False)


def triu_indices(
    row: Any, col: Any, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Row and column numbers (2, count) of a matrix's elements on and above diagonal `offset`, row by row."""
    check_place("triu_indices", device, layout)
    return _triangle("triu_indices", row, col, offset, dtype, True)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Each of some 1-D Tensors as a view over the grid of all; ``indexing="xy"`` swaps the first two axes."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise ArgumentError(f"meshgrid: indexing must be 'ij' or 'xy', got {indexing!r}")
    if not tensors:
        raise ArgumentError("meshgrid: at least one Tensor must be given")
    for place, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise TypeError(f"meshgrid: tensor {place} must be a Tensor, got {type(x).__name__}")
        if x.ndim > 1:
            raise ShapeError(f"meshgrid: tensor {place} must have at most one axis, got shape {x.shape}")
        if x.dtype != tensors[0].dtype:
            raise DTypeError(f"meshgrid: tensor {place} must have dtype {tensors[0].dtype}, got {x.dtype}")
    axes = list(range(len(tensors)))
    if indexing == "xy" and len(tensors) > 1:
        axes[:2] = [1, 0]
    extents = [x.numel() for x in tensors]
    shape = [extents[axes.index(place)] for place in range(len(tensors))]
    grids = []
    for x, axis, extent in zip(tensors, axes, extents, strict=True):
        lead = [1] * len(tensors)
        lead[axis] = extent
        grids.append(x.reshape(lead).expand(shape))
    return tuple(grids)


def cartesian_prod(*tensors: Any) -> Tensor:
    """All rows (count, n) that take one number from each of n 1-D Tensors, the last changing fastest."""
    for place, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise TypeError(f"cartesian_prod: tensor {place} must be a Tensor, got {type(x).__name__}")
        if x.ndim != 1:
            raise ShapeError(f"cartesian_prod: tensor {place} must have one axis, got shape {x.shape}")
    if len(tensors) == 1:
        only: Tensor = tensors[0]
        return only
    return stack([grid.reshape(-1) for grid in meshgrid(*tensors)], 1)


def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All rows (count, r) of elements of a 1-D Tensor in their order, none (or any) taken again."""
    if not isinstance(input, Tensor):
        raise TypeError(f"combinations: input must be a Tensor, got {type(input).__name__}")
    if input.ndim != 1:
        raise ShapeError(f"combinations: input must have one axis, got shape {input.shape}")
    count = integer("combinations: r", r)
    if count < 0:
        raise ArgumentError(f"combinations: r must be at least 0, got {count}")
    if count == 0:
        return finished("combinations", np.empty(0, input.dtype), None)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(len(input)), count)), np.int64).reshape(-1, count)
    return input[rows]


__all__ = [
    "arange",
    "cartesian_prod",
    "combinations",
    "eye",
    "linspace",
    "logspace",
    "meshgrid",
    "tril_indices",
    "triu_indices",
]
