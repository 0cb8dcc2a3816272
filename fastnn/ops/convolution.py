"""Convolution of any number of axes, stride, padding, dilation and groups, and its transpose, as contractions of views.

A. Images are channels-last inside: an operand that lies otherwise, or must be padded, is copied once. A view of it has
   an axis for every place of the output and for every tap of the kernel; where taps lie side by side, as along the
   last axis without dilation, they join the channels. So a convolution is a contraction over taps and channels
   (`fastnn.ops.contraction`), and nothing is unfolded in memory.
B. The gradient of the input is a convolution of the output's gradient with the flipped kernel. With a stride, places
   of the input fall into classes by their remainder, each of which meets taps of its own: one contraction a class.
C. With one channel a group, taps are added one after the other, channels beside one another.
D. `conv_transpose` is that gradient as a function of its own.

Results lie in memory with the channels last, whatever the operands do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from fastnn._numpy_views import integer
from fastnn.errors import ShapeError
from fastnn.ops.contraction import contract, flops_of_gradients
from fastnn.ops.elementwise import apply
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.reduction import sum_axes
from fastnn.ops.views import fill, put, sliced

PLACES, TAPS, MOST = "ABC", "abc", 1 << 31
SHORT = 40  # places of the last axis up to which a weight's gradient unfolds the input along it


class Geometry(NamedTuple):
    """Extents and steps of a convolution, each a tuple with an entry for every spatial axis."""

    input: Shape
    kernel: Shape
    stride: Shape
    padding: tuple[tuple[int, int], ...]
    dilation: Shape
    groups: int
    output: Shape = ()

    @property
    def padded(self) -> Shape:
        """Extents of the padded input."""
        return tuple(n + sum(pair) for n, pair in zip(self.input, self.padding, strict=True))

    @property
    def reach(self) -> Shape:
        """Extents that the dilated kernel covers."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))

    def with_output(self) -> Geometry:
        """This, with the extents of the output that the input has."""
        steps = zip(self.padded, self.reach, self.stride, strict=True)
        return self._replace(output=tuple((n - r) // s + 1 for n, r, s in steps))


# -- attributes and shapes


def per_axis(name: str, what: str, given: Any, count: int, least: int) -> Shape:
    """A number for each spatial axis, from one for all or one for each."""
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,) * count
    if len(values) == 1:
        values *= count
    if len(values) != count:
        raise ShapeError(f"{name}: {what} must be one number or {count}, got {given}")
    values = tuple(integer(f"{name}: {what}", v) for v in values)
    if any(not least <= v < MOST for v in values):
        raise ValueError(f"{name}: {what} must be from {least} on and below 2**31, got {given}")
    return values


def _pairs(name: str, given: Any, count: int) -> tuple[tuple[int, int], ...]:
    """Padding before and after each spatial axis."""
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    values = values * count if len(values) == 1 else values
    if len(values) != count:
        raise ShapeError(f"{name}: padding must be one number or {count}, got {given}")
    found = []
    for value in values:
        pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
        if len(pair) != 2:
            raise ShapeError(f"{name}: padding of an axis must be a number or a pair, got {value}")
        before, after = (integer(f"{name}: padding", v) for v in pair)
        if not (0 <= before < MOST and 0 <= after < MOST):
            raise ValueError(f"{name}: padding must be from 0 on and below 2**31, got {given}")
        found.append((before, after))
    return tuple(found)


def same_padding(name: str, padding: str, kernel: Shape, stride: Any, dilation: Any) -> tuple[tuple[int, int], ...]:
    """Padding in words, as torch's: ``"valid"`` adds nothing, ``"same"`` what keeps the extents at stride 1."""
    count = len(kernel)
    if padding == "valid":
        return ((0, 0),) * count
    if padding != "same":
        raise ValueError(f"{name}: padding must be numbers, 'same' or 'valid', got {padding!r}")
    if any(s != 1 for s in per_axis(name, "stride", stride, count, 1)):
        raise ValueError(f"{name}: padding 'same' needs stride 1, got {stride}")
    totals = [d * (k - 1) for d, k in zip(per_axis(name, "dilation", dilation, count, 1), kernel, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def _check(attributes: dict[str, Any]) -> dict[str, Any]:
    made = dict(attributes)
    for name, value in attributes.items():
        if isinstance(value, list):
            made[name] = tuple(tuple(v) if isinstance(v, list) else v for v in value)
    groups = integer("conv: groups", attributes["groups"])
    if groups < 1:
        raise ValueError(f"conv: groups must be at least 1, got {groups}")
    return made | {"groups": groups}


def _axes(name: str, shapes: Mapping[str, Shape | None]) -> tuple[Shape, Shape]:
    x, w = shapes["x"], shapes["w"]
    assert x is not None
    assert w is not None
    if not 3 <= len(x) <= 2 + len(PLACES) or len(w) != len(x):
        raise ShapeError(f"{name}: x must be (N, C, 1 to 3 extents) and w have as many axes, got {x} and {w}")
    return x, w


def _geometry(name: str, x: Shape, w: Shape, attrs: Mapping[str, Any]) -> Geometry:
    count = len(x) - 2
    stride = per_axis(name, "stride", attrs["stride"], count, 1)
    dilation = per_axis(name, "dilation", attrs["dilation"], count, 1)
    geometry = Geometry(x[2:], w[2:], stride, _pairs(name, attrs["padding"], count), dilation, attrs["groups"])
    if min(w[2:]) < 1:
        raise ShapeError(f"{name}: w must have at least one tap along each axis, got {w}")
    return geometry.with_output()


def _forward_geometry(name: str, shapes: Mapping[str, Shape | None], attrs: Mapping[str, Any]) -> Geometry:
    x, w = _axes(name, shapes)
    geometry = _geometry(name, x, w, attrs)
    groups = geometry.groups
    if w[1] * groups != x[1] or w[0] % groups:
        raise ShapeError(
            f"{name}: w must have shape ({groups} * O, {x[1] / groups:g}, ...) for x {x} in {groups} groups, got {w}"
        )
    if min(geometry.output) < 1:
        raise ShapeError(
            f"{name}: the kernel must fit into the padded input, got {geometry.reach} for {geometry.padded}"
        )
    _check_bias(name, shapes, w[0])
    return geometry


def _check_bias(name: str, shapes: Mapping[str, Shape | None], count: int) -> None:
    b = shapes.get("b")
    if b is not None and b != (count,):
        raise ShapeError(f"{name}: b must have shape ({count},), got {b}")


def _shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    geometry = _forward_geometry(name, shapes, attrs)
    x, w = _axes(name, shapes)
    return [(x[0], w[0], *geometry.output)]


def _transposed_geometry(name: str, shapes: Mapping[str, Shape | None], attrs: Mapping[str, Any]) -> Geometry:
    """That of the convolution whose input's gradient the transposed one is."""
    x, w = _axes(name, shapes)
    extra = per_axis(name, "output_padding", attrs["output_padding"], len(x) - 2, 0)
    own = _geometry(name, x, w, attrs)
    if w[0] != x[1] or w[0] % own.groups:
        raise ShapeError(f"{name}: w must have shape ({x[1]}, O, ...), divided by {own.groups} groups, got {w}")
    if any(e >= max(s, d) for e, s, d in zip(extra, own.stride, own.dilation, strict=True)):
        raise ValueError(f"{name}: output_padding must be smaller than stride or dilation, got {extra}")
    _check_bias(name, shapes, w[1] * own.groups)
    result = tuple(
        (n - 1) * s - sum(p) + r + e
        for n, s, p, r, e in zip(own.input, own.stride, own.padding, own.reach, extra, strict=True)
    )
    if min(result) < 1 or min(own.input) < 1:
        raise ShapeError(f"{name}: the output must have at least one element along each axis, got {result}")
    # an output padding beyond the stride would make room for more outputs of the convolution; they stay unused
    return own._replace(input=result, output=own.input)


def _transposed_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    geometry = _transposed_geometry(name, shapes, attrs)
    x, w = _axes(name, shapes)
    return [(x[0], w[1] * geometry.groups, *geometry.input)]


# -- references


def _windows(x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The padded input as (N, groups, C, places, taps)."""
    padded = np.pad(x, ((0, 0), (0, 0), *geometry.padding))
    n, c, *steps = padded.strides
    return as_strided(
        padded,
        (x.shape[0], geometry.groups, x.shape[1] // geometry.groups, *geometry.output, *geometry.kernel),
        (
            n, c * (x.shape[1] // geometry.groups), c,
            *(t * s for t, s in zip(steps, geometry.stride, strict=True)),
            *(t * d for t, d in zip(steps, geometry.dilation, strict=True)),
        ),
    )  # fmt: skip


def _grouped(w: np.ndarray, groups: int) -> np.ndarray:
    return w.reshape(groups, w.shape[0] // groups, *w.shape[1:])


def _at(places: Any) -> Any:
    """An index of the last axes."""
    return (..., *places)


def _correlated(x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
    places, taps = PLACES[: len(geometry.input)], TAPS[: len(geometry.input)]
    y = np.einsum(f"ngk{places}{taps},gok{taps}->ngo{places}", _windows(x, geometry), _grouped(w, geometry.groups))
    return y.reshape(x.shape[0], w.shape[0], *geometry.output)


def _spread(dy: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """What `_correlated` sends back to its input."""
    groups, count = geometry.groups, len(geometry.input)
    own = dy.reshape(dy.shape[0], groups, dy.shape[1] // groups, *geometry.output)
    result = np.zeros((dy.shape[0], groups, w.shape[1], *geometry.padded), dy.dtype)
    places = PLACES[:count]
    for tap in itertools.product(*map(range, geometry.kernel)):
        part = np.einsum(f"ngo{places},gok->ngk{places}", own, _grouped(w, groups)[_at(tap)])
        where = tuple(
            slice(t * d, t * d + s * (o - 1) + 1, s)
            for t, d, s, o in zip(tap, geometry.dilation, geometry.stride, geometry.output, strict=True)
        )
        result[_at(where)] += part
    inside = tuple(slice(p[0], p[0] + n) for p, n in zip(geometry.padding, geometry.input, strict=True))
    return result[_at(inside)].reshape(dy.shape[0], groups * w.shape[1], *geometry.input)


def _weight_gradient(x: np.ndarray, dy: np.ndarray, w_shape: Shape, geometry: Geometry) -> np.ndarray:
    groups, count = geometry.groups, len(geometry.input)
    own = dy.reshape(dy.shape[0], groups, dy.shape[1] // groups, *geometry.output)
    places, taps = PLACES[:count], TAPS[:count]
    dw = np.einsum(f"ngk{places}{taps},ngo{places}->gok{taps}", _windows(x, geometry), own)
    return dw.reshape(w_shape)


def _with_bias(y: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    return y if b is None else y + b.reshape(-1, *(1,) * (y.ndim - 2))


def _conv(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, **attrs: Any) -> np.ndarray:
    """The sum over taps and channels of ``x[n, c, s * place + d * tap - padding] * w[o, c, tap]``, plus ``b[o]``.

    x (N, C, ...) with one to three extents, w (O, C / groups, taps ...), b (O,). ``padding`` is a number, or one (or a
    pair before and after) for each axis; ``stride`` and ``dilation`` a number or one for each axis.
    """
    shapes = {"x": x.shape, "w": w.shape, "b": None if b is None else b.shape}
    return _with_bias(_correlated(x, w, _forward_geometry("conv", shapes, attrs)), b)


def _conv_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
    x, w = ctx.saved["x"], ctx.saved["w"]
    geometry = _forward_geometry("conv", {"x": x.shape, "w": w.shape}, ctx.attrs)
    return (
        _spread(dy, w, geometry) if ctx.needs["x"] else None,
        _weight_gradient(x, dy, w.shape, geometry) if ctx.needs["w"] else None,
        dy.sum((0, *range(2, dy.ndim))) if ctx.needs["b"] else None,
    )


def _conv_transpose(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, **attrs: Any) -> np.ndarray:
    """The gradient that `conv` with the same weight and attributes sends to its input, plus ``b``.

    x (N, C, ...), w (C, O / groups, taps ...), b (O,). ``output_padding`` adds elements at the end of each axis.
    """
    shapes = {"x": x.shape, "w": w.shape, "b": None if b is None else b.shape}
    return _with_bias(_spread(x, w, _transposed_geometry("conv_transpose", shapes, attrs)), b)


def _conv_transpose_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
    x, w = ctx.saved["x"], ctx.saved["w"]
    geometry = _transposed_geometry("conv_transpose", {"x": x.shape, "w": w.shape}, ctx.attrs)
    return (
        _correlated(dy, w, geometry) if ctx.needs["x"] else None,
        _weight_gradient(dy, x, w.shape, geometry) if ctx.needs["w"] else None,
        dy.sum((0, *range(2, dy.ndim))) if ctx.needs["b"] else None,
    )


# -- lowering: arrays with the channels last, (N, places ..., channels)


def channels_last(x: Array) -> Array:
    """An image (N, C, ...) seen as (N, ..., C)."""
    return x.permuted([0, *range(2, x.ndim), 1])


def channels_second(x: Array) -> Array:
    """An image (N, ..., C) seen as (N, C, ...)."""
    return x.permuted([0, x.ndim - 1, *range(1, x.ndim - 1)])


def ready(low: Lowering, x: Array, padding: Sequence[tuple[int, int]], dense: bool = False) -> Array:
    """An operand (N, C, ...) with its channels last and side by side (`dense`: without gaps), and zeros around it."""
    last = channels_last(x)
    if not any(map(any, padding)) and (last.contiguous if dense else last.strides[-1] == 1 or last.shape[-1] == 1):
        return last
    shape = (last.shape[0], *(n + a + b for n, (a, b) in zip(last.shape[1:-1], padding, strict=True)), last.shape[-1])
    made = low.temporary(shape, x.dtype)
    inside = sliced(made, slice(None), *(slice(a, a + n) for n, (a, _) in zip(last.shape[1:-1], padding, strict=True)))
    if any(map(any, padding)):
        fill(low, made)
        put(low, inside, last)
        return made
    return apply(low, "copy", made, last)


def _split(x: Array, axis: int, groups: int) -> Array:
    """An axis as (groups, rest)."""
    n, s = x.shape[axis], x.strides[axis]
    shape = (*x.shape[:axis], groups, n // groups, *x.shape[axis + 1 :])
    return replace(x, shape=shape, strides=(*x.strides[:axis], s * (n // groups), s, *x.strides[axis + 1 :]))


def _join(x: Array, axis: int) -> Array:
    """Two axes, evenly stepped through, as one."""
    n = x.shape[axis] * x.shape[axis + 1]
    step = x.strides[axis + 1] if x.shape[axis + 1] > 1 else x.strides[axis]
    return replace(
        x,
        shape=(*x.shape[:axis], n, *x.shape[axis + 2 :]),
        strides=(*x.strides[:axis], step, *x.strides[axis + 2 :]),
    )


def _window_view(x: Array, geometry: Geometry) -> Array:
    """A padded input (N, ..., C) as (N, places, taps, groups, C / groups)."""
    steps = x.strides[1:-1]
    view = replace(
        x,
        shape=(x.shape[0], *geometry.output, *geometry.kernel, x.shape[-1]),
        strides=(
            x.strides[0],
            *(t * s for t, s in zip(steps, geometry.stride, strict=True)),
            *(t * d for t, d in zip(steps, geometry.dilation, strict=True)),
            x.strides[-1],
        ),
    )
    return _split(view, view.ndim - 1, geometry.groups)


def _correlate(low: Lowering, x: Array, w: Array, b: Array | None, geometry: Geometry) -> Array:
    """The result (N, O, places) of a padded input (N, ..., C)."""
    count = len(geometry.input)
    places, taps = PLACES[:count], TAPS[:count]
    view, weight = _window_view(x, geometry), _split(w, 0, geometry.groups)
    if geometry.groups > 1 and weight.shape[2] == 1:
        y = _tap_by_tap(low, view, weight, count)
    else:
        bias = b if geometry.groups == 1 else None
        if geometry.groups == 1:
            one, two = f"n{places}{taps}k", f"ok{taps}"
            view, weight = _join(view, view.ndim - 2), _join(weight, 0)
            y = contract(low, (view, one), (weight, two), f"n{places}o", final=False, bias=bias)
        else:
            y = contract(low, (view, f"n{places}{taps}gk"), (weight, f"gok{taps}"), f"n{places}go", final=False)
            y = _join(y, y.ndim - 2)
        b = None if bias is not None else b
    if b is not None:
        apply(low, "add", y, y, b, in_place=True)
    return channels_second(y)


def _tap_by_tap(low: Lowering, view: Array, weight: Array, count: int) -> Array:
    """(N, places, groups * O) of a view (N, places, taps, groups, 1) and a weight (groups, O, 1, taps)."""
    groups, out = weight.shape[:2]
    shape = (*view.shape[: 1 + count], groups, out)
    y = low.temporary(shape, view.dtype)
    for i, tap in enumerate(itertools.product(*map(range, weight.shape[3:]))):
        x = sliced(view, *(slice(None),) * (1 + count), *tap)
        factor = sliced(weight, slice(None), slice(None), 0, *tap)
        if i == 0:
            apply(low, "multiply", y, x, factor)
        else:
            apply(low, "multiply_add", y, y, x, factor, in_place=True)
    return _join(y, y.ndim - 2)


class _Class(NamedTuple):
    """Places of an axis with the same remainder, and the taps that they meet.

    Place ``first + step * q`` meets tap ``tap + tap_step * u`` at output ``q + start - back * u``.
    """

    places: int
    tap: int
    tap_step: int
    taps: int
    start: int
    back: int


def _classes(n: int, kernel: int, stride: int, before: int, dilation: int) -> list[_Class]:
    common = math.gcd(stride, dilation)
    tap_step, back = stride // common, dilation // common
    found = []
    for first in range(min(stride, n)):
        remainder, whole = (before + first) % stride, (before + first) // stride
        tap = next((i for i in range(min(tap_step, kernel)) if i * dilation % stride == remainder), None)
        taps = 0 if tap is None else -(-(kernel - tap) // tap_step)
        start = 0 if tap is None else whole + (remainder - dilation * tap) // stride
        found.append(_Class(-(-(n - first) // stride), tap or 0, tap_step, taps, start, back))
    return found


def _send_back(low: Lowering, dy: Array, w: Array, geometry: Geometry) -> Array:
    """What the input (N, C, ...) gets back from an output (N, O, ...): the transpose of `_correlate`."""
    count, groups = len(geometry.input), geometry.groups
    axes = [
        _classes(n, k, s, p[0], d)
        for n, k, s, p, d in zip(
            geometry.input, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation, strict=True
        )
    ]
    around = []
    for classes, extent in zip(axes, geometry.output, strict=True):
        served = [c for c in classes if c.taps]
        before = max([0, *(c.back * (c.taps - 1) - c.start for c in served)])
        after = max([0, *(c.places - 1 + c.start - (extent - 1) for c in served)])
        around.append((before, after))
    source = _split(ready(low, dy, around), dy.ndim - 1, groups)
    weight = _split(w, 0, groups)
    places, taps = PLACES[:count], TAPS[:count]
    channels = groups * w.shape[1]
    if all(len(classes) == 1 for classes in axes) and all(c.taps for classes in axes for c in classes):
        return _one_class(low, source, weight, [c[0] for c in axes], around, places, taps, groups)
    dx = low.temporary((dy.shape[0], *geometry.input, channels), dy.dtype)
    if any(not c.taps for classes in axes for c in classes):
        fill(low, dx)
    for chosen in itertools.product(*(range(len(classes)) for classes in axes)):
        own = [classes[i] for classes, i in zip(axes, chosen, strict=True)]
        if all(c.taps for c in own):
            part = _one_class(low, source, weight, own, around, places, taps, groups)
            where = (slice(i, None, s) for i, s in zip(chosen, geometry.stride, strict=True))
            put(low, sliced(dx, slice(None), *where), channels_last(part))
    return channels_second(dx)


def _one_class(
    low: Lowering, source: Array, weight: Array, own: Sequence[_Class], around: Sequence[tuple[int, int]], places: str,
    taps: str, groups: int,
) -> Array:  # fmt: skip
    """The places (N, C, ...) of one class for each axis, of a padded output (N, ..., groups, O)."""
    count = len(own)
    steps = source.strides[1 : 1 + count]
    # the last tap first: along the output taps then ascend, and join the channels
    first = [b + c.start - c.back * (c.taps - 1) for (b, _), c in zip(around, own, strict=True)]
    view = replace(
        source,
        shape=(source.shape[0], *(c.places for c in own), *(c.taps for c in own), *source.shape[-2:]),
        strides=(
            source.strides[0], *steps, *(c.back * t for c, t in zip(own, steps, strict=True)), *source.strides[-2:],
        ),
        offset=source.offset + source.itemsize * sum(f * t for f, t in zip(first, steps, strict=True)),
    )  # fmt: skip
    weight = sliced(weight, *(slice(None),) * 3, *(slice(c.tap, None, c.tap_step) for c in own))
    weight = sliced(weight, *(slice(None),) * 3, *(slice(None, None, -1),) * count)
    if groups > 1 and weight.shape[1] == weight.shape[2] == 1:
        return channels_second(_tap_by_tap(low, view, weight, count))
    turned = weight.permuted([*range(3, 3 + count), 0, 1, 2])
    turned = apply(low, "copy", low.temporary(turned.shape, turned.dtype), turned)
    if groups == 1:
        view, turned = _join(view, view.ndim - 2), _join(turned, count)
        made = contract(low, (view, f"n{places}{taps}o"), (turned, f"{taps}ok"), f"n{places}k", final=False)
    else:
        made = contract(low, (view, f"n{places}{taps}go"), (turned, f"{taps}gok"), f"n{places}gk", final=False)
        made = _join(made, made.ndim - 2)
    return channels_second(made)


def _unfolded(low: Lowering, x: Array, geometry: Geometry) -> Array:
    """The view of `_window_view`, over a copy of the input in which the windows of the last axis are laid out.

    In it the places of the last two axes join, so sums over places come in long chains.
    """
    count = len(geometry.input)
    last = geometry._replace(
        input=geometry.padded, padding=((0, 0),) * count, kernel=(*(1,) * (count - 1), geometry.kernel[-1]),
        stride=(*(1,) * (count - 1), geometry.stride[-1]),
    ).with_output()  # fmt: skip
    windows = _window_view(x, last._replace(groups=1))  # (N, places, 1 ..., taps, 1, C)
    source = sliced(windows, *(slice(None),) * (1 + count), *(0,) * (count - 1), slice(None), 0)
    made = apply(low, "copy", low.temporary(source.shape, x.dtype), source)
    steps = made.strides[1:count]
    view = replace(
        made,
        shape=(x.shape[0], *geometry.output, *geometry.kernel, x.shape[-1]),
        strides=(
            made.strides[0],
            *(t * s for t, s in zip(steps, geometry.stride[:-1], strict=True)), made.strides[count],
            *(t * d for t, d in zip(steps, geometry.dilation[:-1], strict=True)), *made.strides[count + 1 :],
        ),
    )  # fmt: skip
    return _split(view, view.ndim - 1, geometry.groups)


def _lower_weight_gradient(low: Lowering, x: Array, dy: Array, w: Array, geometry: Geometry) -> Array:
    """The gradient of a weight, laid out as it, from a padded input and an output gradient, channels last."""
    count, groups = len(geometry.input), geometry.groups
    places, taps = PLACES[:count], TAPS[:count]
    view, own = _window_view(x, geometry), _split(dy, dy.ndim - 1, groups)
    if 1 < geometry.output[-1] <= SHORT and count > 1 and geometry.kernel[-1] > 1:
        view = _unfolded(low, x, geometry)
    made = contract(
        low, (view, f"n{places}{taps}gk"), (own, f"n{places}go"), f"{taps}gko", final=False, never_columns="g"
    )  # fmt: skip
    dense = made.permuted([count, count + 2, count + 1, *range(count)])
    dw = low.output(w.shape, w.dtype, [*range(2, w.ndim), 1, 0])
    put(low, _split(dw, 0, groups), dense)
    return dw


def _bias_gradient(low: Lowering, dy: Array) -> Array:
    return sum_axes(low, dy, range(dy.ndim - 1), low.output((dy.shape[-1],), dy.dtype))


def _lower(low: Lowering, x: Array, w: Array, b: Array | None) -> Array:
    geometry = _forward_geometry("conv", _shapes(x, w), low.attrs)
    if 0 in (x.shape[0], w.shape[0]):
        return low.output((x.shape[0], w.shape[0], *geometry.output), x.dtype)
    return _correlate(low, ready(low, x, geometry.padding), w, b, geometry)


def _shapes(x: Array, w: Array) -> dict[str, Shape | None]:
    return {"x": x.shape, "w": w.shape}


def _lower_backward(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
    x, w = low.saved["x"], low.saved["w"]
    geometry = _forward_geometry("conv", _shapes(x, w), low.attrs)
    return _gradients(low, x, dy, w, geometry, x, dy)


def _gradients(
    low: Lowering, x: Array, dy: Array, w: Array, geometry: Geometry, wide: Array, narrow: Array
) -> tuple[Array | None, ...]:
    """Gradients of input, weight and bias; `wide` and `narrow` are what a convolution calls input and output."""
    if 0 in (*x.shape[:2], *dy.shape[:2]):
        return NotImplemented, None, None
    dx = dw = db = None
    plain = [(0, 0)] * len(geometry.input)
    if low.needs["w"]:
        dw = _lower_weight_gradient(low, ready(low, wide, geometry.padding), ready(low, narrow, plain), w, geometry)
    if low.needs["b"]:
        db = _bias_gradient(low, ready(low, dy, plain))
    if low.needs["x"]:
        if wide is x:
            dx = _send_back(low, dy, w, geometry)
        else:
            dx = _correlate(low, ready(low, dy, geometry.padding), w, None, geometry)
    return dx, dw, db


def _lower_transpose(low: Lowering, x: Array, w: Array, b: Array | None) -> Array:
    geometry = _transposed_geometry("conv_transpose", _shapes(x, w), low.attrs)
    channels = geometry.groups * w.shape[1]
    if 0 in (x.shape[0], x.shape[1], channels):
        return NotImplemented
    y = _send_back(low, x, w, geometry)
    if b is not None:
        last = channels_last(y)
        apply(low, "add", last, last, b, in_place=True)
    return y


def _lower_transpose_backward(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
    x, w = low.saved["x"], low.saved["w"]
    geometry = _transposed_geometry("conv_transpose", _shapes(x, w), low.attrs)
    return _gradients(low, x, dy, w, geometry, dy, x)


# -- declarations


def _flops(x: Shape, w: Shape, b: Shape | None = None, **attrs: Any) -> float:
    geometry = _forward_geometry("conv", {"x": x, "w": w}, attrs)
    return 2.0 * x[0] * math.prod(w) * math.prod(geometry.output)


def _transposed_flops(x: Shape, w: Shape, b: Shape | None = None, **attrs: Any) -> float:
    return 2.0 * x[0] * math.prod(w) * math.prod(x[2:])


def _backward_flops(flops: Any) -> Any:
    products = flops_of_gradients(flops, "x", "w")

    def counted(needs: Mapping[str, bool], **given: Any) -> float:
        return products(needs, **given)

    return counted


CASES: list[dict[str, Any]] = [
    {"x": (2, 3, 9), "w": (4, 3, 3), "b": (4,)},
    {"x": (2, 3, 9), "w": (4, 3, 4), "b": None, "stride": 2, "padding": 2, "dilation": 2},
    {"x": (2, 5, 7, 6), "w": (3, 5, 3, 3), "b": (3,), "padding": 1},
    {"x": (1, 1, 8, 9), "w": (6, 1, 5, 2), "b": None, "stride": (2, 3), "padding": ((1, 2), (0, 3))},
    {"x": (2, 6, 5, 5), "w": (8, 3, 2, 3), "b": (8,), "groups": 2, "stride": 2, "padding": 1},
    {"x": (2, 4, 6, 7), "w": (8, 1, 3, 3), "b": (8,), "groups": 4, "padding": 1, "dilation": (1, 2)},
    {"x": (2, 33, 4, 4), "w": (33, 1, 3, 3), "b": None, "groups": 33, "stride": 2, "padding": 1},
    {"x": (3, 17, 5, 4), "w": (19, 17, 1, 1), "b": (19,)},
    {"x": (2, 2, 3, 4, 5), "w": (3, 2, 2, 3, 2), "b": (3,), "stride": (1, 2, 1), "padding": 1},
    {"x": (0, 2, 5, 5), "w": (3, 2, 3, 3), "b": (3,)},
]
TRANSPOSED: list[dict[str, Any]] = [
    {"x": (2, 3, 5), "w": (3, 4, 3), "b": (4,)},
    {"x": (2, 4, 5, 4), "w": (4, 3, 3, 2), "b": (3,), "stride": (2, 3), "padding": 1, "output_padding": (1, 0)},
    {"x": (1, 6, 4, 4), "w": (6, 2, 3, 3), "b": None, "groups": 3, "stride": 2, "dilation": 2, "padding": 2},
    {"x": (2, 4, 3, 3), "w": (4, 1, 2, 2), "b": (4,), "groups": 4, "stride": 3},
    {"x": (1, 2, 3, 2, 3), "w": (2, 3, 2, 2, 1), "b": (3,), "stride": 2},
]
ATTRIBUTES = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}

conv = Op(
    name="conv",
    shapes="x:(...) w:(...) b:(...)? -> y:(...)",
    rule=_shape,
    check=_check,
    attributes=ATTRIBUTES,
    reference=(_conv, _conv_backward),
    lower=(_lower, _lower_backward),
    saves=("x", "w"),
    uses={"x": ("w",), "w": ("x",)},
    flops=_flops,
    backward_flops=_backward_flops(_flops),
    cases=CASES,
    bench=[{"x": (16, 64, 56, 56), "w": (64, 64, 3, 3), "b": (64,), "padding": 1}],
)

conv_transpose = Op(
    name="conv_transpose",
    shapes="x:(...) w:(...) b:(...)? -> y:(...)",
    rule=_transposed_shape,
    check=_check,
    attributes={**ATTRIBUTES, "output_padding": 0},
    reference=(_conv_transpose, _conv_transpose_backward),
    lower=(_lower_transpose, _lower_transpose_backward),
    saves=("x", "w"),
    uses={"x": ("w",), "w": ("x",)},
    flops=_transposed_flops,
    backward_flops=_backward_flops(_transposed_flops),
    cases=TRANSPOSED,
    bench=[{"x": (16, 64, 28, 28), "w": (64, 32, 4, 4), "b": None, "stride": 2, "padding": 1}],
)
