"""Running sums and their kin under torch's names and arguments, and sums of differences and areas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn import _default_dtype, functions, ops
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import ArgumentError, ShapeError
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


def gradient(input: Any, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """Derivatives along axes, from the points on both sides of each one (second order).

    Parameters
    ----------
    input : the function's values; a float, or what becomes one.
    spacing : distance of the points: a number, or for each axis a number or the points' coordinates (vectors).
    dim : one axis or several (default: all).
    edge_order : 1 or 2: how the derivative is taken at the ends, from the nearest two or three points.

    Returns
    -------
    A Tensor of the input's shape for each axis. B. Fornberg, "Generation of Finite Difference Formulas on Arbitrarily
    Spaced Grids", gives the weights.
    """
    y = input_of("gradient", input)
    if edge_order not in (1, 2):
        raise ArgumentError(f"gradient: edge_order must be 1 or 2, got {edge_order}")
    dims = range(y.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    axes = [axis_of("gradient", one, y) for one in dims]
    if len(set(axes)) != len(axes):
        raise ArgumentError(f"gradient: dim names an axis twice: {dim}")
    several = isinstance(spacing, (list, tuple))
    steps = list(spacing) if several else [1 if spacing is None else spacing] * len(axes)
    if len(steps) != len(axes):
        raise ArgumentError(f"gradient: spacing must be a number or {len(axes)} of them, got {len(steps)}")
    return tuple(_slope(y, axis, step, edge_order) for axis, step in zip(axes, steps, strict=True))


def _slope(y: Tensor, axis: int, step: Any, edge_order: int) -> Tensor:
    """The derivative along one axis: three weights a point, times the points around it."""
    count = y.shape[axis]
    if count <= edge_order:
        raise ShapeError(f"gradient: dim {axis} must have at least {edge_order + 1} points, got shape {y.shape}")
    points = input_of("gradient", step).array
    if points.ndim and points.shape != (count,):
        raise ShapeError(f"gradient: spacing must hold {count} coordinates to match dim {axis}, got {points.shape}")
    points = np.asarray(points if points.ndim else points * np.arange(count), np.float64)
    dtype = y.dtype if y.dtype.kind == "f" else _default_dtype.floating

    def weighted(places: list[slice], center: slice) -> Tensor:
        """The weights of Lagrange's polynomial through the points at `places`, differentiated at `center`."""
        at = [points[place] for place in places]
        terms = []
        for i, place in enumerate(places):
            others = [at[j] for j in range(len(places)) if j != i]
            below = math.prod(at[i] - other for other in others)
            if len(others) == 1:
                weight = 1 / below
            else:
                weight = (2 * points[center] - others[0] - others[1]) / below
            terms.append(ops.multiply(_part(y, axis, place.start, place.stop), plain(_along(weight, y, axis, dtype))))
        total = terms[0]
        for term in terms[1:]:
            total = ops.add(total, term)
        return total

    n = count
    reach = edge_order + 1
    ends = [slice(i, i + 1) for i in range(reach)], [slice(n - reach + i, n - reach + i + 1) for i in range(reach)]
    pieces = [weighted(ends[0], slice(0, 1))]
    if n > 2:
        pieces.append(weighted([slice(0, n - 2), slice(1, n - 1), slice(2, n)], slice(1, n - 1)))
    pieces.append(weighted(ends[1], slice(n - 1, n)))
    joined: Tensor = functions.find("cat")(pieces, dim=axis)
    return joined


def _along(weight: np.ndarray, y: Tensor, axis: int, dtype: Any) -> np.ndarray:
    """A vector laid along an axis."""
    return weight.reshape([-1 if a == axis else 1 for a in range(y.ndim)]).astype(dtype)


__all__ = [
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_trapezoid",
    "diff",
    "gradient",
    "logcumsumexp",
    "trapezoid",
    "trapz",
]
