"""Images at another size: one to three axes, each resampled by nearest neighbours, lines or cubics.

The axes are independent, so they are resampled one after the other, those first that shrink most. Images are
channels-last inside and results lie so, as for convolutions.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnn._numpy_views import integer
from fastnn.errors import DTypeError, ShapeError
from fastnn.ops.convolution.geometry import MOST
from fastnn.ops.convolution.layout import channels_second, ready
from fastnn.ops.elementwise import apply, groups
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Saved, Shape

__all__ = ["MODES", "interpolate"]

MODES = ("nearest", "nearest-exact", "linear", "cubic")
AXES = 3
BLOCK = 256  # elements beside each other that one item of a backward pass owns


class Axis(NamedTuple):
    """An axis that is resampled: `scale` inputs an output, `taps` inputs that an output takes."""

    number: int
    input: int
    output: int
    scale: float
    taps: int

    @property
    def ratio(self) -> float:
        """How the axis grows."""
        return self.output / self.input


def _axes(x: Shape, attrs: Mapping[str, Any]) -> list[Axis]:
    """The axes that change, in the order in which they are resampled."""
    mode, aligned, antialias = attrs["mode"], attrs["align_corners"], attrs["antialias"]
    found = []
    for number, (n, out) in enumerate(zip(x[2:], attrs["size"], strict=True)):
        given = attrs["scales"][number] if attrs["scales"] is not None else None
        if aligned:
            scale = (n - 1) / (out - 1) if out > 1 else 0.0
        else:
            scale = n / out if given is None else 1 / given
        if n == out and (scale == 1 or n == 1 or antialias or mode in ("nearest", "linear")):
            continue
        if mode.startswith("nearest"):
            scale = float(np.float32(scale))
        taps = {"linear": 2, "cubic": 4}.get(mode, 1)
        if antialias:
            taps = 2 * math.ceil(taps / 2 * max(scale, 1.0)) + 1
        found.append(Axis(number, n, out, scale, taps))
    return sorted(found, key=lambda axis: axis.ratio)


def _check(attributes: dict[str, Any]) -> dict[str, Any]:
    made = dict(attributes)
    size = made["size"] if isinstance(made["size"], (tuple, list)) else (made["size"],)
    made["size"] = tuple(integer("interpolate: size", s) for s in size)
    if any(not 1 <= s < MOST for s in made["size"]):
        raise ValueError(f"interpolate: size must be from 1 on and below 2**31, got {made['size']}")
    if made["mode"] not in MODES:
        raise ValueError(f"interpolate: mode must be one of {', '.join(MODES)}, got {made['mode']!r}")
    if made["mode"].startswith("nearest") and (made["align_corners"] or made["antialias"]):
        raise ValueError(f"interpolate: align_corners and antialias are for linear and cubic, not {made['mode']}")
    if made["scales"] is not None:
        made["scales"] = tuple(None if s is None else float(s) for s in made["scales"])
        if any(s is not None and not (s > 0 and math.isfinite(s)) for s in made["scales"]):
            raise ValueError(f"interpolate: scales must be positive numbers or None, got {made['scales']}")
        if len(made["scales"]) != len(made["size"]):
            raise ShapeError(f"interpolate: scales must be as many as size has extents, got {made['scales']}")
    return made | {"align_corners": bool(made["align_corners"]), "antialias": bool(made["antialias"])}


def _shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x, size = shapes["x"], attrs["size"]
    assert x is not None
    if not 3 <= len(x) <= 2 + AXES or len(size) != len(x) - 2:
        raise ShapeError(
            f"{name}: x must be (N, C, 1 to {AXES} extents) and size have as many extents, got {x}, {size}"
        )
    if min(x[2:]) < 1:
        raise ShapeError(f"{name}: x must have at least one element along each axis that is resampled, got {x}")
    return [(*x[:2], *size)]


# -- references


def _keys(x: np.ndarray, a: float) -> np.ndarray:
    """The cubic convolution kernel at distances."""
    x = np.abs(x)
    inner, outer = ((a + 2) * x - (a + 3)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a
    return np.where(x <= 1, inner, np.where(x < 2, outer, 0.0))


def _weights(axis: Axis, attrs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Indices (outputs, taps) of inputs, some beyond the ends, and their weights."""
    mode, o, size, scale = attrs["mode"], np.arange(axis.output), axis.input, axis.scale
    taps = np.arange(axis.taps)
    if mode.startswith("nearest"):
        start = ((o + 0.5 * (mode == "nearest-exact")) * scale).astype(np.float32).astype(np.int64)
        return np.minimum(start, size - 1)[:, None], np.ones((axis.output, 1))
    if attrs["antialias"]:
        centre, widening, half = scale * (o + 0.5), max(scale, 1.0), 2 if mode == "cubic" else 1
        start = np.maximum(centre - half * widening + 0.5, 0).astype(np.int64)
        stop = np.minimum((centre + half * widening + 0.5).astype(np.int64), size)
        away = (start[:, None] + taps - centre[:, None] + 0.5) / widening
        weights = _keys(away, -0.5) if mode == "cubic" else np.maximum(1 - np.abs(away), 0)
        weights = np.where(taps < (stop - start)[:, None], weights, 0.0)
        return start[:, None] + taps, weights / weights.sum(1, keepdims=True)
    position = scale * o if attrs["align_corners"] else scale * (o + 0.5) - 0.5
    if mode == "cubic":
        start = np.floor(position).astype(np.int64) - 1
        return start[:, None] + taps, _keys((position - start)[:, None] - taps, -0.75)
    start = np.minimum(np.maximum(position, 0).astype(np.int64), size - 1)
    apart = np.where(start < size - 1, np.maximum(position, 0) - start, 0.0)
    return start[:, None] + taps, np.stack([1 - apart, apart], 1)


def _matrix(axis: Axis, attrs: Mapping[str, Any], dtype: Any) -> np.ndarray:
    """What each output takes of each input, (outputs, inputs)."""
    places, weights = _weights(axis, attrs)
    made = np.zeros((axis.output, axis.input))
    np.add.at(made, (np.arange(axis.output)[:, None], np.clip(places, 0, axis.input - 1)), weights)
    return made.astype(dtype)


def _interpolate(x: np.ndarray, **attrs: Any) -> np.ndarray:
    """``x`` (N, C, ...) at another size of its last one to three axes.

    Along each axis, output ``o`` lies at ``scale * (o + 0.5) - 0.5`` among the inputs, or at ``scale * o`` with
    ``align_corners``, where the first and last elements stay what they are. ``mode`` is ``"nearest"`` (the input at
    ``floor(scale * o)``), ``"nearest-exact"`` (at ``floor(scale * (o + 0.5))``), ``"linear"`` or ``"cubic"`` (Keys,
    1981, with a = -0.75). ``scales`` are the factors that ``size`` came from, None for the quotient of the extents;
    an axis that keeps its extent stays as it is, but for cubics and ``"nearest-exact"`` with such a factor.
    ``antialias`` widens linear and cubic kernels where an axis shrinks (then a = -0.5, and weights add up to 1).
    """
    nearest = attrs["mode"].startswith("nearest")
    if x.dtype.kind not in "fc" and not nearest:
        raise DTypeError(f"interpolate: x must be of a floating dtype with mode {attrs['mode']!r}, got {x.dtype}")
    y = x
    for axis in _axes(x.shape, attrs):
        if nearest:
            y = y.take(_weights(axis, attrs)[0][:, 0], axis.number + 2)
        else:
            y = np.moveaxis(np.moveaxis(y, axis.number + 2, -1) @ _matrix(axis, attrs, x.dtype).T, -1, axis.number + 2)
    return y.copy() if y is x else y


def _backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    dx = dy
    for axis in reversed(_axes(ctx.shapes["x"], ctx.attrs)):
        matrix = _matrix(axis, ctx.attrs, dy.dtype)
        dx = np.moveaxis(np.moveaxis(dx, axis.number + 2, -1) @ matrix, -1, axis.number + 2)
    return dx.copy() if dx is dy else dx


# -- what runs


def _table(low: Lowering, axis: Axis, dtype: str) -> tuple[Array, Array]:
    """Starts and weights of an axis."""
    attrs = low.attrs
    starts, weights = low.temporary((axis.output,), "int64"), low.temporary((axis.output, axis.taps), dtype)
    group, chunks, work = groups(axis.output, 5.0 * axis.taps)
    (scale,) = struct.unpack("<q", struct.pack("<d", axis.scale))
    low.phase(
        "interpolation.table",
        [writes(starts), writes(weights), axis.input, axis.output, axis.taps, scale, group],
        chunks=chunks, work=work, flops=0, dtype=dtype, mode=attrs["mode"], aligned=attrs["align_corners"],
        antialias=attrs["antialias"],
    )  # fmt: skip
    return starts, weights


def _resampled(low: Lowering, x: Array, axes: Sequence[Axis], backward: bool) -> Array:
    """An image (N, C, ...) after all its axes."""
    image = ready(low, x, [(0, 0)] * (x.ndim - 2), dense=True)
    after = [*image.shape]
    for axis in axes:
        after[axis.number + 1] = axis.input if backward else axis.output
    shape = (after[0], after[-1], *after[1:-1])
    result = low.output(shape, x.dtype, [0, *range(2, len(shape)), 1])
    own = result.permuted([0, *range(2, len(shape)), 1])
    if not result.size:
        return result
    if not axes:
        apply(low, "copy", own, image)
        return result
    for axis in axes:
        to = [*image.shape]
        to[axis.number + 1] = axis.input if backward else axis.output
        made = own if axis is axes[-1] else low.temporary(tuple(to), x.dtype)
        _along(low, made, image, axis, backward)
        image = made
    return channels_second(image)


def _along(low: Lowering, y: Array, x: Array, axis: Axis, backward: bool) -> None:
    """Resample one axis of an image whose channels lie last."""
    starts, weights = _table(low, axis, x.dtype)
    inner, outer = math.prod(x.shape[axis.number + 2 :]), math.prod(x.shape[: axis.number + 1])
    cost = axis.taps * x.itemsize * 0.05  # nanoseconds an element
    flops = 2.0 * axis.taps * outer * axis.output * inner
    shared = [reads(starts), reads(weights), axis.input, axis.output, axis.taps, inner]
    if backward:
        block = min(BLOCK, inner)
        items = outer * -(-inner // block)
        group, chunks, work = groups(items, axis.output * (block * cost + 3 * axis.taps))
        args: list[Any] = [writes(y), reads(x), *shared, items, group, block]
        low.phase("interpolation.along_backward", args, chunks=chunks, work=work, flops=flops, dtype=x.dtype)
        return
    rows = outer * axis.output
    group, chunks, work = groups(rows, inner * cost + 3 * axis.taps)
    args = [writes(y), reads(x), *shared, rows, group]
    low.phase("interpolation.along", args, chunks=chunks, work=work, flops=flops, dtype=x.dtype)


def _lower(low: Lowering, x: Array) -> Array:
    return _resampled(low, x, _axes(x.shape, low.attrs), False)


def _lower_backward(low: Lowering, dy: Array) -> Array:
    return _resampled(low, dy, _axes(low.shapes["x"], low.attrs)[::-1], True)


interpolate = Op(
    name="interpolate",
    shapes="x:(...) -> y:(...)",
    rule=_shape,
    check=_check,
    attributes={"size": 1, "mode": "nearest", "align_corners": False, "scales": None, "antialias": False},
    reference=(_interpolate, _backward),
    lower=(_lower, _lower_backward),
    cases=[
        {"x": (2, 3, 5), "size": (9,), "mode": "linear"},
        {"x": (2, 3, 7, 4), "size": (5, 11)},
        {"x": (1, 5, 7, 4), "size": (3, 4), "mode": "nearest-exact"},
        {"x": (2, 70, 4, 5), "size": (8, 10), "mode": "linear"},
        {"x": (2, 1, 4, 6), "size": (7, 3), "mode": "linear", "align_corners": True},
        {"x": (2, 3, 4, 6), "size": (6, 9), "mode": "linear", "scales": (1.6, None)},
        {"x": (2, 3, 6, 5), "size": (9, 4), "mode": "cubic"},
        {"x": (1, 2, 3, 4), "size": (1, 7), "mode": "cubic", "align_corners": True},
        {"x": (2, 3, 11, 5), "size": (4, 8), "mode": "linear", "antialias": True},
        {"x": (1, 3, 13, 9), "size": (5, 3), "mode": "cubic", "antialias": True},
        {"x": (2, 2, 3, 4, 5), "size": (5, 2, 6), "mode": "linear"},
        {"x": (2, 3, 4, 4), "size": (4, 4), "mode": "linear"},
        {"x": (0, 3, 4, 4), "size": (2, 2)},
    ],
    bench=[
        {"x": (16, 64, 28, 28), "size": (56, 56)},
        {"x": (16, 64, 28, 28), "size": (56, 56), "mode": "linear"},
        {"x": (16, 3, 224, 224), "size": (128, 128), "mode": "cubic"},
    ],
)
