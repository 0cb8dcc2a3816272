"""Running sums and their kin under torch's names and arguments, and sums of differences and areas."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import functions, ops
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import ShapeError
from fastnn.functions.arguments import input_of, into
from fastnn.functions.reductions import _as, _summable, sum
from fastnn.functions.results import axis_of, call, pair, plain
from fastnn.ops import scan
from fastnn.tensor import Tensor


def cumsum(input: Any, dim: int, *, dtype: Any = None, out: Any = None) -> Tensor:
    """Sums of the elements up to each one along `dim`. Integers and bools add up as int64; `dtype`: converted first."""
    x = _summable("cumsum", input, dtype)
    return _as(call(scan.cumsum, x, out, axis=axis_of("cumsum", dim, x)), x)


def cumprod(input: Any, dim: int, *, dtype: Any = None, out: Any = None) -> Tensor:
    """Products of the elements up to each one along `dim`. Integers and bools multiply as int64."""
    x = _summable("cumprod", input, dtype)
    return _as(call(scan.cumprod, x, out, axis=axis_of("cumprod", dim, x)), x)


def logcumsumexp(input: Any, dim: int, *, out: Any = None) -> Tensor:
    """``log(sum(exp(input)))`` of the elements up to each one along `dim`, without overflow."""
    x = input_of("logcumsumexp", input)
    return call(scan.logcumsumexp, x, out, axis=axis_of("logcumsumexp", dim, x))


def cummax(input: Any, dim: int, *, out: Any = None) -> Any:
    """The largest elements up to each one along `dim`, and the places of the last such ones: (values, indices)."""
    x = input_of("cummax", input)
    return pair("cummax", out, *scan.cummax(x, axis=axis_of("cummax", dim, x)))


def cummin(input: Any, dim: int, *, out: Any = None) -> Any:
    """The smallest elements up to each one along `dim`, and the places of the last such ones: (values, indices)."""
    x = input_of("cummin", input)
    return pair("cummin", out, *scan.cummin(x, axis=axis_of("cummin", dim, x)))


# -- differences and areas


def _part(x: Tensor, axis: int, start: int | None, stop: int | None) -> Tensor:
    """A stretch of an axis."""
    return x[(*[slice(None)] * axis, slice(start, stop))]


def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None, *, out: Any = None) -> Tensor:
    """Differences of neighbours along `dim`, `n` times; `prepend` and `append` are put on the ends first (if n > 0)."""
    x = input_of("diff", input)
    if x.ndim == 0:
        raise ShapeError("diff: input must have at least 1 axis, got ()")
    axis = axis_of("diff", dim, x)
    if n < 0:
        raise ValueError(f"diff: n must not be negative, got {n}")
    if n == 0:
        return into("diff", x.clone(), out)
    pieces = [p for p in (prepend, x, append) if p is not None]
    if len(pieces) > 1:
        x = functions.find("cat")([input_of("diff", p) for p in pieces], dim=axis)
    for _ in range(min(n, x.shape[axis])):
        low, high = _part(x, axis, None, -1), _part(x, axis, 1, None)
        if x.dtype == np.bool_:
            x = plain(low.array ^ high.array)
        else:
            x = ops.subtract(high, low)
    return into("diff", x, out)


def _steps(name: str, y: Tensor, x: Any, dx: Any, axis: int) -> Any:
    """Distances between the points of an axis: a number, or a Tensor that broadcasts beside differences."""
    if x is None:
        return 1 if dx is None else dx
    x = input_of(name, x)
    if x.ndim == 1 and y.ndim > 1:
        if x.shape[0] != y.shape[axis]:
            raise ShapeError(f"{name}: x must have {y.shape[axis]} points to match y {y.shape}, got {x.shape}")
        x = x.reshape(*[1] * axis, -1, *[1] * (y.ndim - axis - 1))
    elif x.ndim < y.ndim:
        x = x.reshape(*[1] * (y.ndim - x.ndim), *x.shape)
    along = axis - y.ndim + x.ndim
    return ops.subtract(_part(x, along, 1, None), _part(x, along, None, -1))


def _areas(name: str, y: Any, x: Any, dx: Any, dim: int) -> tuple[Tensor, int]:
    """The trapezoids between neighbours along `dim`."""
    y = input_of(name, y)
    if y.ndim == 0:
        raise ShapeError(f"{name}: y must have at least 1 axis, got ()")
    axis = axis_of(name, dim, y)
    steps = _steps(name, y, x, dx, axis)
    if isinstance(steps, TensorBase) and steps.ndim > y.ndim:
        axis += steps.ndim - y.ndim
        y = y.reshape(*[1] * (steps.ndim - y.ndim), *y.shape)
    heights = ops.add(_part(y, axis, 1, None), _part(y, axis, None, -1))
    return ops.divide(ops.multiply(heights, steps), 2.0), axis


def trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """Area under points along `dim` by the trapezoidal rule: at `x`, or `dx` (1) apart."""
    areas, axis = _areas("trapezoid", y, x, dx, dim)
    return sum(areas, axis)


trapz = trapezoid


def cumulative_trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """Areas under points along `dim` up to each one but the first; see `trapezoid`."""
    areas, axis = _areas("cumulative_trapezoid", y, x, dx, dim)
    return cumsum(areas, axis)


__all__ = [
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_trapezoid",
    "diff",
    "logcumsumexp",
    "trapezoid",
    "trapz",
]
