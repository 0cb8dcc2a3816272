"""The general way: a convolution of any number of axes, stride, dilation and groups as contractions of views.

A. A view of the padded input has an axis for every place of the output and for every tap of the kernel; where taps lie
   side by side, as along the last axis without dilation, they join the channels. So a convolution is a contraction
   over taps and channels (`fastnn.ops.contraction`), and nothing is unfolded in memory.
B. The gradient of the input is a convolution of the output's gradient with the flipped kernel. With a stride, places
   of the input fall into classes by their remainder, each of which meets taps of its own: one contraction a class.
C. With one channel a group, taps are added one after the other, channels beside one another.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from fastnn._kernels import cpu
from fastnn._kernels.matmul.table import CYCLE_NS, MEMORY_NS
from fastnn.ops.contraction import contract
from fastnn.ops.convolution.classes import Class, axis_classes
from fastnn.ops.convolution.geometry import PLACES, TAPS, Geometry, Problem
from fastnn.ops.convolution.layout import channels_last, channels_second, join, ready, split
from fastnn.ops.elementwise import apply
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.views import fill, put, sliced

# The share of the FMA peak that products of many channels reach.
BUSY = 0.7
# Nanoseconds to read a weight from memory and to pack it.
WEIGHT_NS = 2.0
SHORT = 40  # places of the last axis up to which a weight's gradient unfolds the input along it


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
    return split(view, view.ndim - 1, geometry.groups)


def forward(low: Lowering, x: Array, w: Array, b: Array | None, geometry: Geometry) -> Array:
    """The result (N, O, places) of an input (N, C, ...)."""
    count = len(geometry.input)
    places, taps = PLACES[:count], TAPS[:count]
    view, weight = _window_view(ready(low, x, geometry.padding), geometry), split(w, 0, geometry.groups)
    if geometry.groups > 1 and weight.shape[2] == 1:
        y = _tap_by_tap(low, view, weight, count)
    else:
        bias = b if geometry.groups == 1 else None
        if geometry.groups == 1:
            one, two = f"n{places}{taps}k", f"ok{taps}"
            view, weight = join(view, view.ndim - 2), join(weight, 0)
            y = contract(low, (view, one), (weight, two), f"n{places}o", final=False, bias=bias)
        else:
            y = contract(low, (view, f"n{places}{taps}gk"), (weight, f"gok{taps}"), f"n{places}go", final=False)
            y = join(y, y.ndim - 2)
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
    return join(y, y.ndim - 2)


def input_gradient(low: Lowering, dy: Array, w: Array, geometry: Geometry) -> Array:
    """What the input (N, C, ...) gets back from an output (N, O, ...): the transpose of `forward`."""
    count, groups = len(geometry.input), geometry.groups
    if geometry.kernel == geometry.input and math.prod(geometry.output) == 1 and not any(map(any, geometry.padding)):
        return _one_place(low, dy, w, groups)
    axes = [
        axis_classes(n, k, s, p[0], d)
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
    source = split(ready(low, dy, around), dy.ndim - 1, groups)
    weight = split(w, 0, groups)
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


def _one_place(low: Lowering, dy: Array, w: Array, groups: int) -> Array:
    """The gradient of an input that the kernel covers: every tap meets the one place of the output."""
    taps = TAPS[: w.ndim - 2]
    own = replace(channels_last(dy), shape=(dy.shape[0], dy.shape[1]), strides=dy.strides[:2])
    made = contract(
        low, (split(own, 1, groups), "ngo"), (split(w, 0, groups), f"gok{taps}"), f"n{taps}gk", final=False,
        never_columns="g" if groups > 1 else "",
    )  # fmt: skip
    return channels_second(join(made, made.ndim - 2))


def _one_class(
    low: Lowering, source: Array, weight: Array, own: Sequence[Class], around: Sequence[tuple[int, int]], places: str,
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
        view, turned = join(view, view.ndim - 2), join(turned, count)
        made = contract(low, (view, f"n{places}{taps}o"), (turned, f"{taps}ok"), f"n{places}k", final=False)
    else:
        made = contract(low, (view, f"n{places}{taps}go"), (turned, f"{taps}gok"), f"n{places}gk", final=False)
        made = join(made, made.ndim - 2)
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
    return split(view, view.ndim - 1, geometry.groups)


def weight_gradient(low: Lowering, x: Array, dy: Array, w: Array, geometry: Geometry) -> Array:
    """The gradient of a weight, laid out as it, from an input (N, C, ...) and what its output got."""
    count, groups = len(geometry.input), geometry.groups
    places, taps = PLACES[:count], TAPS[:count]
    x, dy = ready(low, x, geometry.padding), ready(low, dy, ((0, 0),) * count)
    view, own = _window_view(x, geometry), split(dy, dy.ndim - 1, groups)
    if 1 < geometry.output[-1] <= SHORT and count > 1 and geometry.kernel[-1] > 1:
        view = _unfolded(low, x, geometry)
    made = contract(
        low, (view, f"n{places}{taps}gk"), (own, f"n{places}go"), f"{taps}gko", final=False, never_columns="g"
    )  # fmt: skip
    dense = made.permuted([count, count + 2, count + 1, *range(count)])
    dw = low.output(w.shape, w.dtype, [*range(2, w.ndim), 1, 0])
    put(low, split(dw, 0, groups), dense)
    return dw


def refuses(problem: Problem) -> str:
    """Nothing."""
    return ""


def nanoseconds(problem: Problem) -> float:
    """Estimated time of any pass on one core: few channels leave most of a tile idle, several taps want copies."""
    geometry, lanes = problem.geometry, cpu.target().lanes(problem.dtype)
    groups = geometry.groups
    narrow = min(problem.channels, problem.outputs) // groups
    busy = BUSY * min(1.0, max(1, narrow) / (2 * lanes))
    pixels = math.prod(geometry.input) * problem.channels + math.prod(geometry.output) * problem.outputs
    copied = problem.batch * pixels * problem.itemsize / 4 if max(geometry.kernel) > 1 else 0
    return problem.flops / (4 * lanes * busy) * CYCLE_NS + 2 * copied * MEMORY_NS + weights_nanoseconds(problem)


def weights_nanoseconds(problem: Problem) -> float:
    """What it takes to read and pack a weight: the same for all ways that do, whose order so is that of any batch."""
    if problem.which == "weight gradient":
        return 0.0
    geometry = problem.geometry
    return problem.channels // geometry.groups * problem.outputs * math.prod(geometry.kernel) * WEIGHT_NS
