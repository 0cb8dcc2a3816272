"""Running sums, products, logarithms of sums of exponentials, and extremes along an axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.ops.extremes import lower_scatter
from fastnn.ops.lines import lines
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.reduction import summed_axes

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "logcumsumexp"]

COSTS = {"sum": 0.6, "product": 0.6, "logsumexp": 20.0}  # nanoseconds an element
CASES: list[dict[str, Any]] = [
    {"x": (), "axis": 0},
    {"x": (40,), "axis": 0},
    {"x": (7, 33), "axis": 1},
    {"x": (33, 10), "axis": 0},
    {"x": (3, 9, 5), "axis": 1},
    {"x": (0, 3), "axis": 1},
    {"x": (3, 0), "axis": 1},
]
BENCH: list[dict[str, Any]] = [{"x": (10,), "axis": 0}, {"x": (1024, 1024), "axis": 1}, {"x": (1024, 1024), "axis": 0}]


def one_axis(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The check of an attribute `axis` that must be an integer."""

    def check(attributes: dict[str, Any]) -> dict[str, Any]:
        axis = attributes["axis"]
        if isinstance(axis, bool) or not hasattr(axis, "__index__"):
            raise TypeError(f"{name}: axis must be an integer, got {axis!r}")
        return {**attributes, "axis": int(axis)}

    return check


def axis_of(name: str, attrs: dict[str, Any], shape: Shape) -> int:
    """The axis counted from 0; 0 for a single number."""
    return (*summed_axes(name, attrs["axis"], len(shape)), 0)[0]


def _shape(outputs: int) -> Any:
    def rule(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
        x = shapes["x"]
        assert x is not None
        axis_of(name, attrs, x)
        return [x] * outputs

    return rule


def _reversed(x: Array, axis: int) -> Array:
    """The elements along an axis in reverse."""
    if not x.ndim or not x.size:
        return x
    stride = x.strides[axis]
    strides = tuple(-s if a == axis else s for a, s in enumerate(x.strides))
    return replace(x, strides=strides, offset=x.offset + (x.shape[axis] - 1) * stride * x.itemsize)


def run(low: Lowering, function: str, y: Array, x: Array, axis: int) -> Array:
    """Append the phase that runs a function along an axis."""
    if y.size == 0:
        return y
    length = x.shape[axis] if x.ndim else 1
    arguments, chunks, work = lines(axis, (y, x), length * COSTS[function], multiple=4)
    low.phase(
        "scan.running",
        [writes(y), reads(x), length, *arguments],
        chunks=chunks,
        work=work,
        flops=x.size,
        dtype=x.dtype,
        function=function,
    )
    return y


def _along(name: str, function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """A NumPy function along an axis; a single number stays one."""

    def forward(x: np.ndarray, *, axis: int = -1) -> np.ndarray:
        return np.asarray(function(x.reshape(-1) if x.ndim == 0 else x, axis=axis)).reshape(x.shape)

    return forward


def _lower(name: str, function: str) -> Callable[[Lowering, Array], Array]:
    def lower(low: Lowering, x: Array) -> Array:
        return run(low, function, low.output(x.shape, x.dtype), x, axis_of(name, low.attrs, x.shape))

    return lower


def _op(name: str, function: str, doc: str, forward: Any, backward: Any, lower_backward: Any, **more: Any) -> Op:
    return Op(
        name=name,
        shapes="x:(...) -> y:(...)",
        rule=_shape(1),
        check=one_axis(name),
        attributes={"axis": -1},
        reference=(forward, backward),
        lower=(_lower(name, function), lower_backward),
        cases=CASES,
        bench=BENCH,
        doc=doc,
        **more,
    )


# -- sums

_cumsum = _along("cumsum", lambda x, axis: np.cumsum(x, axis=axis))


def _cumsum_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    axis = ctx.attrs["axis"]
    return np.flip(_cumsum(np.flip(dy, axis), axis=axis), axis) if dy.ndim else dy


def _lower_cumsum_backward(low: Lowering, dy: Array) -> Array:
    axis = axis_of("cumsum", low.attrs, dy.shape)
    dx = low.output(dy.shape, dy.dtype)
    run(low, "sum", _reversed(dx, axis), _reversed(dy, axis), axis)
    return dx


cumsum = _op(
    "cumsum",
    "sum",
    "Sums of the elements up to each one along `axis`.",
    _cumsum,
    _cumsum_backward,
    _lower_cumsum_backward,
)


# -- products

_cumprod = _along("cumprod", lambda x, axis: np.cumprod(x, axis=axis))


def _cumprod_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    x, shape = ctx.saved["x"], tuple(dy.shape)
    if not dy.size:
        return np.zeros_like(dy)
    axis = ctx.attrs["axis"] if dy.ndim else 0
    x, dy = (np.moveaxis(np.atleast_1d(a), axis, -1) for a in (x, dy))
    dx = np.zeros(x.shape, x.dtype)
    for j in range(x.shape[-1]):
        # products without element j
        others = np.cumprod(np.where(np.arange(x.shape[-1]) == j, 1, x), axis=-1)
        dx[..., j] = (others * dy)[..., j:].sum(-1)
    return np.moveaxis(dx, -1, axis).reshape(shape)


def _lower_line_backward(name: str) -> Callable[[Lowering, Array], Array]:
    def lower(low: Lowering, dy: Array) -> Array:
        axis = axis_of(name, low.attrs, dy.shape)
        dx = low.output(dy.shape, dy.dtype)
        if dx.size == 0:
            return dx
        arrays = (dx, dy, low.saved["x"], low.saved["y"])
        length = dy.shape[axis] if dy.ndim else 1
        arguments, chunks, work = lines(axis, arrays, length * (4.0 if name == "cumprod" else 30.0))
        low.phase(
            f"scan.{name}_backward",
            [writes(dx), *(reads(a) for a in arrays[1:]), length, *arguments],
            chunks=chunks,
            work=work,
            flops=3 * dy.size,
            dtype=dy.dtype,
        )
        return dx

    return lower


cumprod = _op(
    "cumprod",
    "product",
    "Products of the elements up to each one along `axis`.",
    _cumprod,
    _cumprod_backward,
    _lower_line_backward("cumprod"),
    saves=("x", "y"),
)


# -- logarithms of sums of exponentials

_logcumsumexp = _along("logcumsumexp", lambda x, axis: np.logaddexp.accumulate(x, axis=axis) if x.size else x.copy())


def _logcumsumexp_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    x, y, shape = ctx.saved["x"], ctx.saved["y"], tuple(dy.shape)
    if not dy.size:
        return np.zeros_like(dy)
    axis = ctx.attrs["axis"] if dy.ndim else 0
    x, y, dy = (np.moveaxis(np.atleast_1d(a), axis, -1) for a in (x, y, dy))
    dx = np.zeros(x.shape, x.dtype)
    total = np.zeros(x.shape[:-1], x.dtype)
    for j in reversed(range(x.shape[-1])):
        if j + 1 < x.shape[-1]:
            total = total * np.exp(np.where(y[..., j] == y[..., j + 1], 0, y[..., j] - y[..., j + 1]))
        total = total + dy[..., j]
        dx[..., j] = np.exp(np.where(x[..., j] == y[..., j], 0, x[..., j] - y[..., j])) * total
    return np.moveaxis(dx, -1, axis).reshape(shape)


logcumsumexp = _op(
    "logcumsumexp",
    "logsumexp",
    "``log(sum(exp(x)))`` of the elements up to each one along `axis`, without overflow.",
    _logcumsumexp,
    _logcumsumexp_backward,
    _lower_line_backward("logcumsumexp"),
    saves=("x", "y"),
    floating=True,
)


# -- extremes


def _running_extreme(name: str, smallest: bool) -> Op:
    def forward(x: np.ndarray, *, axis: int = -1) -> tuple[np.ndarray, np.ndarray]:
        if x.size == 0:
            return x.copy(), np.zeros(x.shape, np.int64)
        lines = np.moveaxis(x.reshape(x.shape or (1,)), axis if x.ndim else 0, 0)
        values, places = lines.copy(), np.zeros(lines.shape, np.int64)
        for k in range(1, len(lines)):
            best, one = values[k - 1], lines[k]
            beats = (one != one) | ((one <= best if smallest else one >= best) & (best == best))
            values[k] = np.where(beats, one, best)
            places[k] = np.where(beats, k, places[k - 1])
        axis = axis if x.ndim else 0
        return np.moveaxis(values, 0, axis).reshape(x.shape), np.moveaxis(places, 0, axis).reshape(x.shape)

    def backward(ctx: Saved, dy: np.ndarray, _: Any = None) -> np.ndarray:
        shape, index = dy.shape, ctx.saved["index"]
        if not dy.size:
            return np.zeros_like(dy)
        axis = ctx.attrs["axis"] % dy.ndim if dy.ndim else 0
        dx = np.zeros(shape or (1,), dy.dtype)
        grid: list[Any] = list(np.indices(dx.shape))
        grid[axis] = index.reshape(dx.shape)
        np.add.at(dx, tuple(grid), dy.reshape(dx.shape))
        return dx.reshape(shape)

    def lower(low: Lowering, x: Array) -> tuple[Array, Array]:
        axis = axis_of(name, low.attrs, x.shape)
        y, places = low.output(x.shape, x.dtype), low.output(x.shape, "int64")
        if y.size:
            length = x.shape[axis] if x.ndim else 1
            arguments, chunks, work = lines(axis, (y, places, x), length * 1.5)
            low.phase(
                "scan.running_extreme",
                [writes(y), writes(places), reads(x), length, *arguments],
                chunks=chunks,
                work=work,
                flops=x.size,
                dtype=x.dtype,
                smallest=smallest,
            )
        return y, places

    def lower_backward(low: Lowering, dy: Array, _: Any = None) -> Array:
        return lower_scatter(low, dy, low.saved["index"], dy.shape, axis_of(name, low.attrs, dy.shape))

    return Op(
        name=name,
        shapes="x:(...) -> y:(...) index:(...)",
        rule=_shape(2),
        check=one_axis(name),
        attributes={"axis": -1},
        reference=(forward, backward),
        lower=(lower, lower_backward),
        saves=("index",),
        cases=CASES,
        bench=BENCH,
        doc=(
            f"The {'smallest' if smallest else 'largest'} elements up to each one along `axis`, and their places: the "
            "last of equal ones; NaN wins. The gradient goes to those places."
        ),
    )


cummax = _running_extreme("cummax", False)
cummin = _running_extreme("cummin", True)
