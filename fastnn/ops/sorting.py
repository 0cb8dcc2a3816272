"""Sorting along an axis, with places, and the first few elements of the sorted order."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.errors import ShapeError
from fastnn.ops.elementwise import contiguous
from fastnn.ops.extremes import lower_scatter
from fastnn.ops.lines import lines
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.scan import axis_of, one_axis

__all__ = ["argsort", "sort_at", "top_at"]

FEW = 64  # elements up to which the best ones are picked instead of sorting all
CACHED = 32  # an axis whose neighbours lie further apart (elements) is gathered first


def order(x: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    """Places that sort along an axis, stably; NaN is larger than any number."""
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    backwards = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(backwards, axis)


def _check(name: str) -> Any:
    one = one_axis(name)

    def check(attributes: dict[str, Any]) -> dict[str, Any]:
        made = {**one(attributes), "descending": bool(attributes["descending"])}
        if "count" in made:
            if isinstance(made["count"], bool) or not hasattr(made["count"], "__index__"):
                raise TypeError(f"{name}: count must be an integer, got {made['count']!r}")
            made["count"] = int(made["count"])
        return made

    return check


def _shape(outputs: int) -> Any:
    def rule(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
        x = shapes["x"]
        assert x is not None
        axis = axis_of(name, attrs, x)
        count = attrs.get("count")
        if count is None:
            return [x] * outputs
        length = x[axis] if x else 1
        if not 0 <= count <= length:
            raise ShapeError(f"{name}: count must lie from 0 to {length}, the elements along the axis, got {count}")
        return [tuple(count if a == axis else n for a, n in enumerate(x))] * outputs

    return rule


def _sorted(x: np.ndarray, axis: int, descending: bool, count: int | None) -> tuple[np.ndarray, np.ndarray]:
    line = x.reshape(x.shape or (1,))
    axis = axis if x.ndim else 0
    places = order(line, axis, descending)
    if count is not None:
        places = np.take(places, np.arange(count), axis)
    values = np.take_along_axis(line, places, axis)
    if not x.ndim:
        values, places = (a.reshape(() if count is None or count else (0,)) for a in (values, places))
    return values, places


def _sort_at(x: np.ndarray, *, axis: int = -1, descending: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The elements sorted along `axis`, stably, and their places.

    NaN is larger than any number. The gradient goes back to the places.
    """
    return _sorted(x, axis, descending, None)


def _top_at(x: np.ndarray, *, count: int = 1, axis: int = -1, descending: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` elements in sorted order along `axis`, and their places; see `sort_at`."""
    return _sorted(x, axis, descending, count)


def _argsort(x: np.ndarray, *, axis: int = -1, descending: bool = False) -> np.ndarray:
    """Places that sort along `axis`, stably; NaN is larger than any number."""
    return _sorted(x, axis, descending, None)[1]


def _backward(name: str) -> Any:
    def backward(ctx: Saved, dy: np.ndarray, _: Any = None) -> np.ndarray:
        shape, axis = ctx.shapes["x"], axis_of(name, ctx.attrs, ctx.shapes["x"])
        dx = np.zeros(shape or (1,), dy.dtype)
        own = dy.shape or (1,)
        np.put_along_axis(dx, ctx.saved["index"].reshape(own), dy.reshape(own), axis)
        return dx.reshape(shape)

    return backward


def _moved(x: Array, axis: int) -> Array:
    """The axis last."""
    return x.permuted([a for a in range(x.ndim) if a != axis] + [axis]) if x.ndim else x


def _lower(name: str, values: bool) -> Any:
    def lower(low: Lowering, x: Array) -> Any:
        axis = axis_of(name, low.attrs, x.shape)
        length = x.shape[axis] if x.ndim else 1
        count = low.attrs.get("count", length)
        if length >= 1 << 31:
            return NotImplemented
        shape = tuple(count if a == axis else n for a, n in enumerate(x.shape))
        axes = [a for a in range(x.ndim) if a != axis] + ([axis] if x.ndim else [])
        y = low.output(shape, x.dtype, axes) if values else low.temporary(shape, x.dtype)
        places = low.output(shape, "int64", axes)
        if y.size:
            few = count <= FEW
            step = x.strides[axis] if x.ndim else 1
            if (few and step != 1) or (length > 1 and abs(step) > CACHED):
                x = contiguous(low, _moved(x, axis))
                x = x.permuted([*range(axis), x.ndim - 1, *range(axis, x.ndim - 1)]) if x.ndim else x
            _append(low, x, y, places, axis, length, count, few)
        return (y, places) if values else places

    return lower


def _append(low: Lowering, x: Array, y: Array, places: Array, axis: int, length: int, count: int, few: bool) -> None:
    cost = length * 0.3 + 200 if few and length > FEW else length * (8.0 if x.dtype == "float32" else 20.0) + 60
    arguments, chunks, work = lines(axis, (y, places, x), cost)
    operands = [writes(y), writes(places), reads(x)]
    if not few:
        # two words of 8 bytes an element for float32, four for float64
        operands.append(writes(low.temporary((x.size * x.itemsize // 2,), "int64")))
    low.phase(
        "sorting.top" if few else "sorting.sort",
        [*operands, length, count, *arguments],
        chunks=chunks,
        work=work,
        flops=x.size,
        dtype=x.dtype,
        descending=low.attrs["descending"],
    )


def _lower_backward(name: str) -> Any:
    def lower(low: Lowering, dy: Array, _: Any = None) -> Array:
        shape = low.shapes["x"]
        return lower_scatter(low, dy, low.saved["index"], shape, axis_of(name, low.attrs, shape))

    return lower


_CASES: list[dict[str, Any]] = [
    {"x": ()},
    {"x": (40,)},
    {"x": (500,)},
    {"x": (7, 33), "axis": 1},
    {"x": (100, 10), "axis": 0},
    {"x": (3, 70, 5), "axis": 1},
    {"x": (0, 3), "axis": 1},
    {"x": (3, 0), "axis": 1},
]
_BENCH: list[dict[str, Any]] = [{"x": (10,)}, {"x": (1024, 1024), "axis": 1}, {"x": (1024, 1024), "axis": 0}]


def _op(name: str, forward: Any, outputs: str, **more: Any) -> Op:
    values = "y" in outputs
    return Op(
        name=name,
        shapes=f"x:(...) -> {outputs}",
        rule=_shape(2 if values else 1),
        check=_check(name),
        reference=(forward, _backward(name) if values else None),
        lower=(_lower(name, values), _lower_backward(name) if values else None),
        saves=("index",) if values else (),
        bench=more.pop("bench", _BENCH),
        **more,
    )


sort_at = _op(
    "sort_at",
    _sort_at,
    "y:(...) index:(...)",
    attributes={"axis": -1, "descending": False},
    cases=[*_CASES, {"x": (70, 50), "descending": True}],
)
argsort = _op(
    "argsort",
    _argsort,
    "index:(...)",
    attributes={"axis": -1, "descending": False},
    result="int64",
    cases=[*_CASES, {"x": (70, 50), "descending": True}],
)
top_at = _op(
    "top_at",
    _top_at,
    "y:(...) index:(...)",
    attributes={"count": 1, "axis": -1, "descending": True},
    cases=[
        *({**case, "count": 3} for case in _CASES[1:-1]),
        {"x": ()},
        {"x": (200, 3), "axis": 0, "count": 100},
        {"x": (9, 70), "count": 9, "descending": False},
    ],
    bench=[{**case, "count": 5} for case in _BENCH],
)
