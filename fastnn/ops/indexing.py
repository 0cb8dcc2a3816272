"""Elements taken from, and put to, places that indices name.

Every op is one loop (`fastnn._kernels.indexing`) over an array that is indexed along an axis and one whose elements go
with the indices. The gradient of taking is adding, that of adding is taking. Elements that go to the same place are
added in the order of their indices, whatever the number of threads. All indices are checked before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn._numpy_views import integer
from fastnn._numpy_views import sum_to as unbroadcast
from fastnn.errors import ShapeError
from fastnn.ops.elementwise import CHUNK_NS, MOST_CHUNKS, apply, contiguous
from fastnn.ops.lowering import Array, Lowering, join_axes, reads, updates, writes
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.reduction import sum_to
from fastnn.ops.views import axis_of, fill, zeros

INDICES = ("int32", "int64")
ROW_COST, ELEMENT_COST = 0.25, 1.5  # nanoseconds an element of float32, of rows and of single elements
NARROWEST = 32  # columns that an owner of scattered rows has at least
OWNERS = 16


# -- checks


def index_error(name: str, argument: str, indices: np.ndarray, place: int, low: int, high: int) -> IndexError:
    """The error for the index at a place, counted in C order."""
    at = tuple(int(i) for i in np.unravel_index(place, indices.shape)) if indices.ndim else ()
    where = f" at {at[0] if len(at) == 1 else at}" if at else ""
    bounds = f"from {low} to {high - 1}" if high > low else "of an axis that is not empty"
    return IndexError(f"{name}: {argument} must hold indices {bounds}, got {indices[at]}{where}")


def check_array(name: str, argument: str, indices: np.ndarray, extent: int, negative: bool) -> None:
    """Raise IndexError for an index that is out of range."""
    low = -extent if negative else 0
    bad = (indices < low) | (indices >= extent)
    if bad.any():
        raise index_error(name, argument, indices, int(bad.argmax()), low, extent)


def check_indices(low: Lowering, name: str, argument: int, indices: Array, extent: int, negative: bool) -> None:
    """Append the check of an input that holds indices; `argument` is its place among the inputs."""
    least = -extent if negative else 0
    if not indices.size:
        return
    shape, strides = (indices.shape, indices.strides) if indices.ndim else ((1,), (1,))
    what = "indices"
    low.check(
        "indexing.check",
        [reads(indices), least, extent, len(shape), *shape, *strides],
        lambda status, inputs: index_error(name, what, inputs[argument], status - 1, least, extent),
        work=indices.size * 0.6,
        index=indices.dtype,
    )


# -- the loop


def lines(low: Lowering, reduce: str, big: Array, small: Array, indices: Array, axis: int, extent: int) -> None:
    """Append the phase that gathers from `big` along an axis to `small`, or scatters from `small` to `big`.

    Parameters
    ----------
    reduce : ``"gather"``, or what scattering does: ``"set"``, ``"add"``, ``"multiply"``, ``"amax"``, ``"amin"``.
    big, small, indices : all of the shape of `indices`, but `big` along `axis`.
    extent : of `big` along `axis`.
    """
    if not indices.size:
        return
    gathers = reduce == "gather"
    arrays = (big, small, indices)
    after, strides = join_axes(indices.shape[axis + 1 :], [x.strides[axis + 1 :] for x in arrays])
    before, outer = join_axes(indices.shape[:axis], [x.strides[:axis] for x in arrays])
    columns, steps = (after[-1], [s[-1] for s in strides]) if after else (1, [0, 0, 0])
    others = (*before, *after[:-1])
    other_strides = [(*b, *a[:-1]) for b, a in zip(outer, strides, strict=True)]
    rows = 1
    for n in others:
        rows *= n
    length = indices.shape[axis]
    whole = columns > 1 and steps[2] == 0
    cost = (ROW_COST if whole else ELEMENT_COST) * big.itemsize / 4 + (1.5 / columns if whole else 0)
    # what is divided into parts: the indices of a gather, the places to which whole rows are scattered
    block, part, divided = columns, length, length
    if not gathers and whole:
        divided = extent
        part = max(1, -(-extent * rows // OWNERS)) if rows < OWNERS else extent
    elif not gathers and rows < OWNERS:
        block = max(NARROWEST, -(-columns * rows // OWNERS // NARROWEST) * NARROWEST)
    if gathers:
        block = min(columns, 1 << 14)
        part = max(1, min(length, int(CHUNK_NS / (cost * block))))
    block = min(block, columns)
    blocks, parts = -(-columns // block), -(-divided // part)
    items = rows * blocks * parts
    elements = rows * columns * length
    group = max(1, int(CHUNK_NS * items / (cost * elements)), -(-items // MOST_CHUNKS))
    low.phase(
        "indexing.lines",
        [
            reads(big) if gathers else updates(big), writes(small) if gathers else reads(small), reads(indices),
            extent, length, columns, big.strides[axis], steps[0], small.strides[axis], steps[1],
            indices.strides[axis], steps[2], block, blocks, part, parts, items, group, len(others), *others,
            *(s for own in other_strides for s in own),
        ],
        chunks=-(-items // group),
        work=elements * cost + 60,
        flops=0 if gathers or reduce == "set" else elements,
        dtype=big.dtype,
        index=indices.dtype,
        reduce=reduce,
        rows=whole,
    )  # fmt: skip


def narrowed(x: Array, shape: Shape, axis: int | None = None) -> Array:
    """The first elements along each axis, but for `axis`, that a smaller shape has."""
    return replace(x, shape=tuple(n if a == axis else m for a, (n, m) in enumerate(zip(x.shape, shape, strict=True))))


def spread(indices: Array, shape: Shape, axis: int) -> Array:
    """A vector of indices as an array of `shape`, the same at every place of the other axes."""
    return replace(
        indices, shape=shape, strides=tuple(indices.strides[0] if a == axis else 0 for a in range(len(shape)))
    )


def as_axis(x: Array) -> Array:
    """An array without axes as one of one axis."""
    return x if x.ndim else replace(x, shape=(1,), strides=(1,))


def constant(low: Lowering, value: float, shape: Shape, dtype: str) -> Array:
    """An array that holds a number at every place, one element in memory."""
    return fill(low, low.temporary((), dtype), value).broadcast_to(shape)


def at_least_one(low: Lowering, counts: Array) -> None:
    """Append the phases that put 1 in the place of every 0."""
    zero, one = (constant(low, value, counts.shape, counts.dtype) for value in (0.0, 1.0))
    untouched = apply(low, "equal", low.temporary(counts.shape, "bool"), counts, zero)
    apply(low, "where", counts, untouched, one, counts)


# -- take: rows named by indices of any shape


def _taken(name: str, x: Shape, indices: Shape, axis: Any) -> Shape:
    if axis is None:
        return indices
    place = axis_of(name, axis, len(x))
    return (*x[:place], *indices, *x[place + 1 :])


def _axis_and_shape(name: str, x: Shape, axis: Any) -> tuple[int, Shape]:
    """The axis counted from 0, and the shape in which it is one: flat without an axis."""
    if axis is None or not x:
        if axis is not None:
            axis_of(name, axis, 0)
        size = 1
        for n in x:
            size *= n
        return 0, (size,)
    return axis_of(name, axis, len(x)), x


def _take(x: np.ndarray, indices: np.ndarray, *, axis: int | None = None, negative: bool = True) -> np.ndarray:
    """Elements (or, along `axis`, rows) at `indices`, whose shape takes the place of the axis; None: x is flattened.

    A negative index counts from the end, unless `negative` is false. IndexError for one that is out of range.
    """
    place, shape = _axis_and_shape("take", x.shape, axis)
    check_array("take", "indices", indices, shape[place], negative)
    return x.reshape(shape).take(indices, place)


def _take_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray, None]:
    indices, own = ctx.saved["indices"], ctx.shapes["x"]
    place, shape = _axis_and_shape("take", own, ctx.attrs["axis"])
    dx = np.zeros(shape, dy.dtype)
    rows = dy.reshape((*shape[:place], indices.size, *shape[place + 1 :]))
    where: Any = (*(slice(None),) * place, indices.reshape(-1))
    np.add.at(dx, where, rows)
    return dx.reshape(own), None


def _rows_of(y: Array, shape: Shape, place: int, count: int) -> Array:
    """A dense result with the axes of its indices joined into one."""
    wanted = (*shape[:place], count, *shape[place + 1 :])
    strides = [1] * len(wanted)
    for a in reversed(range(len(wanted) - 1)):
        strides[a] = strides[a + 1] * max(1, wanted[a + 1])
    return replace(y, shape=wanted, strides=tuple(strides))


def _flat(low: Lowering, x: Array, shape: Shape) -> Array:
    return x if x.shape == shape else replace(contiguous(low, x), shape=shape, strides=(1,))


def _vector(low: Lowering, indices: Array) -> Array:
    """Indices in C order as a vector."""
    shape, (strides,) = join_axes(indices.shape, [indices.strides])
    if len(shape) <= 1:
        return replace(indices, shape=(indices.size,), strides=strides or (1,))
    return replace(contiguous(low, indices), shape=(indices.size,), strides=(1,))


def _lower_take(low: Lowering, x: Array, indices: Array) -> Any:
    if indices.dtype not in INDICES:
        return NotImplemented
    place, shape = _axis_and_shape("take", x.shape, low.attrs["axis"])
    check_indices(low, "take", 1, indices, shape[place], low.attrs["negative"])
    y = low.output(_taken("take", x.shape, indices.shape, low.attrs["axis"]), x.dtype)
    take_rows(low, _flat(low, x, shape), indices, place, y)
    return y


def take_rows(low: Lowering, x: Array, indices: Array, axis: int, y: Array) -> None:
    """Append the phase that takes rows along an axis to a dense result."""
    rows = _rows_of(y, x.shape, axis, indices.size)
    if rows.size:
        lines(low, "gather", x, rows, spread(_vector(low, indices), rows.shape, axis), axis, x.shape[axis])


def _lower_take_backward(low: Lowering, dy: Array) -> Any:
    indices, own = low.saved["indices"], low.shapes["x"]
    assert own is not None
    if indices.dtype not in INDICES:
        return NotImplemented
    place, shape = _axis_and_shape("take", own, low.attrs["axis"])
    return add_rows(low, dy, indices, place, shape, own), None


def add_rows(low: Lowering, dy: Array, indices: Array, axis: int, shape: Shape, own: Shape) -> Array:
    """The gradient of what rows were taken from: 0, and the rows' gradients added up."""
    dx = zeros(low, own, dy.dtype)
    flat = _rows_of(dx, shape, axis, shape[axis])
    if dy.size:
        count = indices.size
        rows = (*shape[:axis], count, *shape[axis + 1 :])
        if dy.ndim and not dy.contiguous and indices.ndim != 1:
            dy = contiguous(low, dy)
        source = dy if dy.shape == rows else _rows_of(contiguous(low, dy), shape, axis, count)
        lines(low, "add", flat, source, spread(_vector(low, indices), rows, axis), axis, shape[axis])
    return dx


def _axis_check(*flags: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def check(attributes: dict[str, Any]) -> dict[str, Any]:
        axis = attributes["axis"]
        found = {**attributes, "axis": None if axis is None else integer("axis", axis)}
        return {**found, **{flag: bool(attributes[flag]) for flag in flags}}

    return check


take = Op(
    name="take",
    shapes="x:(...) indices:(...) -> y:(...)",
    rule=lambda name, shapes, attrs: [_taken(name, shapes["x"] or (), shapes["indices"] or (), attrs["axis"])],
    check=_axis_check("negative"),
    attributes={"axis": None, "negative": True},
    integer=("indices",),
    reference=(_take, _take_backward),
    lower=(_lower_take, _lower_take_backward),
    saves=("indices",),
    bounds={"indices": "x.0"},
    cases=[
        {"x": (7, 5), "indices": (11,), "axis": 0},
        {"x": (4, 9), "indices": (2, 3), "axis": 1},
        {"x": (3, 6), "indices": (4,)},
        {"x": (3, 4, 5), "indices": (), "axis": 1},
        {"x": (3, 4), "indices": (0,), "axis": 0},
        {"x": (60, 130), "indices": (200,), "axis": 0},
    ],
    bench=[
        {"x": (10,), "indices": (10,)},
        {"x": (1024, 1024), "indices": (1024,), "axis": 0},
        {"x": (1024, 1024), "indices": (1024,), "axis": 1},
    ],
)


# -- embedding: rows of a table


def _embedding(
    weight: np.ndarray, indices: np.ndarray, *, padding_idx: int | None = None, scale_grad_by_freq: bool = False
) -> np.ndarray:
    """Rows of a table. The row `padding_idx` gets no gradient.

    With `scale_grad_by_freq` a row's gradient is divided by how often the row was taken. IndexError for an index that
    is not from 0 to N - 1.
    """
    check_array("embedding", "indices", indices, len(weight), False)
    return weight[indices]


def _embedding_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray, None]:
    indices, shape = ctx.saved["indices"].reshape(-1), ctx.shapes["weight"]
    dx = np.zeros(shape, dy.dtype)
    np.add.at(dx, indices, dy.reshape(len(indices), shape[1]))
    if ctx.attrs["scale_grad_by_freq"]:
        dx /= np.maximum(np.bincount(indices, minlength=shape[0]), 1).astype(dy.dtype)[:, None]
    if ctx.attrs["padding_idx"] is not None and shape[0]:
        dx[ctx.attrs["padding_idx"]] = 0
    return dx, None


def _lower_embedding(low: Lowering, weight: Array, indices: Array) -> Any:
    if indices.dtype not in INDICES:
        return NotImplemented
    check_indices(low, "embedding", 1, indices, weight.shape[0], False)
    y = low.output((*indices.shape, weight.shape[1]), weight.dtype)
    take_rows(low, weight, indices, 0, y)
    return y


def _lower_embedding_backward(low: Lowering, dy: Array) -> Any:
    indices, shape = low.saved["indices"], low.shapes["weight"]
    assert shape is not None
    if indices.dtype not in INDICES:
        return NotImplemented
    dx = add_rows(low, dy, indices, 0, shape, shape)
    if low.attrs["scale_grad_by_freq"] and dx.size and indices.size:
        counts = fill(low, low.temporary((shape[0],), dy.dtype))
        vector = _vector(low, indices)
        lines(low, "add", counts, constant(low, 1.0, vector.shape, dy.dtype), vector, 0, shape[0])
        at_least_one(low, counts)
        column = replace(counts, shape=(shape[0], 1), strides=(1, 0))
        apply(low, "divide", dx, dx, column, in_place=True)
    padding = low.attrs["padding_idx"]
    if padding is not None and dx.size:
        row = padding % shape[0]
        fill(low, replace(dx, shape=(shape[1],), strides=(1,), offset=dx.offset + row * shape[1] * dx.itemsize))
    return dx, None


def _embedding_check(attributes: dict[str, Any]) -> dict[str, Any]:
    padding = attributes["padding_idx"]
    return {
        "padding_idx": None if padding is None else integer("embedding: padding_idx", padding),
        "scale_grad_by_freq": bool(attributes["scale_grad_by_freq"]),
    }


def _embedding_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    weight, indices = shapes["weight"] or (), shapes["indices"] or ()
    padding, rows = attrs["padding_idx"], weight[0]
    if padding is not None and not -rows <= padding < rows:
        raise IndexError(f"{name}: padding_idx must lie from {-rows} to {rows - 1}, got {padding}")
    return [(*indices, weight[1])]


embedding = Op(
    name="embedding",
    shapes="weight:(N,D) indices:(*) -> y:(*,D)",
    rule=_embedding_shape,
    check=_embedding_check,
    attributes={"padding_idx": None, "scale_grad_by_freq": False},
    integer=("indices",),
    reference=(_embedding, _embedding_backward),
    lower=(_lower_embedding, _lower_embedding_backward),
    saves=("indices",),
    bounds={"indices": "N"},
    cases=[
        {"N": 10, "D": 3, "*": (4, 5)},
        {"N": 10, "D": 130, "*": (40,)},
        {"N": 5, "D": 4, "*": ()},
        {"N": 5, "D": 4, "*": (0, 2)},
        {"N": 5, "D": 0, "*": (2,)},
    ],
    bench=[{"N": 100, "D": 10, "*": (1,)}, {"N": 10_000, "D": 128, "*": (4096,)}],
)


# -- gather: an index for each element


def _gathered(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x, indices = shapes["x"] or (), shapes["indices"] or ()
    axis = axis_of(name, attrs["axis"], len(x))
    _fits(name, "x", x, indices, axis)
    return [indices]


def _fits(name: str, argument: str, own: Shape, indices: Shape, axis: int | None) -> None:
    """Raise ShapeError unless indices have as many axes as an array and no more along any but `axis`."""
    if 0 in indices and argument == "x":
        return
    if len(own or (1,)) != len(indices or (1,)):
        raise ShapeError(f"{name}: indices must have as many axes as {argument} {own}, got shape {indices}")
    if any(m > n for a, (n, m) in enumerate(zip(own or (1,), indices or (1,), strict=True)) if a != axis):
        beside = "" if axis is None else f" but along axis {axis}"
        raise ShapeError(f"{name}: indices must not be longer than {argument} {own}{beside}, got shape {indices}")


def _corner(x: np.ndarray, shape: Shape, axis: int | None = None) -> np.ndarray:
    return x[tuple(slice(None if a == axis else n) for a, n in enumerate(shape))]


def _grid(indices: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """NumPy's index of the places that indices along an axis name."""
    grid: tuple[np.ndarray, ...] = np.indices(indices.shape, sparse=True)
    return tuple(indices if a == axis else g for a, g in enumerate(grid))


def _gather(x: np.ndarray, indices: np.ndarray, *, axis: int) -> np.ndarray:
    """``y[i, j] = x[indices[i, j], j]`` for axis 0, and so on: x where the place along `axis` is replaced by an index.

    Indices may be shorter than x along the other axes. IndexError for an index that is not from 0 to the extent - 1.
    """
    place = axis_of("gather", axis, x.ndim)
    _fits("gather", "x", x.shape, indices.shape, place)
    one, of = np.atleast_1d(indices), np.atleast_1d(x)
    if not indices.size:
        return np.zeros(indices.shape, x.dtype)
    check_array("gather", "indices", indices, of.shape[place], False)
    return of[_grid(one, place)].reshape(indices.shape)


def _gather_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray, None]:
    shape, indices = ctx.shapes["x"], ctx.saved["indices"]
    dx = np.zeros(shape or (1,), dy.dtype)
    if indices.size:
        place = axis_of("gather", ctx.attrs["axis"], len(shape))
        np.add.at(dx, _grid(np.atleast_1d(indices), place), np.atleast_1d(dy))
    return dx.reshape(shape), None


def _lower_gather(low: Lowering, x: Array, indices: Array) -> Any:
    if indices.dtype not in INDICES:
        return NotImplemented
    place = axis_of("gather", low.attrs["axis"], x.ndim)
    y = low.output(indices.shape, x.dtype)
    if indices.size:
        x = as_axis(x)
        check_indices(low, "gather", 1, indices, x.shape[place], False)
        one = as_axis(indices)
        lines(low, "gather", narrowed(x, one.shape, place), as_axis(y), one, place, x.shape[place])
    return y


def _lower_gather_backward(low: Lowering, dy: Array) -> Any:
    indices, shape = low.saved["indices"], low.shapes["x"]
    assert shape is not None
    if indices.dtype not in INDICES:
        return NotImplemented
    place = axis_of("gather", low.attrs["axis"], len(shape))
    dx = zeros(low, shape, dy.dtype)
    if indices.size:
        one, of = as_axis(indices), as_axis(dx)
        lines(low, "add", narrowed(of, one.shape, place), as_axis(dy), one, place, of.shape[place])
    return dx, None


_GATHER_CASES: list[dict[str, Any]] = [
    {"x": (4, 5), "indices": (3, 5), "axis": 0},
    {"x": (4, 5), "indices": (2, 9), "axis": 1},
    {"x": (3, 4, 6), "indices": (3, 2, 5), "axis": 1},
    {"x": (4,), "indices": (9,), "axis": 0},
    {"x": (4, 5), "indices": (0, 5), "axis": 0},
]
_GATHER_BENCH: list[dict[str, Any]] = [
    {"x": (10,), "indices": (10,), "axis": 0},
    {"x": (1024, 1024), "indices": (1024, 1024), "axis": 0},
    {"x": (1024, 1024), "indices": (1024, 1024), "axis": 1},
]

gather = Op(
    name="gather",
    shapes="x:(...) indices:(...) -> y:(...)",
    rule=_gathered,
    check=_axis_check(),
    attributes={"axis": 0},
    integer=("indices",),
    reference=(_gather, _gather_backward),
    lower=(_lower_gather, _lower_gather_backward),
    saves=("indices",),
    bounds={"indices": "x.0"},
    cases=_GATHER_CASES,
    bench=_GATHER_BENCH,
)


# -- take_along_axis: NumPy's gather, whose operands broadcast


def _along(name: str, x: Shape, indices: Shape, axis: Any) -> tuple[int, Shape]:
    """The axis, and the shape of the result; the operands broadcast along the other axes."""
    place = axis_of(name, axis, len(x))
    if len(x) != len(indices):
        raise ShapeError(f"{name}: indices must have as many axes as x {x}, got shape {indices}")
    try:
        own = np.broadcast_shapes((*x[:place], 1, *x[place + 1 :]), indices)
    except ValueError:
        raise ShapeError(
            f"{name}: indices must broadcast with x {x} but along axis {place}, got shape {indices}"
        ) from None
    return place, tuple(own)


def _stretched(shape: Shape, place: int, extent: int) -> Shape:
    return (*shape[:place], extent, *shape[place + 1 :])


def _take_along_axis(x: np.ndarray, indices: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """``y[i, j] = x[indices[i, j], j]`` for axis 0, and so on; x and indices broadcast along the other axes.

    A negative index counts from the end. IndexError for one that is out of range.
    """
    place, shape = _along("take_along_axis", x.shape, indices.shape, axis)
    check_array("take_along_axis", "indices", indices, x.shape[place], True)
    return np.take_along_axis(
        np.broadcast_to(x, _stretched(shape, place, x.shape[place])), np.broadcast_to(indices, shape), place
    )


def _take_along_axis_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray, None]:
    own, indices = ctx.shapes["x"], ctx.saved["indices"]
    place, shape = _along("take_along_axis", own, indices.shape, ctx.attrs["axis"])
    dx = np.zeros(_stretched(shape, place, own[place]), dy.dtype)
    np.add.at(dx, _grid(np.broadcast_to(indices, shape), place), dy)
    return unbroadcast(dx, own), None


def _lower_take_along_axis(low: Lowering, x: Array, indices: Array) -> Any:
    place, shape = _along("take_along_axis", x.shape, indices.shape, low.attrs["axis"])
    if indices.dtype not in INDICES:
        return NotImplemented
    extent = x.shape[place]
    check_indices(low, "take_along_axis", 1, indices, extent, True)
    y = low.output(shape, x.dtype)
    big = x.broadcast_to(_stretched(shape, place, extent))
    lines(low, "gather", replace(big, strides=_stretched(big.strides, place, x.strides[place])), y,
          indices.broadcast_to(shape), place, extent)  # fmt: skip
    return y


def _lower_take_along_axis_backward(low: Lowering, dy: Array) -> Any:
    indices, own = low.saved["indices"], low.shapes["x"]
    assert own is not None
    place, shape = _along("take_along_axis", own, indices.shape, low.attrs["axis"])
    if indices.dtype not in INDICES:
        return NotImplemented
    whole = _stretched(shape, place, own[place])
    dx = zeros(low, whole, dy.dtype) if whole == own else fill(low, low.temporary(whole, dy.dtype))
    lines(low, "add", dx, dy, indices.broadcast_to(shape), place, own[place])
    return sum_to(low, dx, own), None


take_along_axis = Op(
    name="take_along_axis",
    shapes="x:(...) indices:(...) -> y:(...)",
    rule=lambda name, shapes, attrs: [_along(name, shapes["x"] or (), shapes["indices"] or (), attrs["axis"])[1]],
    check=_axis_check(),
    attributes={"axis": -1},
    integer=("indices",),
    reference=(_take_along_axis, _take_along_axis_backward),
    lower=(_lower_take_along_axis, _lower_take_along_axis_backward),
    saves=("indices",),
    bounds={"indices": "x.0"},
    cases=[
        {"x": (4, 5), "indices": (4, 2)},
        {"x": (4, 5), "indices": (1, 2), "axis": 1},
        {"x": (3, 1, 5), "indices": (2, 4, 5), "axis": 0},
        {"x": (4, 5), "indices": (4, 0), "axis": 1},
    ],
    bench=_GATHER_BENCH,
)
