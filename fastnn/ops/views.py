"""Views: other shapes and strides over the same elements, and their gradients.

Each view is one NumPy function. Its lowering runs that function on an array that has the strides of the input and no
memory (NumPy's views read none), and takes over the strides and the distance to the first element.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided as strided

from fastnn._numpy_views import integer
from fastnn._numpy_views import sum_to as unbroadcast
from fastnn.errors import ShapeError
from fastnn.ops.elementwise import apply, cut
from fastnn.ops.lowering import Array, Lowering, writes
from fastnn.ops.op import Op, Saved
from fastnn.ops.reduction import sum_to

COPIED = ("float32", "float64", "bool", "int8", "int16", "int32", "int64")
MOST_SWEEPS = 64  # additions of whole slices up to which a window's gradient is made of them

View = Callable[..., np.ndarray]


def view_of(x: Array, view: View, **attributes: Any) -> Array:
    """The view of a symbolic array."""
    size = x.itemsize
    base = strided(np.empty(1, x.dtype), x.shape, [s * size for s in x.strides])
    found = view(base, **attributes)
    distance = found.__array_interface__["data"][0] - base.__array_interface__["data"][0] if found.size else 0
    return replace(x, shape=found.shape, strides=tuple(s // size for s in found.strides), offset=x.offset + distance)


def sliced(x: Array, *index: Any) -> Array:
    """``x[index]`` of a symbolic array, for slices, integers and None."""
    return view_of(x, lambda base: base[(*index, ...)])


def fill(low: Lowering, x: Array, value: float = 0.0) -> Array:
    """Append the phase that sets a dense array of float32 or float64 to a constant."""
    if x.size:
        cost = 0.02 * x.itemsize
        block, chunks = cut(x.size, cost)
        word = struct.unpack("q", struct.pack("d", value))[0]
        low.phase(
            "indexing.fill",
            [writes(x), x.size, block, word],
            chunks=chunks,
            work=x.size * cost + 40,
            block=block,
            flops=0,
            dtype=x.dtype,
        )
    return x


def zeros(low: Lowering, shape: Sequence[int], dtype: str) -> Array:
    """A result that is 0 everywhere, in C order."""
    return fill(low, low.output(shape, dtype))


def put(low: Lowering, place: Array, source: Array) -> None:
    """Append the copy into a part of an array."""
    apply(low, "copy", place, source, in_place=True)


def add_to(low: Lowering, place: Array, source: Array) -> None:
    """Append the addition to a part of an array."""
    apply(low, "add", place, place, source, in_place=True)


def copied(low: Lowering, x: Array) -> Array:
    """A copy in C order that is a result of the call."""
    return apply(low, "copy", low.output(x.shape, x.dtype), x)


# -- reshape


def reshaped_strides(shape: Sequence[int], strides: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...] | None:
    """Strides under which the elements, in C order, have another shape; None where none do."""
    if math.prod(shape) == 0:
        found = [1] * len(wanted)
        for axis in reversed(range(len(wanted) - 1)):
            found[axis] = found[axis + 1] * max(1, wanted[axis + 1])
        return tuple(found)
    groups: list[list[int]] = []  # extent, stride of the last of axes that step evenly
    for extent, stride in zip(shape, strides, strict=True):
        if extent == 1:
            continue
        if groups and groups[-1][1] == stride * extent:
            groups[-1] = [groups[-1][0] * extent, stride]
        else:
            groups.append([extent, stride])
    result = [1] * len(wanted)
    axis = len(wanted) - 1
    for extent, stride in reversed(groups):
        step, left = stride, extent
        while left > 1:
            if axis < 0 or left % wanted[axis]:
                return None
            result[axis] = step
            step *= wanted[axis]
            left //= wanted[axis]
            axis -= 1
    step = result[axis + 1] * wanted[axis + 1] if axis + 1 < len(wanted) else 1
    for rest in reversed(range(axis + 1)):
        result[rest] = step
    return tuple(result)


def resolved(name: str, shape: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """A new shape with its -1, if any, worked out; ShapeError where the elements do not fit."""
    size, rest = math.prod(shape), math.prod(n for n in wanted if n != -1)
    unknown = sum(n == -1 for n in wanted)
    if unknown > 1 or any(n < -1 for n in wanted):
        raise ShapeError(f"{name}: shape must have at most one -1 and no other negative extent, got {tuple(wanted)}")
    if (rest == 0 or size % rest) if unknown else rest != size:
        raise ShapeError(f"{name}: shape must have the {size} elements of {tuple(shape)}, got {tuple(wanted)}")
    return tuple(size // rest if n == -1 else n for n in wanted)


def reshape_array(low: Lowering, x: Array, shape: Sequence[int]) -> Array:
    """The elements of a symbolic array in C order under another shape: a view, or else a copy."""
    strides = reshaped_strides(x.shape, x.strides, shape)
    if strides is not None:
        return replace(x, shape=tuple(shape), strides=strides)
    made = copied(low, x)
    dense = reshaped_strides(made.shape, made.strides, shape)
    assert dense is not None
    return replace(made, shape=tuple(shape), strides=dense)


def _shape_tuple(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def check(attributes: dict[str, Any]) -> dict[str, Any]:
        shape = attributes["shape"]
        shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        return {**attributes, "shape": tuple(integer(f"{name}: shape", n) for n in shape)}

    return check


def _no_view(x: Any, shape: Any) -> ShapeError:
    return ShapeError(
        f"reshape: shape must be one that {x.shape} with strides {x.strides} can be seen as without "
        f"a copy (use reshape), got {shape}"
    )


def _reshape(x: np.ndarray, *, shape: Any, copy: bool | None = None) -> np.ndarray:
    """The elements in C order under another shape, one of whose extents may be -1.

    A view where the strides allow. Where they do not, a copy, or with ``copy=False`` a ShapeError; with ``copy=True``
    always a copy.
    """
    wanted = resolved("reshape", x.shape, shape)
    if copy is False and reshaped_strides(x.shape, x.strides, wanted) is None:
        raise _no_view(x, wanted)
    return np.array(x, order="C").reshape(wanted) if copy else x.reshape(wanted)


def _reshape_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    return dy.reshape(ctx.shapes["x"])


def _lower_reshape(low: Lowering, x: Array) -> Any:
    shape, copy = resolved("reshape", x.shape, low.attrs["shape"]), low.attrs["copy"]
    strides = reshaped_strides(x.shape, x.strides, shape)
    if strides is None and copy is False:
        raise _no_view(x, shape)
    if (strides is None or copy) and x.dtype not in COPIED:
        return NotImplemented
    return reshape_array(low, copied(low, x) if copy else x, shape)


def _lower_back_to_shape(low: Lowering, dy: Array) -> Array:
    shape = low.shapes["x"]
    assert shape is not None
    return reshape_array(low, dy, shape)


# -- axes


def axis_of(name: str, dim: Any, ndim: int, what: str = "axis") -> int:
    """An axis counted from 0; an array without axes counts as one with a single axis."""
    dim = integer(f"{name}: {what}", dim)
    room = max(ndim, 1)
    if not -room <= dim < room:
        raise IndexError(f"{name}: {what} must lie from {-room} to {room - 1}, got {dim}")
    return dim % room


def axes_of(name: str, dims: Any, ndim: int, what: str = "axis") -> tuple[int, ...]:
    """Several axes, or one, counted from 0; ShapeError where one is named twice."""
    found = tuple(axis_of(name, d, ndim, what) for d in (dims if isinstance(dims, (tuple, list)) else (dims,)))
    if len(set(found)) != len(found):
        raise ShapeError(f"{name}: {what} must name each axis once, got {tuple(dims)}")
    return found


def _order(ndim: int, axes: Any) -> tuple[int, ...]:
    if axes is None:
        return tuple(reversed(range(ndim)))
    order = tuple(axis_of("transpose", a, ndim, "axes") for a in axes)
    if sorted(order) != list(range(ndim)):
        raise ShapeError(f"transpose: axes must name each of the {ndim} axes once, got {tuple(axes)}")
    return order


def _transpose(x: np.ndarray, *, axes: Any = None) -> np.ndarray:
    """The axes in another order; reversed if none is given."""
    return x.transpose(_order(x.ndim, axes))


def _untranspose(x: np.ndarray, *, axes: Any = None) -> np.ndarray:
    return x.transpose(tuple(int(a) for a in np.argsort(_order(x.ndim, axes))))


def _swapaxes(x: np.ndarray, *, axis1: int, axis2: int) -> np.ndarray:
    """Two axes swapped."""
    one, two = (axis_of("swapaxes", a, x.ndim) for a in (axis1, axis2))
    return x.swapaxes(one, two) if x.ndim else x.view()


def _moved(ndim: int, source: Any, destination: Any) -> tuple[int, ...]:
    one, two = axes_of("moveaxis", source, ndim, "source"), axes_of("moveaxis", destination, ndim, "destination")
    if len(one) != len(two):
        raise ShapeError(f"moveaxis: destination must name as many axes as source {one}, got {two}")
    if not ndim:
        return ()
    order = [a for a in range(ndim) if a not in one]
    for to, of in sorted(zip(two, one, strict=True)):
        order.insert(to, of)
    return tuple(order)


def _moveaxis(x: np.ndarray, *, source: Any, destination: Any) -> np.ndarray:
    """Axes moved to other places; the others keep their order."""
    return x.transpose(_moved(x.ndim, source, destination))


def _unmoveaxis(x: np.ndarray, *, source: Any, destination: Any) -> np.ndarray:
    return x.transpose(tuple(int(a) for a in np.argsort(_moved(x.ndim, source, destination)))) if x.ndim else x.view()


def _squeeze(x: np.ndarray, *, axis: Any = None) -> np.ndarray:
    """Axes of length 1 dropped: all of them, or those named (where they have length 1)."""
    named = range(x.ndim) if axis is None else axes_of("squeeze", axis, x.ndim)
    drop = tuple(a for a in named if x.ndim and x.shape[a] == 1)
    return x.squeeze(drop)


def _expand_dims(x: np.ndarray, *, axis: Any) -> np.ndarray:
    """New axes of length 1, at places counted in the result."""
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    return np.expand_dims(x, axes_of("expand_dims", tuple(axes), x.ndim + len(axes)))


def _wanted(shape: tuple[int, ...], wanted: Sequence[int]) -> tuple[int, ...]:
    """The shape that an array is expanded to; -1 keeps an extent."""
    lead = len(wanted) - len(shape)
    own = [1] * lead + list(shape)
    bad = lead < 0
    result = []
    for axis, n in enumerate(wanted):
        if bad:
            break
        extent = own[axis] if n == -1 and axis >= lead else n
        bad = extent < 0 or own[axis] not in (1, extent)
        result.append(extent)
    if bad:
        raise ShapeError(f"broadcast_to: shape must be one that {shape} can be expanded to, got {tuple(wanted)}")
    return tuple(result)


def _broadcast_to(x: np.ndarray, *, shape: Any) -> np.ndarray:
    """New axes in front, and axes of length 1 repeated without a copy; -1 keeps an extent."""
    return np.broadcast_to(x, _wanted(x.shape, shape))


def _broadcast_to_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    return unbroadcast(dy, ctx.shapes["x"])


def _diagonal(x: np.ndarray, *, offset: int = 0, axis1: int = 0, axis2: int = 1) -> np.ndarray:
    """The diagonal of two axes, which becomes the last axis; a positive offset lies above the main one."""
    offset = integer("diagonal: offset", offset)
    if x.ndim < 2:
        raise ShapeError(f"diagonal: x must have at least 2 axes, got shape {x.shape}")
    one, two = axis_of("diagonal", axis1, x.ndim, "axis1"), axis_of("diagonal", axis2, x.ndim, "axis2")
    if one == two:
        raise ShapeError(f"diagonal: axis1 and axis2 must be different axes, got {axis1} and {axis2}")
    moved = x.transpose(*(a for a in range(x.ndim) if a not in (one, two)), one, two)
    height, width = moved.shape[-2:]
    first, down = (0, offset) if offset >= 0 else (-offset, 0)
    count = max(0, min(height - first, width - down))
    if count == 0:
        return moved[..., :0, 0] if width else moved[..., 0, :0] if height else moved.reshape(moved.shape[:-1])
    start = moved[..., first:, down:]
    return strided(start, (*start.shape[:-2], count), (*start.strides[:-2], start.strides[-2] + start.strides[-1]))


def _windows(x: np.ndarray, *, axis: int, size: int, step: int) -> np.ndarray:
    """All slices of `size` elements along an axis, `step` apart; the slices' elements become the last axis."""
    axis = axis_of("sliding_window", axis, x.ndim)
    size, step = integer("sliding_window: size", size), integer("sliding_window: step", step)
    extent = x.shape[axis] if x.ndim else 1
    if not 0 <= size <= extent:
        raise ShapeError(f"sliding_window: size must lie from 0 to the extent {extent} of axis {axis}, got {size}")
    if step <= 0:
        raise ShapeError(f"sliding_window: step must be positive, got {step}")
    count = (extent - size) // step + 1
    if not x.ndim:
        return strided(x, (size,), (x.itemsize,))
    stride = x.strides[axis]
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :], size)
    return strided(x, shape, (*x.strides[:axis], stride * step, *x.strides[axis + 1 :], stride))


def _windows_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    dx = np.zeros(ctx.shapes["x"], dy.dtype)
    for place, part in _sweeps(dx, dy, **ctx.attrs):
        place += part
    return dx


def _sweeps(dx: Any, dy: Any, *, axis: int, size: int, step: int, pick: Any = None) -> list[tuple[Any, Any]]:
    """Parts of the gradient of a windowed array and what is added to each: window by window or place by place."""
    pick = pick or (lambda a, *index: a[(*index, ...)])
    if not len(dx.shape):
        return [(dx, pick(dy, i)) for i in range(dy.shape[0])]
    axis = axis_of("sliding_window", axis, len(dx.shape))
    count = dy.shape[axis]
    before = (slice(None),) * axis
    if size <= count:
        return [
            (
                pick(dx, *before, slice(k, k + step * (count - 1) + 1, step)),
                pick(dy, *(slice(None),) * len(dx.shape), k),
            )
            for k in range(size)
        ]
    found = []
    for w in range(count):
        place = pick(dx, *before, slice(w * step, w * step + size))
        part = pick(dy, *before, w)
        # the window's elements are the last axis of what is left
        order = list(range(len(part.shape) - 1))
        order.insert(axis, len(part.shape) - 1)
        found.append((place, part.permuted(order) if isinstance(part, Array) else part.transpose(order)))
    return found


def _lower_windows_backward(low: Lowering, dy: Array) -> Any:
    shape = low.shapes["x"]
    assert shape is not None
    dx = zeros(low, shape, dy.dtype)
    if dy.size == 0:
        return dx
    sweeps = _sweeps(dx, dy, **low.attrs, pick=sliced)
    if len(sweeps) > MOST_SWEEPS:
        return NotImplemented
    for place, part in sweeps:
        add_to(low, place, part)
    return dx


# -- declarations


def _placed(view: View) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The gradient of a view that leaves elements out: 0 but for the part that was seen."""

    def backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
        dx = np.zeros(ctx.shapes["x"], dy.dtype)
        place = view(dx, **ctx.attrs)
        place[...] = dy
        return dx

    def lower(low: Lowering, dy: Array) -> Array:
        shape = low.shapes["x"]
        assert shape is not None
        dx = zeros(low, shape, dy.dtype)
        put(low, view_of(dx, view, **low.attrs), dy)
        return dx

    return backward, lower


def _inverse(view: View) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The gradient of a view that has an inverse."""
    return (
        lambda ctx, dy: view(dy, **ctx.attrs),
        lambda low, dy: view_of(dy, view, **low.attrs),
    )


_TO_SHAPE = _reshape_backward, _lower_back_to_shape


def _declare(
    name: str,
    view: View,
    backward: tuple[Callable[..., Any], Callable[..., Any]],
    attributes: dict[str, Any],
    cases: list[dict[str, Any]],
    *,
    lower: Callable[..., Any] | None = None,
    check: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Op:
    return Op(
        name=name,
        shapes="x:(...) -> y:(...)",
        reference=(view, backward[0]),
        lower=(lower or (lambda low, x: view_of(x, view, **low.attrs)), backward[1]),
        attributes=attributes,
        check=check or _plain,
        views=True,
        cases=cases,
    )


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Lists as tuples, NumPy's integers as ints."""
    return {n: _hashable(v) for n, v in attributes.items()}


def _hashable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(v) for v in value)
    return int(value) if isinstance(value, np.integer) else value


reshape = _declare(
    "reshape",
    _reshape,
    _TO_SHAPE,
    {"shape": (-1,), "copy": None},
    [{"x": (2, 3, 4), "shape": (4, -1)}, {"x": (), "shape": (1, 1)}, {"x": (0, 3), "shape": (3, 0)}],
    lower=_lower_reshape,
    check=_shape_tuple("reshape"),
)
transpose = _declare(
    "transpose",
    _transpose,
    _inverse(_untranspose),
    {"axes": None},
    [{"x": (2, 3, 4)}, {"x": (2, 3, 4), "axes": (1, -1, 0)}, {"x": ()}, {"x": (0, 2)}],
)
swapaxes = _declare(
    "swapaxes",
    _swapaxes,
    _inverse(_swapaxes),
    {"axis1": 0, "axis2": 1},
    [{"x": (2, 3, 4), "axis1": 0, "axis2": -1}, {"x": (3,), "axis1": 0, "axis2": 0}],
)
moveaxis = _declare(
    "moveaxis",
    _moveaxis,
    _inverse(_unmoveaxis),
    {"source": 0, "destination": -1},
    [{"x": (2, 3, 4), "source": 0, "destination": -1}, {"x": (2, 3, 4, 5), "source": (0, 1), "destination": (2, 0)}],
)
squeeze = _declare(
    "squeeze",
    _squeeze,
    _TO_SHAPE,
    {"axis": None},
    [{"x": (1, 3, 1)}, {"x": (1, 3, 1), "axis": (0, 1)}, {"x": (), "axis": 0}, {"x": (1, 0)}],
)
expand_dims = _declare(
    "expand_dims", _expand_dims, _TO_SHAPE, {"axis": 0}, [{"x": (2, 3), "axis": 1}, {"x": (), "axis": (0, -1)}]
)
broadcast_to = _declare(
    "broadcast_to",
    _broadcast_to,
    (_broadcast_to_backward, lambda low, dy: sum_to(low, dy, low.shapes["x"])),
    {"shape": ()},
    [{"x": (3, 1), "shape": (2, -1, 4)}, {"x": (), "shape": (2, 3)}, {"x": (1, 3), "shape": (0, 3)}],
    check=_shape_tuple("broadcast_to"),
)
diagonal = _declare(
    "diagonal",
    _diagonal,
    _placed(_diagonal),
    {"offset": 0, "axis1": 0, "axis2": 1},
    [{"x": (4, 5)}, {"x": (3, 4, 5), "offset": -1, "axis1": 2, "axis2": 0}, {"x": (2, 3), "offset": 7}],
)
sliding_window = _declare(
    "sliding_window",
    _windows,
    (_windows_backward, _lower_windows_backward),
    {"axis": 0, "size": 1, "step": 1},
    [
        {"x": (7, 3), "axis": 0, "size": 3, "step": 2},
        {"x": (2, 9), "axis": 1, "size": 8, "step": 1},
        {"x": (5,), "axis": 0, "size": 5, "step": 3},
    ],
)
