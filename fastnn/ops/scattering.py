"""Elements put to places that indices name, into a copy of an array; fills by masks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._numpy_views import sum_to as unbroadcast
from fastnn.errors import ShapeError
from fastnn.ops.elementwise import apply
from fastnn.ops.indexing import (
    INDICES,
    _axis_check,
    _corner,
    _fits,
    _grid,
    as_axis,
    at_least_one,
    check_array,
    check_indices,
    constant,
    lines,
    narrowed,
    spread,
)
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, Shape, broadcast
from fastnn.ops.reduction import sum_to
from fastnn.ops.views import axis_of, copied, fill, zeros

PLAIN = ("set", "add")  # whose gradients need no values
REDUCTIONS = ("add", "multiply", "mean", "amax", "amin")
NEUTRAL = {"add": 0.0, "mean": 0.0, "multiply": 1.0, "amax": float("-inf"), "amin": float("inf")}


def _check(name: str, allowed: tuple[str, ...]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def check(attributes: dict[str, Any]) -> dict[str, Any]:
        reduce = attributes["reduce"]
        if reduce not in allowed:
            raise ValueError(f"{name}: reduce must be one of {', '.join(allowed)}, got {reduce!r}")
        return _axis_check("include_self")(attributes) if "include_self" in attributes else _axis_check()(attributes)

    return check


# -- scatter: an index for each element


def _scattered(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x, indices, src = (shapes[n] or () for n in ("x", "indices", "src"))
    axis = axis_of(name, attrs["axis"], len(x))
    _fits(name, "x", x, indices, axis)
    if 0 not in indices:
        _fits(name, "src", src, indices, None)
    return [x]


def _neutral(reduce: str, dtype: np.dtype[Any]) -> Any:
    """What changes nothing when it is reduced with a number."""
    if reduce in ("amax", "amin") and dtype.kind in "iu":
        return np.iinfo(dtype).min if reduce == "amax" else np.iinfo(dtype).max
    if dtype.kind == "b":
        return reduce in ("multiply", "amin")
    return NEUTRAL[reduce]


_AT = {"add": np.add, "mean": np.add, "multiply": np.multiply, "amax": np.maximum, "amin": np.minimum}


def _reduce_at(y: np.ndarray, places: Any, src: np.ndarray, reduce: str, include_self: bool) -> None:
    """Reduce elements into places of an array."""
    if reduce == "set":
        y[places] = src
        return
    if not include_self:
        y[places] = _neutral(reduce, y.dtype)
    _AT[reduce].at(y, places, src)
    if reduce == "mean":
        counts = np.full(y.shape, int(include_self), np.int64)
        np.add.at(counts, places, 1)
        counts = np.maximum(counts, 1)
        np.floor_divide(y, counts, out=y, casting="unsafe") if y.dtype.kind in "iu" else np.divide(
            y, counts.astype(y.dtype), out=y
        )


def _scatter(
    x: np.ndarray, indices: np.ndarray, src: np.ndarray, *, axis: int, reduce: str, include_self: bool = True
) -> np.ndarray:
    """A copy of x with ``y[indices[i, j], j] = src[i, j]`` for axis 0, and so on.

    With `reduce`, elements that go to one place are reduced with each other and, if `include_self`, with what was
    there: ``"add"``, ``"multiply"``, ``"mean"``, ``"amax"``, ``"amin"``; ``"set"`` keeps the last. Indices may be
    shorter than x (but along `axis`) and than src. IndexError for an index that is not from 0 to the extent - 1.
    """
    place = axis_of("scatter", axis, x.ndim)
    y = np.array(x, copy=True, order="C")
    if indices.size:
        of, one = y.reshape(x.shape or (1,)), np.atleast_1d(indices)
        check_array("scatter", "indices", indices, of.shape[place], False)
        _reduce_at(of, _grid(one, place), _corner(np.atleast_1d(src), one.shape), reduce, include_self)
    return y


def _scatter_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray | None, None, np.ndarray | None]:
    indices = ctx.saved["indices"]
    reduce, include = ctx.attrs["reduce"], ctx.attrs.get("include_self", True)
    own, given = ctx.shapes["x"], ctx.shapes["src"]
    dsrc = np.zeros(given or (1,), dy.dtype)
    if not indices.size:
        return dy, None, dsrc.reshape(given)
    place = axis_of("scatter", ctx.attrs["axis"], len(own))
    dx, one = np.array(dy).reshape(own or (1,)), np.atleast_1d(indices)
    grid, part = _grid(one, place), _corner(dsrc, one.shape)
    g = np.atleast_1d(dy)
    if reduce in ("set", "add"):
        part[...] = g[grid]
        if reduce == "set" or not include:
            dx[grid] = 0
        return dx.reshape(own), None, dsrc.reshape(given)
    if reduce == "mean":
        counts = np.full(dx.shape, int(include), dy.dtype)
        np.add.at(counts, grid, 1)
        counts = np.maximum(counts, 1)
        part[...] = (g / counts)[grid]
        dx = dx / counts
        if not include:
            dx[grid] = 0
        return dx.reshape(own), None, dsrc.reshape(given)
    x, y = np.atleast_1d(ctx.saved["x"]), np.atleast_1d(ctx.saved["y"])
    src = _corner(np.atleast_1d(ctx.saved["src"]), one.shape)
    if reduce == "multiply":
        # the product of the others: where a single factor is 0, that of what is not 0
        factors = np.where(src == 0, 1, src)
        first = x if include else np.where(_touched(x.shape, grid), 1, x)
        nonzero = np.where(first == 0, 1, first).astype(dy.dtype)
        count = np.where(first == 0, 1, 0)
        np.multiply.at(nonzero, grid, factors)
        np.add.at(count, grid, src == 0)
        others = np.where(
            count[grid] == 0, y[grid] / factors, np.where((count[grid] == 1) & (src == 0), nonzero[grid], 0)
        )
        part[...] = g[grid] * others
        own_others = np.where(
            count == 0, y / np.where(first == 0, 1, first), np.where((count == 1) & (first == 0), nonzero, 0)
        )
        dx = g * own_others
    else:
        # equal extremes share the gradient
        hit = src == y[grid]
        counts = (x == y).astype(dy.dtype) if include else np.where(_touched(x.shape, grid), 0, 1).astype(dy.dtype)
        np.add.at(counts, grid, hit)
        share = g / np.where(counts == 0, 1, counts)
        part[...] = np.where(hit, share[grid], 0)
        dx = np.where(x == y, share, 0) if include else g.copy()
    if not include:
        dx[grid] = 0
    return dx.reshape(own), None, dsrc.reshape(given)


def _touched(shape: Shape, grid: Any) -> np.ndarray:
    found = np.zeros(shape, np.bool_)
    found[grid] = True
    return found


def reduce_into(low: Lowering, y: Array, src: Array, indices: Array, axis: int, reduce: str, include: bool) -> None:
    """Append the phases that reduce `src` into places of `y`, a dense array."""
    extent = y.shape[axis]

    def put(reduction: str, big: Array, small: Array) -> None:
        part = narrowed(big, indices.shape, axis)
        lines(low, reduction, part, small, indices, axis, extent)

    if reduce != "set" and not include:
        put("set", y, constant(low, NEUTRAL[reduce], indices.shape, y.dtype))
    put("add" if reduce == "mean" else reduce, y, src)
    if reduce == "mean":
        counts = fill(low, low.temporary(y.shape, y.dtype), float(include))
        put("add", counts, constant(low, 1.0, indices.shape, y.dtype))
        if not include:
            at_least_one(low, counts)
        apply(low, "divide", y, y, counts, in_place=True)


def _lower_scatter(low: Lowering, x: Array, indices: Array, src: Array) -> Any:
    if indices.dtype not in INDICES:
        return NotImplemented
    place = axis_of("scatter", low.attrs["axis"], x.ndim)
    y = copied(low, x)
    if indices.size:
        of, one = as_axis(y), as_axis(indices)
        check_indices(low, "scatter", 1, indices, of.shape[place], False)
        part = narrowed(as_axis(src), one.shape)
        reduce_into(low, of, part, one, place, low.attrs["reduce"], low.attrs.get("include_self", True))
    return y


def _lower_scatter_backward(low: Lowering, dy: Array) -> Any:
    indices, own, given = low.saved["indices"], low.shapes["x"], low.shapes["src"]
    assert own is not None
    assert given is not None
    reduce, include = low.attrs["reduce"], low.attrs.get("include_self", True)
    if indices.dtype not in INDICES or reduce not in ("set", "add"):
        return NotImplemented
    one = as_axis(indices)
    place = axis_of("scatter", low.attrs["axis"], len(own))
    dx: Array | None = dy
    if low.needs["x"] and indices.size and (reduce == "set" or not include):
        dx = copied(low, dy)
        of = as_axis(dx)
        nothing = constant(low, 0.0, one.shape, dy.dtype)
        lines(low, "set", narrowed(of, one.shape, place), nothing, one, place, of.shape[place])
    if not low.needs["src"]:
        return dx, None, None
    dsrc = low.output(given, dy.dtype) if given == indices.shape else zeros(low, given, dy.dtype)
    if indices.size:
        of = as_axis(dy)
        part = narrowed(as_axis(dsrc), one.shape)
        lines(low, "gather", narrowed(of, one.shape, place), part, one, place, of.shape[place])
    return dx, None, dsrc


def _declare(
    name: str, spec: str, parts: Any, rule: Any, reductions: tuple[str, ...], default: str, cases: Any, bench: Any
) -> Op:
    """An op of this file; those that reduce keep what their gradients compare."""
    plain = reductions is PLAIN
    x, _, source = re.findall(r"(\w+):", spec)
    return Op(
        name=name,
        shapes=f"{spec} -> y:(...)",
        rule=rule,
        check=_check(name, reductions),
        attributes={"axis": 0, "reduce": default, **({} if plain else {"include_self": True})},
        integer=("indices",),
        reference=parts[:2],
        lower=parts[2:],
        saves=("indices",) if plain else (x, "indices", source, "y"),
        bounds={"indices": "x.0"},
        cases=cases,
        bench=bench,
    )


_SCATTER = (_scatter, _scatter_backward, _lower_scatter, _lower_scatter_backward)
_SCATTER_SPEC = "x:(...) indices:(...) src:(...)"
_SCATTER_BENCH: list[dict[str, Any]] = [
    {"x": (10,), "indices": (10,), "src": (10,), "reduce": "add"},
    {"x": (1024, 1024), "indices": (1024, 1024), "src": (1024, 1024), "axis": 0, "reduce": "add"},
    {"x": (1024, 1024), "indices": (1024, 1024), "src": (1024, 1024), "axis": 1, "reduce": "add"},
]

scatter = _declare(
    "scatter",
    _SCATTER_SPEC,
    _SCATTER,
    _scattered,
    PLAIN,
    "set",
    [
        {"x": (4, 5), "indices": (9, 3), "src": (9, 3), "axis": 0, "reduce": "add"},
        {"x": (3, 4, 5), "indices": (2, 1, 4), "src": (3, 3, 5), "axis": 1},
        {"x": (4, 5), "indices": (4, 7), "src": (4, 7), "axis": -1, "reduce": "add"},
        {"x": (4,), "indices": (0,), "src": (3,)},
    ],
    _SCATTER_BENCH,
)
scatter_reduce = _declare(
    "scatter_reduce",
    _SCATTER_SPEC,
    _SCATTER,
    _scattered,
    REDUCTIONS,
    "add",
    [
        {"x": (4, 5), "indices": (9, 3), "src": (9, 3), "axis": 0, "reduce": reduce, "include_self": include}
        for reduce in REDUCTIONS
        for include in (True, False)
    ],
    _SCATTER_BENCH[1:],
)


# -- index_put: rows named by a vector of indices


def _rows_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x, indices, values = (shapes[n] or () for n in ("x", "indices", "values"))
    if not x:
        raise ShapeError(f"{name}: x must have at least 1 axis, got shape ()")
    axis = axis_of(name, attrs["axis"], len(x))
    if len(indices) != 1:
        raise ShapeError(f"{name}: indices must have 1 axis, got shape {indices}")
    wanted = (*x[:axis], *indices, *x[axis + 1 :])
    if values != wanted:
        raise ShapeError(f"{name}: values must have shape {wanted}, got {values}")
    return [x]


def _rows(axis: int, indices: Any) -> tuple[Any, ...]:
    return ((slice(None),) * axis) + (indices,)


def _index_put(
    x: np.ndarray, indices: np.ndarray, values: np.ndarray, *, axis: int, reduce: str, include_self: bool = True
) -> np.ndarray:
    """A copy of x whose rows at `indices` along `axis` are those of `values`, or are reduced with them as in `scatter`.

    A negative index counts from the end. IndexError for one that is out of range.
    """
    place = axis_of("index_put", axis, x.ndim)
    check_array("index_put", "indices", indices, x.shape[place], True)
    y = np.array(x, copy=True, order="C")
    _reduce_at(y, _rows(place, indices), values, reduce, include_self)
    return y


def _index_put_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray | None, None, np.ndarray | None]:
    place = axis_of("index_put", ctx.attrs["axis"], dy.ndim)
    shape, extent = ctx.shapes["values"], dy.shape[place]
    indices = ctx.saved["indices"] % max(extent, 1)
    wide = np.broadcast_to(indices.reshape([-1 if a == place else 1 for a in range(dy.ndim)]), shape)
    saved = {**ctx.saved, "indices": wide}
    if "values" in saved:
        saved["src"] = saved["values"]
    shapes = {"x": dy.shape, "src": shape}
    return _scatter_backward(Saved(saved, shapes, {}, ctx.attrs, {}), dy)


def _lower_index_put(low: Lowering, x: Array, indices: Array, values: Array) -> Any:
    if indices.dtype not in INDICES:
        return NotImplemented
    place = axis_of("index_put", low.attrs["axis"], x.ndim)
    check_indices(low, "index_put", 1, indices, x.shape[place], True)
    y = copied(low, x)
    if values.size:
        wide = spread(indices, values.shape, place)
        reduce_into(low, y, values, wide, place, low.attrs["reduce"], low.attrs.get("include_self", True))
    return y


def _lower_index_put_backward(low: Lowering, dy: Array) -> Any:
    indices, shape = low.saved["indices"], low.shapes["values"]
    assert shape is not None
    reduce, include = low.attrs["reduce"], low.attrs.get("include_self", True)
    if indices.dtype not in INDICES or reduce not in ("set", "add"):
        return NotImplemented
    place = axis_of("index_put", low.attrs["axis"], dy.ndim)
    wide, extent = spread(indices, shape, place), dy.shape[place]
    dx = dy
    if low.needs["x"] and wide.size and (reduce == "set" or not include):
        dx = copied(low, dy)
        lines(low, "set", dx, constant(low, 0.0, shape, dy.dtype), wide, place, extent)
    if not low.needs["values"]:
        return dx, None, None
    dvalues = low.output(shape, dy.dtype)
    lines(low, "gather", dy, dvalues, wide, place, extent)
    return dx, None, dvalues


_ROWS = (_index_put, _index_put_backward, _lower_index_put, _lower_index_put_backward)
_ROWS_SPEC = "x:(...) indices:(...) values:(...)"
_ROWS_BENCH: list[dict[str, Any]] = [
    {"x": (10,), "indices": (10,), "values": (10,), "reduce": "add"},
    {"x": (1024, 1024), "indices": (1024,), "values": (1024, 1024), "reduce": "add"},
]

index_put = _declare(
    "index_put",
    _ROWS_SPEC,
    _ROWS,
    _rows_shape,
    PLAIN,
    "set",
    [
        {"x": (7, 5), "indices": (1,), "values": (1, 5)},
        {"x": (4, 9), "indices": (11,), "values": (4, 11), "axis": 1, "reduce": "add"},
        {"x": (4, 6), "indices": (0,), "values": (0, 6)},
    ],
    _ROWS_BENCH,
)
index_reduce = _declare(
    "index_reduce",
    _ROWS_SPEC,
    _ROWS,
    _rows_shape,
    REDUCTIONS,
    "add",
    [
        {"x": (4, 6, 3), "indices": (5,), "values": (4, 5, 3), "axis": 1, "reduce": "amax"},
        {"x": (4, 6), "indices": (5,), "values": (5, 6), "reduce": "multiply", "include_self": False},
        {"x": (4, 6), "indices": (5,), "values": (5, 6), "reduce": "mean"},
    ],
    _ROWS_BENCH[1:],
)


# -- masked_fill


def _masked_fill(x: np.ndarray, mask: np.ndarray, value: np.ndarray) -> np.ndarray:
    """A copy of x with `value` where the mask is true; all three broadcast."""
    return np.where(mask, value, x)


def _masked_fill_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray | None, None, np.ndarray | None]:
    mask = ctx.saved["mask"]
    zero = dy.dtype.type(0)
    dx = unbroadcast(np.where(mask, zero, dy), ctx.shapes["x"]) if ctx.needs["x"] else None
    dvalue = unbroadcast(np.where(mask, dy, zero), ctx.shapes["value"]) if ctx.needs["value"] else None
    return dx, None, dvalue


def _lower_masked_fill(low: Lowering, x: Array, mask: Array, value: Array) -> Any:
    shape = np.broadcast_shapes(x.shape, mask.shape, value.shape)
    y = low.output(shape, x.dtype)
    return apply(low, "where", y, mask, value, x)


def _lower_masked_fill_backward(low: Lowering, dy: Array) -> Any:
    mask = low.saved["mask"]

    def part(name: str, *, kept: bool) -> Array | None:
        shape = low.shapes[name]
        assert shape is not None
        if not low.needs[name]:
            return None
        whole = low.output(dy.shape, dy.dtype) if shape == dy.shape else low.temporary(dy.shape, dy.dtype)
        nothing = constant(low, 0.0, dy.shape, dy.dtype)
        apply(low, "where", whole, mask, *((nothing, dy) if kept else (dy, nothing)))
        return sum_to(low, whole, shape)

    return part("x", kept=True), None, part("value", kept=False)


masked_fill = Op(
    name="masked_fill",
    shapes="x:(...) mask:(...) value:(...) -> y:(...)",
    rule=broadcast,
    mask=("mask",),
    reference=(_masked_fill, _masked_fill_backward),
    lower=(_lower_masked_fill, _lower_masked_fill_backward),
    saves=("mask",),
    promotes=True,
    cases=[
        {"x": (4, 5), "mask": (4, 5), "value": ()},
        {"x": (4, 5), "mask": (5,), "value": (4, 1)},
        {"x": (5,), "mask": (2, 1), "value": ()},
        {"x": (), "mask": (), "value": ()},
        {"x": (0, 3), "mask": (3,), "value": ()},
    ],
    bench=[{"x": (10,), "mask": (10,), "value": ()}, {"x": (1024, 1024), "mask": (1024, 1024), "value": ()}],
)
