"""Drawing into arrays, and the checks of what is drawn."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastnn import ops
from fastnn._numpy_views import integer
from fastnn.errors import ArgumentError, DTypeError
from fastnn.functions._options import KERNEL, plain_size
from fastnn.ops.sampling import range_cells
from fastnn.random import default_generator, generator_argument
from fastnn.tensor import Tensor, from_numpy

# One element for all: what an op that only asks for a shape is shown.
_ZERO = np.zeros((), np.float32)
_INTEGERS = {np.dtype(name): name for name in ("int32", "int64")}
_MOST_KNOWN = 256
_known: dict[tuple[int, ...], Tensor] = {}


def _shown(shape: tuple[int, ...]) -> np.ndarray:
    """An array of a shape that takes no memory."""
    return np.ndarray(shape, np.float32, _ZERO, 0, (0,) * len(shape))


def model_of(size: tuple[Any, ...]) -> Tensor | None:
    """A Tensor of a plain size, to be drawn into the shape of; None where the size needs to be looked at closer.

    The dtype is float32. These are kept, since most calls bring a size that came before.
    """
    shape = plain_size(size)
    if shape is None:
        return None
    found = _known.get(shape)
    if found is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        found = _known[shape] = from_numpy(_shown(shape))
    return found


def draw(name: str, array: np.ndarray, generator: Any, *own: float) -> np.ndarray:
    """Fill an array with what an op draws; dtypes without kernels get float32's numbers."""
    op = getattr(ops, name)
    cells = (default_generator if generator is None else generator_argument(name, generator)).cells()
    if array.dtype in KERNEL:
        op(array, *own, *cells, out=array)
    else:
        with np.errstate(all="ignore"):
            array[...] = op(_shown(array.shape), *own, *cells)
    return array


def draw_integers(array: np.ndarray, low: int, high: int, generator: Any) -> np.ndarray:
    """Fill an array with integers from [low, high)."""
    cells = range_cells(low, high), generator_argument("randint", generator).cells()
    kind = _INTEGERS.get(array.dtype)
    model = model_of(array.shape)
    shown = _shown(array.shape) if model is None else model.array
    if kind is not None:
        ops.integers(shown, kind, *cells[0].values(), *cells[1], out=array)
    else:
        array[...] = ops.integers(shown, "int64", *cells[0].values(), *cells[1])
    return array


def floating(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind != "f":
        raise DTypeError(f"{name}: dtype must be a floating one, got {dtype}")


@functools.cache
def limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The least and the largest of the integers that random ones of a dtype are drawn from."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind in "iu":
        own = np.iinfo(dtype)
        return int(own.min), int(min(own.max, (1 << 63) - 1))
    if dtype.kind == "f":
        whole = 1 << (np.finfo(dtype).nmant + 1)
        return -whole, whole
    raise DTypeError(f"random integers: dtype must not be complex, got {dtype}")


def check_range(name: str, low: Any, high: Any, dtype: np.dtype[Any]) -> tuple[int, int]:
    if type(low) is not int or type(high) is not int:
        low, high = (integer(f"{name}: {w}", int(x) if isinstance(x, float) and x.is_integer() else x)
                     for w, x in (("low", low), ("high", high)))  # fmt: skip
    if low >= high:
        raise ArgumentError(f"{name}: low must be less than high, got {low} and {high}")
    least, most = limits(dtype)
    if low < least or high - 1 > most:
        raise ArgumentError(f"{name}: low and high - 1 must lie from {least} to {most} for {dtype}, got {low}, {high}")
    return low, high


def check_std(name: str, std: Any) -> None:
    if not isinstance(std, np.ndarray):
        if not std >= 0:
            raise ArgumentError(f"{name}: std must be at least 0, got {std}")
    elif std.size and not std.min() >= 0:
        raise ArgumentError(f"{name}: all elements of std must be at least 0, got {std.min()}")


def check_probability(name: str, p: Any) -> None:
    least, most = (p.min(initial=0), p.max(initial=0)) if isinstance(p, np.ndarray) else (p, p)
    if not (least >= 0 and most <= 1):
        raise ArgumentError(f"{name}: p must lie from 0 to 1, got {most if least >= 0 else least}")


def coins(name: str, array: np.ndarray, p: np.ndarray, generator: Any) -> None:
    """Write 1 with the probability that `p` gives, broadcast, else 0."""
    check_probability(name, p)
    kind = p.dtype if p.dtype in KERNEL else np.dtype(np.float32)
    given = p.astype(kind, copy=False)
    if given.shape != array.shape:
        given = np.broadcast_to(given, array.shape)
    cells = generator_argument(name, generator).cells()
    if array.dtype == kind:
        ops.bernoulli_each(given, *cells, out=array)
    else:
        array[...] = ops.bernoulli_each(given, *cells)
