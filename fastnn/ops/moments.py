"""Variances and standard deviations over axes, in two passes: the mean, then the squares of the distances from it.

The second pass subtracts a mean that is rounded, so the result errs by n u**2 (mean / std)**2 beside the error of the
sums (Chan, Golub, LeVeque, "Algorithms for computing the sample variance", 1983, equation 1.3 b).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.ops.elementwise import apply, like
from fastnn.ops.folds import CASES, EMPTY
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.reduction import Plan, expanded, normal_axes, reduce_axes, reduced_shape, spread, sum_axes, summed_axes

__all__ = ["std", "var"]


def _shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    (shape,) = reduced_shape(name, shapes, attrs)
    return [shape, shape]


def _check(name: str) -> Any:
    def check(attributes: dict[str, Any]) -> dict[str, Any]:
        ddof = attributes["ddof"]
        if isinstance(ddof, bool) or not isinstance(ddof, (int, float, np.integer, np.floating)):
            raise TypeError(f"{name}: ddof must be a number, got {ddof!r}")
        return {**normal_axes(attributes), "ddof": float(ddof)}

    return check


def _freedom(shape: Shape, axes: tuple[int, ...], ddof: float) -> float:
    """The number of elements less `ddof`, at least 0."""
    return max(0.0, math.prod(shape[a] for a in axes) - ddof)


def _moments(name: str, x: np.ndarray, axis: Any, ddof: float, keepdims: bool) -> tuple[np.ndarray, np.ndarray]:
    axes = summed_axes(name, axis, x.ndim)
    mean = np.true_divide(x.sum(axis=axes, keepdims=True), math.prod(x.shape[a] for a in axes))
    squares = ((x - mean) ** 2).sum(axis=axes, keepdims=keepdims)
    variance = np.asarray(np.true_divide(squares, _freedom(x.shape, axes, ddof)))
    return variance if name == "var" else np.sqrt(variance), mean.reshape(variance.shape)


def _var(
    x: np.ndarray, *, axis: Any = None, ddof: float = 0.0, keepdims: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Variance over the axes `axis` (None: all): ``sum((x - mean(x))**2) / max(0, n - ddof)``."""
    return _moments("var", x, axis, ddof, keepdims)


def _std(
    x: np.ndarray, *, axis: Any = None, ddof: float = 0.0, keepdims: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation over the axes `axis` (None: all): the root of the variance, see `var`."""
    return _moments("std", x, axis, ddof, keepdims)


def _backward(name: str) -> Any:
    def backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
        x, attrs = ctx.saved["x"], ctx.attrs
        axes = summed_axes(name, attrs["axis"], x.ndim)
        wide = expanded(x.shape, axes)
        freedom = np.float64(_freedom(x.shape, axes, attrs["ddof"]))
        if name == "var":
            scale = dy / (freedom / 2)
        else:
            y = ctx.saved["y"]
            scale = np.where(y == 0, 0, dy / freedom / y)
        return np.asarray(scale.reshape(wide) * (x - ctx.saved["mean"].reshape(wide)))

    return backward


def _lower(name: str) -> Any:
    def lower(low: Lowering, x: Array) -> tuple[Array, Array]:
        axes = summed_axes(name, low.attrs["axis"], x.ndim)
        (shape,) = reduced_shape(name, {"x": x.shape}, low.attrs)
        y, mean = low.output(shape, x.dtype), low.output(shape, x.dtype)
        sum_axes(low, x, axes, mean, math.prod(x.shape[a] for a in axes))
        plan = Plan("deviations", _freedom(x.shape, axes, low.attrs["ddof"]), "root" if name == "std" else "", mean)
        return reduce_axes(low, x, axes, y, plan), mean

    return lower


def _lower_backward(name: str) -> Any:
    def lower(low: Lowering, dy: Array) -> Array:
        x = low.saved["x"]
        axes = summed_axes(name, low.attrs["axis"], x.ndim)
        freedom = _freedom(x.shape, axes, low.attrs["ddof"])
        # A sum of one element each, divided.
        scale = sum_axes(low, dy, (), low.temporary(dy.shape, dy.dtype), freedom / 2 if name == "var" else freedom)
        if name == "std":
            scale = apply(low, "std_scale", low.temporary(dy.shape, dy.dtype), scale, low.saved["y"])
        scale, mean = (spread(a, x.shape, axes, low.attrs["keepdims"]) for a in (scale, low.saved["mean"]))
        return like(low, "deviation_backward", scale, x, mean, model=x)

    return lower


def _moment(name: str, reference: Any) -> Op:
    return Op(
        name=name,
        shapes="x:(...) -> y:(...); mean:(...)",
        rule=_shape,
        check=_check(name),
        attributes={"axis": None, "ddof": 0.0, "keepdims": False},
        floating=True,
        reference=(reference, _backward(name)),
        lower=(_lower(name), _lower_backward(name)),
        saves=("x", "mean") if name == "var" else ("x", "mean", "y"),
        cases=[*CASES[2:], *({**c, "ddof": 1.0} for c in CASES[2:6]), *EMPTY[:1]],
        bench=[{"x": (10,)}, {"x": (1024, 1024), "axis": 1}, {"x": (1024, 1024), "axis": 0}, {"x": (1024, 1024)}],
    )


var = _moment("var", _var)
std = _moment("std", _std)
