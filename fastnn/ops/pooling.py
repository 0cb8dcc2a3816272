"""Pooling of one to three axes: largest elements, with their places if asked for, and means; by windows, or adaptive.

Images are channels-last inside and results lie so, as for convolutions. For the gradient, the largest element of a
window is remembered by its number in the window, which takes a byte, or by its place where places are asked for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from fastnn._numpy_views import integer
from fastnn.errors import ShapeError
from fastnn.ops.convolution.geometry import MOST, per_axis
from fastnn.ops.convolution.layout import channels_last, channels_second, ready
from fastnn.ops.elementwise import groups
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Saved, Shape

__all__ = ["adaptive_avg_pool", "adaptive_max_pool", "adaptive_max_pool_at", "avg_pool", "max_pool", "max_pool_at"]

AXES = 3
BLOCK = 64  # channels that one item of a backward pass owns


class Windows(NamedTuple):
    """The windows along each spatial axis."""

    input: Shape
    output: Shape
    extent: Shape
    step: Shape
    padding: Shape
    dilation: Shape
    adaptive: bool

    def bounds(self, axis: int, place: int) -> tuple[int, int]:
        """Where a window begins and ends, not cut to the input."""
        size, out = self.input[axis], self.output[axis]
        if self.adaptive:
            return place * size // out, -(-(place + 1) * size // out)
        start = place * self.step[axis] - self.padding[axis]
        return start, start + (self.extent[axis] - 1) * self.dilation[axis] + 1

    def each(self) -> Iterator[tuple[Shape, tuple[slice, ...]]]:
        """Every place of the output, and what of the input its window holds."""
        for place in itertools.product(*map(range, self.output)):
            parts = []
            for axis, p in enumerate(place):
                start, stop = self.bounds(axis, p)
                by = self.dilation[axis]
                start = start if start >= 0 else start + -(start // by) * by
                parts.append(slice(start, max(0, min(stop, self.input[axis])), by))
            yield place, tuple(parts)

    def words(self) -> list[int]:
        """What the kernels take, with axes of length 1 before the spatial ones."""
        rows = [(1, 1, 1, 1, 0, 1)] * (AXES - len(self.input))
        rows += zip(self.input, self.output, self.extent, self.step, self.padding, self.dilation, strict=True)
        return [n for row in rows for n in row]


def _image(name: str, shapes: Mapping[str, Shape | None]) -> Shape:
    x = shapes["x"]
    assert x is not None
    if not 3 <= len(x) <= 2 + AXES:
        raise ShapeError(f"{name}: x must be (N, C, 1 to {AXES} extents), got {x}")
    return x


def _windows(name: str, x: Shape, attrs: Mapping[str, Any]) -> Windows:
    count = len(x) - 2
    extent = per_axis(name, "kernel", attrs["kernel"], count, 1)
    step = extent if attrs["stride"] is None else per_axis(name, "stride", attrs["stride"], count, 1)
    padding = per_axis(name, "padding", attrs["padding"], count, 0)
    dilation = per_axis(name, "dilation", attrs.get("dilation", 1), count, 1)
    if any(2 * p > (k - 1) * d + 1 for p, k, d in zip(padding, extent, dilation, strict=True)):
        raise ValueError(f"{name}: padding must be at most half of the window, got {padding} for {extent}")
    output = []
    for n, k, s, p, d in zip(x[2:], extent, step, padding, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        out = room // s + 1
        if attrs["ceil_mode"]:
            out = -(-room // s) + 1
            out -= (out - 1) * s >= n + p  # the last window must begin within the input or the padding before it
        if out < 1 or (room < 0 and not attrs["ceil_mode"]):
            raise ShapeError(f"{name}: the window must fit into the padded input, got {extent} for {x}")
        output.append(out)
    return Windows(x[2:], tuple(output), extent, step, padding, dilation, False)


def _adaptive(name: str, x: Shape, attrs: Mapping[str, Any]) -> Windows:
    count = len(x) - 2
    given = attrs["size"] if isinstance(attrs["size"], tuple) else (attrs["size"],) * count
    if len(given) != count:
        raise ShapeError(f"{name}: size must be one number or {count}, got {attrs['size']}")
    output = tuple(n if s is None else s for n, s in zip(x[2:], given, strict=True))
    if min(output) < 0 or (min(output) and 0 in x[2:]):
        raise ShapeError(f"{name}: size must not be negative, and x must have elements, got {output} for {x}")
    ones = (1,) * count
    largest = tuple(min(n, -(-n // max(1, o)) + 1) for n, o in zip(x[2:], output, strict=True))
    return Windows(x[2:], output, largest, ones, (0,) * count, ones, True)


def _plain(name: str) -> Any:
    def check(attributes: dict[str, Any]) -> dict[str, Any]:
        made = {n: tuple(v) if isinstance(v, list) else v for n, v in attributes.items()}
        divisor = made.get("divisor")
        if divisor is not None and not 1 <= integer(f"{name}: divisor", divisor) < MOST:
            raise ValueError(f"{name}: divisor must be at least 1, got {divisor}")
        if "size" in made:
            sizes = made["size"] if isinstance(made["size"], tuple) else (made["size"],)
            sizes = tuple(None if s is None else integer(f"{name}: size", s) for s in sizes)
            made["size"] = sizes if isinstance(made["size"], tuple) else sizes[0]
        return made

    return check


def _strides(x: Array) -> list[int]:
    """Distances of samples and of three axes."""
    return [x.strides[0], *(0,) * (AXES + 2 - x.ndim), *x.strides[1:-1]]


def _result(low: Lowering, x: Array, extents: Shape, dtype: str) -> Array:
    """A result (N, C, ...) with its channels last in memory, seen as (N, ..., C)."""
    shape = (x.shape[0], x.shape[-1], *extents)
    return channels_last(low.output(shape, dtype, [0, *range(2, len(shape)), 1]))


def _forward_items(x: Array, windows: Windows) -> tuple[int, int, int, float]:
    """Places of the output, those of a chunk, chunks, and the work of all."""
    items = x.shape[0] * math.prod(windows.output)
    return items, *groups(items, math.prod(windows.extent) * (x.shape[-1] * x.itemsize * 0.08 + 3))


def _at(place: Any) -> Any:
    """An index of the spatial axes."""
    return (slice(None), slice(None), *place)


# -- the largest


def _max_reference(windows: Windows, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest elements and their places."""
    y = np.empty((*x.shape[:2], *windows.output), x.dtype)
    places = np.empty(y.shape, np.int64)
    flat = np.arange(math.prod(windows.input)).reshape(windows.input)
    for place, part in windows.each():
        window = x[_at(part)]
        inside = window.reshape(*x.shape[:2], math.prod(window.shape[2:]))
        where = inside.argmax(-1)
        y[_at(place)] = np.take_along_axis(inside, where[..., None], -1)[..., 0]
        places[_at(place)] = flat[part].reshape(-1)[where]
    return y, places


def _number_type(windows: Windows) -> str:
    """The smallest type that numbers the elements of a window."""
    count = math.prod(windows.extent)
    return next(t for t in ("int8", "int32", "int64") if count <= np.iinfo(t).max + 1)


def _numbers_of(windows: Windows, places: np.ndarray) -> np.ndarray:
    """Places in the image as numbers in their windows."""
    numbers = np.empty(places.shape, _number_type(windows))
    for place, _ in windows.each():
        at = np.unravel_index(places[_at(place)], windows.input)
        steps = [(p - windows.bounds(a, place[a])[0]) // windows.dilation[a] for a, p in enumerate(at)]
        numbers[_at(place)] = np.ravel_multi_index(steps, windows.extent)
    return numbers


def _places_of(windows: Windows, numbers: np.ndarray) -> np.ndarray:
    """Numbers in windows as places in the image."""
    places = np.empty(numbers.shape, np.int64)
    for place, _ in windows.each():
        steps = np.unravel_index(numbers[_at(place)], windows.extent)
        at = [windows.bounds(a, place[a])[0] + s * windows.dilation[a] for a, s in enumerate(steps)]
        places[_at(place)] = np.ravel_multi_index(at, windows.input)
    return places


def _max_backward(shape: Shape, dy: np.ndarray, places: np.ndarray) -> np.ndarray:
    dx = np.zeros((*shape[:2], math.prod(shape[2:])), dy.dtype)
    sample, channel = np.indices(shape[:2])
    where = places.reshape(*shape[:2], math.prod(places.shape[2:]))
    np.add.at(dx, (sample[..., None], channel[..., None], where), dy.reshape(where.shape))
    return dx.reshape(shape)


def _lower_max(low: Lowering, x: Array, windows: Windows, whole: bool) -> tuple[Array, Array]:
    image = ready(low, x, [(0, 0)] * len(windows.input))
    number = "int64" if whole else _number_type(windows)
    y, numbers = (_result(low, image, windows.output, dtype) for dtype in (x.dtype, number))
    if y.size:
        rows = image.shape[0] * math.prod((1, *windows.output)[:-1])
        taps = windows.output[-1] * math.prod(windows.extent)
        group, chunks, work = groups(rows, taps * (image.shape[-1] * image.itemsize * 0.08 + 3))
        low.phase(
            "pooling.largest",
            [
                writes(y), writes(numbers), reads(image), image.shape[0],
                image.shape[-1], rows, group, *_strides(image), *windows.words(),
            ],
            chunks=chunks, work=work, flops=y.size * math.prod(windows.extent), dtype=x.dtype,
            adaptive=windows.adaptive, number=number, whole=whole,
        )  # fmt: skip
    return channels_second(y), channels_second(numbers)


def _lower_max_backward(low: Lowering, dy: Array, windows: Windows, whole: bool) -> Array:
    shape = low.shapes["x"]
    plain = [(0, 0)] * len(windows.input)
    saved = low.saved["places" if whole else "numbers"]
    own, numbers = ready(low, dy, plain, dense=True), ready(low, saved, plain, dense=True)
    dx = _result(low, own, windows.input, dy.dtype)
    if dx.size:
        blocks = -(-shape[1] // BLOCK)
        how: dict[str, Any] = {} if whole else {"adaptive": windows.adaptive, "number": numbers.dtype}
        low.phase(
            "pooling.scatter" if whole else "pooling.largest_backward",
            [
                writes(dx), reads(numbers), reads(own), shape[0], shape[1], shape[0] * blocks, BLOCK, 0, 0, 0, 0,
                *windows.words(),
            ],
            chunks=shape[0] * blocks, work=dx.size * 0.3 + own.size * 1.5, flops=own.size, dtype=dy.dtype, **how,
        )  # fmt: skip
    return channels_second(dx)


# -- means


def _mean_reference(windows: Windows, x: np.ndarray, padded: bool, divisor: int | None) -> np.ndarray:
    y = np.empty((*x.shape[:2], *windows.output), x.dtype)
    axes = tuple(range(2, x.ndim))
    for place, part in windows.each():
        count = divisor or _counted(windows, place, padded)
        y[_at(place)] = x[_at(part)].sum(axes) / count
    return y


def _counted(windows: Windows, place: Shape, padded: bool) -> int:
    """The divisor of a window."""
    count = 1
    for axis, p in enumerate(place):
        start, stop = windows.bounds(axis, p)
        size, pad = windows.input[axis], windows.padding[axis]
        count *= min(stop, size + pad) - start if padded else min(stop, size) - max(start, 0)
    return count


def _mean_backward(windows: Windows, dy: np.ndarray, shape: Shape, padded: bool, divisor: int | None) -> np.ndarray:
    dx = np.zeros(shape, dy.dtype)
    for place, part in windows.each():
        count = divisor or _counted(windows, place, padded)
        share = dy[_at(place)] / count
        dx[_at(part)] += share.reshape(*share.shape, *(1,) * len(place))
    return dx


def _lower_mean(low: Lowering, x: Array, windows: Windows, padded: bool, divisor: int | None) -> Array:
    image = ready(low, x, [(0, 0)] * len(windows.input))
    y = _result(low, image, windows.output, x.dtype)
    if y.size:
        items, group, chunks, work = _forward_items(image, windows)
        low.phase(
            "pooling.mean",
            [
                writes(y), 0, reads(image), image.shape[0], image.shape[-1], items, group, *_strides(image),
                *windows.words(), divisor or 0,
            ],
            chunks=chunks, work=work, flops=y.size * math.prod(windows.extent), dtype=x.dtype,
            adaptive=windows.adaptive, padded=padded, backward=False,
        )  # fmt: skip
    return channels_second(y)


def _lower_mean_backward(low: Lowering, dy: Array, windows: Windows, padded: bool, divisor: int | None) -> Array:
    shape = low.shapes["x"]
    own = ready(low, dy, [(0, 0)] * len(windows.input), dense=True)
    dx = _result(low, own, windows.input, dy.dtype)
    if dx.size:
        blocks = -(-shape[1] // BLOCK)
        work = dx.size * 0.3 + own.size * math.prod(windows.extent) * 0.4
        low.phase(
            "pooling.mean",
            [
                writes(dx), 0, reads(own), own.shape[0], own.shape[-1], shape[0] * blocks, BLOCK, 0, 0, 0, 0,
                *windows.words(), divisor or 0,
            ],
            chunks=shape[0] * blocks, work=work, flops=own.size * math.prod(windows.extent), dtype=dy.dtype,
            adaptive=windows.adaptive, padded=padded, backward=True,
        )  # fmt: skip
    return channels_second(dx)


# -- declarations


def _max_op(
    name: str, find: Any, attributes: dict[str, Any], cases: list[dict[str, Any]], doc: str, whole: bool = False
) -> Op:
    """`whole` gives the places too; else numbers in windows are kept for the gradient."""

    def shape(own: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
        x = _image(own, shapes)
        result = (*x[:2], *find(own, x, attrs).output)
        return [result, result]

    def forward(x: np.ndarray, **attrs: Any) -> tuple[np.ndarray, np.ndarray]:
        windows = find(name, x.shape, attrs)
        y, places = _max_reference(windows, x)
        return y, places if whole else _numbers_of(windows, places)

    def backward(ctx: Saved, dy: np.ndarray, _: Any = None) -> np.ndarray:
        shape = ctx.shapes["x"]
        if whole:
            return _max_backward(shape, dy, ctx.saved["places"])
        return _max_backward(shape, dy, _places_of(find(name, shape, ctx.attrs), ctx.saved["numbers"]))

    def lower(low: Lowering, x: Array) -> tuple[Array, Array]:
        return _lower_max(low, x, find(name, x.shape, low.attrs), whole)

    def lower_backward(low: Lowering, dy: Array, _: Any = None) -> Array:
        return _lower_max_backward(low, dy, find(name, low.shapes["x"], low.attrs), whole)

    return Op(
        name=name,
        shapes="x:(...) -> y:(...) places:(...)" if whole else "x:(...) -> y:(...); numbers:(...)",
        rule=shape,
        check=_plain(name),
        attributes=attributes,
        reference=(forward, backward),
        lower=(lower, lower_backward),
        saves=("places" if whole else "numbers",),
        cases=cases,
        bench=[{"x": (16, 64, 56, 56), **{n: v for n, v in cases[1].items() if n != "x"}}],
        doc=doc,
    )


def _mean_op(name: str, find: Any, attributes: dict[str, Any], cases: list[dict[str, Any]], doc: str) -> Op:
    def options(attrs: Mapping[str, Any]) -> tuple[bool, int | None]:
        return bool(attrs.get("count_padding", False)), attrs.get("divisor")

    def shape(own: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
        x = _image(own, shapes)
        return [(*x[:2], *find(own, x, attrs).output)]

    def forward(x: np.ndarray, **attrs: Any) -> np.ndarray:
        return _mean_reference(find(name, x.shape, attrs), x, *options(attrs))

    def backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
        return _mean_backward(find(name, ctx.shapes["x"], ctx.attrs), dy, ctx.shapes["x"], *options(ctx.attrs))

    def lower(low: Lowering, x: Array) -> Array:
        return _lower_mean(low, x, find(name, x.shape, low.attrs), *options(low.attrs))

    def lower_backward(low: Lowering, dy: Array) -> Array:
        return _lower_mean_backward(low, dy, find(name, low.shapes["x"], low.attrs), *options(low.attrs))

    return Op(
        name=name,
        shapes="x:(...) -> y:(...)",
        rule=shape,
        check=_plain(name),
        attributes=attributes,
        reference=(forward, backward),
        lower=(lower, lower_backward),
        cases=cases,
        bench=[{"x": (16, 64, 56, 56), **{n: v for n, v in cases[1].items() if n != "x"}}],
        doc=doc,
    )


_WINDOWS = {"kernel": 2, "stride": None, "padding": 0}
_SIZES: list[dict[str, Any]] = [
    {"x": (2, 3, 9), "size": 4},
    {"x": (2, 5, 7, 9), "size": (3, 2)},
    {"x": (2, 70, 4, 5), "size": (None, 3)},
    {"x": (1, 2, 3, 4, 5), "size": (2, 3, 4)},
    {"x": (2, 3, 4, 4), "size": 1},
]

_WINDOW_CASES: list[dict[str, Any]] = [
    {"x": (2, 3, 9), "kernel": 3, "stride": 2, "padding": 1},
    {"x": (2, 5, 8, 7), "kernel": 2},
    {"x": (2, 70, 9, 8), "kernel": (3, 2), "stride": (2, 1), "padding": (1, 0), "ceil_mode": True},
    {"x": (1, 3, 11, 10), "kernel": 3, "stride": 2, "dilation": 2, "padding": 1},
    {"x": (1, 17, 13, 12), "kernel": (12, 11), "padding": 5},
    {"x": (2, 2, 4, 5, 6), "kernel": (2, 3, 2), "stride": 1},
    {"x": (0, 3, 4, 4), "kernel": 2},
]
_MAX = (
    "x (N, C, ...). Windows of ``kernel`` elements, ``dilation`` apart, begin every ``stride`` (default: the window's "
    "extent), ``padding`` before the input; ``ceil_mode`` lets the last one reach over the end. A NaN is the largest."
)
_PLACES = "and its place among the places of the input (in C order)."
_MAX_ATTRIBUTES = {**_WINDOWS, "dilation": 1, "ceil_mode": False}

max_pool = _max_op(
    "max_pool", _windows, _MAX_ATTRIBUTES, _WINDOW_CASES, f"The largest element of each window.\n\n{_MAX}"
)
max_pool_at = _max_op(
    "max_pool_at", _windows, _MAX_ATTRIBUTES, _WINDOW_CASES,
    f"The largest element of each window, {_PLACES}\n\n{_MAX}", whole=True,
)  # fmt: skip
adaptive_max_pool = _max_op(
    "adaptive_max_pool", _adaptive, {"size": 1}, _SIZES,
    "The largest elements of ``size`` windows along each axis (None: as many as elements).",
)  # fmt: skip
adaptive_max_pool_at = _max_op(
    "adaptive_max_pool_at", _adaptive, {"size": 1}, _SIZES,
    f"The largest element of each of ``size`` windows along each axis (None: as many as elements), {_PLACES}",
    whole=True,
)  # fmt: skip
avg_pool = _mean_op(
    "avg_pool",
    _windows,
    {**_WINDOWS, "ceil_mode": False, "count_padding": True, "divisor": None},
    [
        {"x": (2, 3, 9), "kernel": 3, "stride": 2, "padding": 1},
        {"x": (2, 5, 8, 7), "kernel": 2},
        {"x": (2, 70, 9, 8), "kernel": (3, 2), "stride": (2, 1), "padding": (1, 1), "ceil_mode": True},
        {"x": (2, 3, 7, 6), "kernel": 3, "stride": 2, "padding": 1, "count_padding": False},
        {"x": (2, 3, 7, 6), "kernel": 3, "divisor": 5},
        {"x": (2, 2, 4, 5, 6), "kernel": (2, 3, 2), "stride": 1},
        {"x": (0, 3, 4, 4), "kernel": 2},
    ],
    "The mean of each window; see `max_pool`. ``count_padding`` says whether zeros of the padding count, ``divisor`` "
    "takes the place of the number of elements.",
)
adaptive_avg_pool = _mean_op(
    "adaptive_avg_pool", _adaptive, {"size": 1}, _SIZES,
    "The means of ``size`` windows along each axis (None: as many as elements).",
)  # fmt: skip
