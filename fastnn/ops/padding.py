"""Padding: elements around an array, constant or taken from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastnn._numpy_views import integer
from fastnn.errors import ShapeError
from fastnn.ops.elementwise import apply
from fastnn.ops.joining import part_of
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.reduction import sum_axes
from fastnn.ops.views import add_to, put

MODES = ("constant", "reflect", "edge", "wrap")
Widths = tuple[tuple[int, int], ...]


def _check(attributes: dict[str, Any]) -> dict[str, Any]:
    mode, width = attributes["mode"], attributes["pad_width"]
    if mode not in MODES:
        raise ValueError(f"pad: mode must be one of {', '.join(MODES)}, got {mode!r}")
    if not isinstance(width, (tuple, list)):
        width = ((width, width),)
    elif width and not any(isinstance(pair, (tuple, list)) for pair in width):
        width = (tuple(width) * (2 if len(width) == 1 else 1),)
    pairs = []
    for given in width:
        pair = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        pair = pair * 2 if len(pair) == 1 else pair
        if len(pair) != 2:
            raise ValueError(f"pad: pad_width must hold a pair (before, after) for each axis, got {width}")
        pairs.append(tuple(integer("pad: pad_width", n) for n in pair))
    return {"pad_width": tuple(pairs), "mode": mode}


def _widths(shape: Shape, pad_width: Widths, mode: str) -> Widths:
    """The elements before and after each axis."""
    widths = pad_width * len(shape) if len(pad_width) == 1 else pad_width
    if len(widths) != len(shape):
        raise ShapeError(f"pad: pad_width must hold a pair for each of the {len(shape)} axes, got {pad_width}")
    for axis, ((before, after), extent) in enumerate(zip(widths, shape, strict=True)):
        most = {"reflect": extent - 1, "wrap": extent}.get(mode)
        if min(before, after) < 0:
            raise ShapeError(f"pad: pad_width must not be negative, got {(before, after)} for axis {axis}")
        if most is not None and max(before, after) > max(most, 0):
            raise ShapeError(
                f"pad: pad_width of axis {axis} must be at most {max(most, 0)} with mode {mode!r} and extent {extent}, "
                f"got {(before, after)}"
            )
        if mode == "edge" and extent == 0 and max(before, after):
            raise ShapeError(f"pad: pad_width of axis {axis} must be 0 where there is no edge, got {(before, after)}")
    return widths


def _shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x = shapes["x"]
    assert x is not None
    widths = _widths(x, attrs["pad_width"], attrs["mode"])
    return [tuple(n + before + after for n, (before, after) in zip(x, widths, strict=True))]


def _pad(x: np.ndarray, *, pad_width: Widths, mode: str, constant_values: float = 0.0) -> np.ndarray:
    """Elements before and after each axis.

    They are `constant_values` (mode ``"constant"``), the array mirrored at its first and last elements
    (``"reflect"``), the nearest elements (``"edge"``), or those of the other end (``"wrap"``).
    """
    widths = _widths(x.shape, pad_width, mode)
    if mode == "constant":
        y = np.full(_shape("pad", {"x": x.shape}, {"pad_width": pad_width, "mode": mode})[0], constant_values, x.dtype)
        y[tuple(slice(b, b + n) for (b, _), n in zip(widths, x.shape, strict=True))] = x
        return y
    return np.pad(x, widths, mode) if x.ndim else x.copy()  # type: ignore[call-overload]


def _sources(mode: str, extent: int, before: int, after: int) -> np.ndarray:
    """Which element each place along a padded axis holds."""
    places = np.arange(-before, extent + after)
    if mode == "edge":
        return np.clip(places, 0, max(extent - 1, 0))
    if mode == "wrap":
        return places % max(extent, 1)
    return np.where(places < 0, -places, np.where(places >= extent, 2 * (extent - 1) - places, places))


def _pad_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    shape, mode = ctx.shapes["x"], ctx.attrs["mode"]
    widths = _widths(shape, ctx.attrs["pad_width"], mode)
    if mode == "constant":
        return dy[tuple(slice(b, b + n) for (b, _), n in zip(widths, shape, strict=True))]
    for axis, ((before, after), extent) in enumerate(zip(widths, shape, strict=True)):
        if before or after:
            part = np.zeros((*dy.shape[:axis], extent, *dy.shape[axis + 1 :]), dy.dtype)
            where: Any = (*(slice(None),) * axis, _sources(mode, extent, before, after))
            np.add.at(part, where, dy)
            dy = part
    return dy


def _reversed(x: Array, axis: int) -> Array:
    strides = tuple(-s if a == axis else s for a, s in enumerate(x.strides))
    return replace(x, strides=strides, offset=x.offset + (x.shape[axis] - 1) * x.strides[axis] * x.itemsize)


def _borders(y: Array, axis: int, mode: str, extent: int, before: int, after: int) -> list[tuple[Array, Array]]:
    """The borders along an axis of a padded array, each with the part of the array that it holds."""
    found = []
    for width, start, mirror, wrap, edge in (
        (before, 0, before + 1, extent, before),
        (after, before + extent, before + extent - 1 - after, before, before + extent - 1),
    ):
        if not width:
            continue
        border = part_of(y, axis, start, width)
        if mode == "reflect":
            source = _reversed(part_of(y, axis, mirror, width), axis)
        elif mode == "wrap":
            source = part_of(y, axis, wrap, width)
        else:
            source = part_of(y, axis, edge, 1)
        found.append((border, source))
    return found


def _middle(y: Array, shape: Shape, widths: Widths) -> Array:
    for axis, ((before, _), extent) in enumerate(zip(widths, shape, strict=True)):
        y = part_of(y, axis, before, extent)
    return y


def _inside(y: Array, shape: Shape, widths: Widths, axis: int) -> Array:
    """What is filled before an axis' borders are: later axes have no borders yet."""
    for a in range(axis + 1, len(shape)):
        y = part_of(y, a, widths[a][0], shape[a])
    return y


def _lower(low: Lowering, x: Array) -> Array:
    mode = low.attrs["mode"]
    widths = _widths(x.shape, low.attrs["pad_width"], mode)
    (shape,) = _shape("pad", {"x": x.shape}, low.attrs)
    y = low.output(shape, x.dtype)
    put(low, _middle(y, x.shape, widths), x)
    for axis, ((before, after), extent) in enumerate(zip(widths, x.shape, strict=True)):
        inside = _inside(y, x.shape, widths, axis)
        if mode == "constant":
            for start, width in ((0, before), (before + extent, after)):
                if width:
                    apply(
                        low, "fill", part_of(inside, axis, start, width), cells=[low.cell("constant_values")],
                        in_place=True,
                    )  # fmt: skip
        else:
            for border, source in _borders(inside, axis, mode, extent, before, after):
                put(low, border, source)
    return y


def _lower_backward(low: Lowering, dy: Array) -> Array:
    shape, mode = low.shapes["x"], low.attrs["mode"]
    assert shape is not None
    widths = _widths(shape, low.attrs["pad_width"], mode)
    if mode == "constant" or dy.size == 0:
        return _middle(dy, shape, widths)
    # the borders are folded back in the reverse order; what is left in the middle is the gradient
    work = apply(low, "copy", low.temporary(dy.shape, dy.dtype), dy)
    for axis in reversed(range(len(shape))):
        inside = _inside(work, shape, widths, axis)
        for border, source in _borders(inside, axis, mode, shape[axis], *widths[axis]):
            if mode == "edge":
                border = sum_axes(low, border, (axis,), low.temporary(source.shape, dy.dtype))
            add_to(low, source, border)
    return apply(low, "copy", low.output(shape, dy.dtype), _middle(work, shape, widths))


pad = Op(
    name="pad",
    shapes="x:(...) -> y:(...)",
    rule=_shape,
    check=_check,
    attributes={"pad_width": 0, "mode": "constant"},
    cells={"constant_values": 0.0},
    reference=(_pad, _pad_backward),
    lower=(_lower, _lower_backward),
    cases=[
        {"x": (4, 5), "pad_width": ((1, 2), (0, 3)), "constant_values": 1.5},
        {"x": (2, 4, 5), "pad_width": ((0, 0), (3, 1), (4, 2)), "mode": "reflect"},
        {"x": (2, 4, 5), "pad_width": ((0, 0), (5, 1), (4, 7)), "mode": "edge"},
        {"x": (2, 4, 5), "pad_width": ((1, 1), (4, 1), (0, 2)), "mode": "wrap"},
        {"x": (), "pad_width": ()},
        {"x": (0, 3), "pad_width": ((2, 0), (1, 1))},
    ],
    bench=[{"x": (1024, 1024), "pad_width": 1}, {"x": (1024, 1024), "pad_width": 3, "mode": "reflect"}],
)
