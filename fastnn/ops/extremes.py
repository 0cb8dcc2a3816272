"""Where the largest and the smallest elements are, with and without their values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.errors import ShapeError
from fastnn.ops.elementwise import groups
from fastnn.ops.folds import some_elements
from fastnn.ops.lines import lines
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.reduction import BLOCK, SEGMENT, TILE, _described, _segment, expanded, summed_axes

__all__ = ["argmax", "argmin", "max_at", "min_at"]

COST = 0.12  # nanoseconds an element of float32
COLUMNS_FROM = 8  # columns from which they are looked at side by side


def _check(name: str, whole: bool) -> Any:
    def check(attributes: dict[str, Any]) -> dict[str, Any]:
        axis = attributes["axis"]
        if axis is not None and (isinstance(axis, bool) or not hasattr(axis, "__index__")):
            raise TypeError(f"{name}: axis must be an integer{' or None' if whole else ''}, got {axis!r}")
        return {"axis": None if axis is None else int(axis), "keepdims": bool(attributes["keepdims"])}

    return check


def lower_extremes(low: Lowering, x: Array, name: str, values: Array, places: Array, smallest: bool) -> None:
    """Append the phases that find extremes over `axis` (None: all) and their places along it."""
    if values.size == 0:
        return
    axes = summed_axes(name, low.attrs["axis"], x.ndim)
    kept = [a for a in range(x.ndim) if a not in axes]
    length = math.prod(x.shape[a] for a in axes)
    cost = COST * x.itemsize / 4
    last = max((a for a in range(x.ndim) if x.shape[a] > 1), default=-1)
    summed, strides = _described(x, axes)
    by_columns = (
        last in kept and len(summed) == 1 and x.strides[last] == 1 and x.shape[last] >= COLUMNS_FROM
        and length < 1 << 31
    )  # fmt: skip
    static: dict[str, Any] = {"dtype": x.dtype, "smallest": smallest}
    if by_columns:
        outer, width = [a for a in kept if a < last], x.shape[last]
        tile = min(width, TILE)
        count = values.size // width
        tiles = -(-width // tile) * count
        cut = tiles < 8 and length * tile >= 2 * SEGMENT
        segment = _segment(length, 32, SEGMENT // tile) if cut else length
        each = min(segment, length) * (tile * cost + 1) + 2 * tile
        pieces = tiles
    else:
        cost += 0.5 if strides and strides[-1] != 1 else 0
        cut = length >= 2 * SEGMENT and values.size < 16
        segment = _segment(length, BLOCK, SEGMENT) if cut else length
        each = min(segment, length) * cost + 40
        pieces = values.size
    segments = -(-length // segment)
    group, chunks, work = groups(segments * pieces, each)
    results = [values, places]
    if segments > 1:
        results = [low.temporary((segments, values.size), a.dtype) for a in results]
    if by_columns:
        own, own_strides = _described(x, outer)
        low.phase(
            "extremes.columns",
            [
                *(writes(a) for a in results), reads(x), count, length, segment, tile, group, len(own), width,
                strides[0], *own, *own_strides,
            ],
            chunks=chunks, work=work, flops=x.size, **static,
        )  # fmt: skip
    else:
        own, own_strides = _described(x, kept)
        if not summed:
            summed, strides = (1,), (1,)
        low.phase(
            "extremes.rows",
            [
                *(writes(a) for a in results), reads(x), values.size, length, segment, group, len(own), len(summed),
                *own, *own_strides, *summed, *strides,
            ],
            chunks=chunks, work=work, flops=x.size, block=group, **static,
        )  # fmt: skip
    if segments > 1:
        low.phase(
            "extremes.combine",
            [writes(values), writes(places), *(reads(a) for a in results), values.size, segments],
            work=segments * values.size * 2 + 30, **static,
        )  # fmt: skip


def lower_scatter(low: Lowering, dy: Array, index: Array, shape: Shape, axis: int) -> Array:
    """Append the phase that adds `dy` to zeros of a shape at places `index` along `axis`; both have all axes."""
    dx = low.output(shape, dy.dtype)
    if dx.size == 0:
        return dx
    length, count = (shape[axis], dy.shape[axis]) if shape else (1, 1)
    arguments, chunks, work = lines(axis, (dx, dy, index), length * 0.3 + count * 1.5)
    low.phase(
        "extremes.scatter",
        [writes(dx), reads(dy), reads(index), length, count, *arguments],
        chunks=chunks,
        work=work,
        flops=dy.size,
        dtype=dy.dtype,
    )
    return dx


# -- places alone

_CASES: list[dict[str, Any]] = [
    {"x": ()},
    {"x": (1000,)},
    {"x": (7, 33), "axis": 1},
    {"x": (130, 10), "axis": 0},
    {"x": (3, 40, 5), "axis": 1, "keepdims": True},
    {"x": (2, 3, 4), "axis": 0},
    {"x": (0, 3), "axis": 1},
]
_BENCH: list[dict[str, Any]] = [{"x": (10,), "axis": 0}, {"x": (1024, 1024), "axis": 1}, {"x": (1024, 1024), "axis": 0}]


def _place(name: str) -> Op:
    function = getattr(np, name)

    def forward(x: np.ndarray, *, axis: Any = None, keepdims: bool = False) -> np.ndarray:
        summed_axes(name, axis, x.ndim)
        if x.ndim == 0:
            axis = None
        return np.asarray(function(x, axis=axis, keepdims=keepdims))

    def lower(low: Lowering, x: Array) -> Array:
        (shape,) = some_elements(name, {"x": x.shape}, low.attrs)
        places = low.output(shape, "int64")
        lower_extremes(low, x, name, low.temporary(shape, x.dtype), places, name == "argmin")
        return places

    forward.__doc__ = (
        f"Place of the {'largest' if name == 'argmax' else 'smallest'} element along `axis` (None: among all, in C "
        "order): the first of equal ones, the first NaN if there is one."
    )
    return Op(
        name=name,
        shapes="x:(...) -> y:(...)",
        rule=some_elements,
        check=_check(name, True),
        attributes={"axis": None, "keepdims": False},
        reference=(forward, None),
        lower=(lower, None),
        result="int64",
        cases=_CASES,
        bench=[*_BENCH, {"x": (1024, 1024)}],
    )


argmax = _place("argmax")
argmin = _place("argmin")


# -- values and places


def _pair_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    if attrs["axis"] is None:
        raise ShapeError(f"{name}: axis must be an integer, got None")
    (shape,) = some_elements(name, shapes, attrs)
    return [shape, shape]


def _pair(name: str, function: Any, smallest: bool) -> Op:
    def forward(x: np.ndarray, *, axis: int = -1, keepdims: bool = False) -> tuple[np.ndarray, np.ndarray]:
        if x.ndim == 0:
            return x.copy(), np.zeros((), np.int64)
        place = np.expand_dims(function(x, axis=axis), axis)
        value = np.take_along_axis(x, place, axis)
        if not keepdims:
            value, place = value.squeeze(axis), place.squeeze(axis)
        return np.asarray(value), np.asarray(place)

    def backward(ctx: Saved, dy: np.ndarray, _: Any = None) -> np.ndarray:
        shape, (axis,) = ctx.shapes["x"], summed_axes(name, ctx.attrs["axis"], len(ctx.shapes["x"])) or (0,)
        dx = np.zeros(shape or (1,), dy.dtype)
        wide = expanded(shape or (1,), (axis,))
        np.put_along_axis(dx, ctx.saved["index"].reshape(wide), dy.reshape(wide), axis)
        return dx.reshape(shape)

    def lower(low: Lowering, x: Array) -> tuple[Array, Array]:
        shape, _ = _pair_shape(name, {"x": x.shape}, low.attrs)
        values, places = low.output(shape, x.dtype), low.output(shape, "int64")
        lower_extremes(low, x, name, values, places, smallest)
        return values, places

    def lower_backward(low: Lowering, dy: Array, _: Any = None) -> Array:
        from fastnn.ops.reduction import spread

        shape, index = low.shapes["x"], low.saved["index"]
        axes = summed_axes(name, low.attrs["axis"], len(shape))
        keep = low.attrs["keepdims"]
        return lower_scatter(
            low, spread(dy, shape, axes, keep), spread(index, shape, axes, keep), shape, axes[0] if axes else 0
        )

    forward.__doc__ = (
        f"The {'smallest' if smallest else 'largest'} elements along `axis` and their places: the first of equal ones, "
        "the first NaN if there is one. The gradient goes to that place."
    )
    return Op(
        name=name,
        shapes="x:(...) -> y:(...) index:(...)",
        rule=_pair_shape,
        check=_check(name, False),
        attributes={"axis": -1, "keepdims": False},
        reference=(forward, backward),
        lower=(lower, lower_backward),
        saves=("index",),
        cases=[c for c in _CASES if "axis" in c or c["x"] != (1000,)],
        bench=_BENCH,
    )


max_at = _pair("max_at", np.argmax, False)
min_at = _pair("min_at", np.argmin, True)
