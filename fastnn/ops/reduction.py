"""Sums and means over axes, and the sums that undo broadcasting."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import ShapeError
from fastnn.ops.elementwise import LEAST_TILE, apply, contiguous, groups, lies_across
from fastnn.ops.lowering import Array, Lowering, Operand, join_axes, reads, writes
from fastnn.ops.op import Op, Saved, Shape

# See fastnn._kernels.reduction. A segment has a power of two of blocks, so that cutting a sequence changes no bit.
BLOCK = 1024  # elements a block where the last axis is reduced
LEAF = 32  # rows a block where it is not
TILE = 1024  # most columns reduced at once
TILES = {"": TILE, "lanes": 512, "turn": 64}  # the same, by the way in which they lie
SEGMENT = 1 << 16  # elements from which a sequence is cut
MANY = 1 << 12  # elements from which those that lie across are not gathered one by one
# Nanoseconds an element of float32, by fold.
COST = 0.08
COSTS = {"exponentials": 0.4, "shifted_exponentials": 0.4}
# What combines the results of segments, where it is not the fold itself.
REST = {
    "nonzero_product": "product",
    "product": "product",
    "max": "max",
    "min": "min",
    "max_magnitude": "max",
    "min_magnitude": "min",
}


class Plan(NamedTuple):
    """What the phases of a reduction do: see `fastnn._kernels.reduction`.

    Attributes
    ----------
    fold : a row of its table. divisor, finish : what is done in the end. center : for a fold that has centers, an array
    laid out as the result.
    """

    fold: str = "sum"
    divisor: float = 1
    finish: str = ""
    center: Array | None = None

    def part(self) -> Plan:
        """For segments, before they are combined."""
        return self._replace(divisor=1, finish="")

    def rest(self) -> Plan:
        """For what combines segments."""
        return self._replace(fold=REST.get(self.fold, "sum"), center=None)

    def operand(self) -> Operand | int:
        """The centers among a phase's arguments."""
        return 0 if self.center is None else reads(self.center)

    def cost(self, x: Array) -> float:
        """Nanoseconds an element."""
        return COSTS.get(self.fold, COST) * x.itemsize / 4


def bits(value: float) -> int:
    """A float64's bits as an int64: how a number reaches a kernel's arguments."""
    return int(struct.unpack("q", struct.pack("d", value))[0])


def sum_axes(low: Lowering, x: Array, axes: Sequence[int], out: Array, divisor: float = 1) -> Array:
    """Append the phases that sum `x` over `axes` and divide by `divisor`; see `reduce_axes`."""
    return reduce_axes(low, x, axes, out, Plan(divisor=divisor))


def reduce_axes(low: Lowering, x: Array, axes: Sequence[int], out: Array, plan: Plan) -> Array:
    """Append the phases that reduce `x` over `axes`.

    `out` is C-contiguous with as many elements as the kept axes have; its shape may keep reduced axes as 1.
    """
    if out.size == 0:
        return out
    kept = [a for a in range(x.ndim) if a not in axes]
    length = math.prod(x.shape[a] for a in axes)
    axes = sorted(axes)
    last = max((a for a in range(x.ndim) if x.shape[a] > 1), default=-1)
    beside = _lies_beside(x)
    way = ""
    if x.size >= MANY and beside != last and lies_across(x):
        # outputs that lie side by side are reduced together, and sequences that do are transposed on the way
        if last in axes and beside == max((a for a in kept if x.shape[a] > 1), default=-1):
            way = "lanes"
        elif last in kept and beside == max((a for a in axes if x.shape[a] > 1), default=-1):
            way = "turn"
        else:
            x = contiguous(low, x)
    if last in kept or way == "lanes":
        column = beside if way == "lanes" else last
        return _columns(low, x, [a for a in kept if a < column], column, axes, length, out, plan, way)
    return _rows(low, x, kept, axes, length, out, plan)


def _lies_beside(x: Array) -> int:
    """The axis along which elements lie side by side; -1 for none that is long enough to matter."""
    return next((a for a in range(x.ndim) if x.strides[a] == 1 and x.shape[a] >= LEAST_TILE), -1)


def _described(x: Array, axes: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Extents and strides of some axes, neighbours joined."""
    extents, (strides,) = join_axes([x.shape[a] for a in axes], [[x.strides[a] for a in axes]])
    return extents, strides


def _segment(length: int, block: int, wanted: int) -> int:
    """A power of two of blocks: at least `wanted` elements, few enough segments."""
    segment = block
    while segment < wanted or length > 4096 * segment:
        segment *= 2
    return segment


def _rows(low: Lowering, x: Array, kept: list[int], axes: list[int], length: int, out: Array, plan: Plan) -> Array:
    cost = plan.cost(x)
    own, own_strides = _described(x, kept)
    summed, strides = _described(x, axes)
    if not summed or not length:  # kernels divide by extents
        summed, strides = (1,), (1,)
    cost += 0.5 if strides[-1] != 1 else 0
    segment = length or 1
    if length >= 2 * SEGMENT and out.size < 16:
        segment = _segment(length, BLOCK, SEGMENT)
    segments = max(1, -(-length // segment))
    result = out if segments == 1 else low.temporary((segments, out.size), x.dtype)
    mine = plan if segments == 1 else plan.part()
    group, chunks, work = groups(segments * out.size, min(segment, length) * cost + 15)
    low.phase(
        "reduction.rows",
        [
            writes(result), reads(x), mine.operand(), out.size, bits(mine.divisor), length, segment, group,
            len(own), len(summed), *own, *own_strides, *summed, *strides,
        ],
        chunks=chunks,
        work=work,
        block=group,
        flops=x.size,
        dtype=x.dtype,
        fold=mine.fold,
        finish=mine.finish,
    )  # fmt: skip
    return out if segments == 1 else _combine(low, result, out, plan.rest())


def _columns(
    low: Lowering,
    x: Array,
    outer: list[int],
    column: int,
    axes: list[int],
    length: int,
    out: Array,
    plan: Plan,
    way: str = "",
) -> Array:
    """Reduce whole rows: `way` says "lanes" for the order of `_rows`, "turn" where sequences lie side by side."""
    cost = plan.cost(x) + (0.1 if way else 0.0)
    block = BLOCK if way == "lanes" else LEAF
    own, own_strides = _described(x, outer)
    summed, strides = _described(x, axes)
    width = x.shape[column]
    if not summed or not length:  # kernels divide by extents
        summed, strides = (1,), (1,)
    cost += 1.0 if x.strides[column] != 1 and not way else 0
    tile = min(width, TILES[way])
    count = out.size // width
    tiles = -(-width // tile) * count
    segment = length or 1
    if tiles < 8 and length * tile >= 2 * SEGMENT:
        segment = _segment(length, block, SEGMENT // tile)
    segments = max(1, -(-length // segment))
    result = out if segments == 1 else low.temporary((segments, out.size), x.dtype)
    mine = plan if segments == 1 else plan.part()
    group, chunks, work = groups(segments * tiles, min(segment, length) * (tile * cost + 1) + 30)
    low.phase(
        "reduction.columns",
        [
            writes(result), reads(x), mine.operand(), count, bits(mine.divisor), length, segment, tile, block, group,
            len(own), len(summed), width, x.strides[column], *own, *own_strides, *summed, *strides,
        ],
        chunks=chunks,
        work=work,
        flops=x.size,
        dtype=x.dtype,
        fold=mine.fold,
        finish=mine.finish,
        **_how(way),
    )  # fmt: skip
    return out if segments == 1 else _combine(low, result, out, plan.rest())


def _how(way: str) -> dict[str, Any]:
    """What a kernel is to be compiled for besides."""
    if way == "lanes":
        return {"lanes": True}
    if way == "turn":
        from fastnn._kernels.cpu import target

        return {"turn": target().vector_bytes}
    return {}


def _combine(low: Lowering, parts: Array, out: Array, plan: Plan) -> Array:
    """Combine the segments' results pairwise."""
    segments, size = parts.shape
    tile = min(size, TILE)
    tiles = -(-size // tile)
    low.phase(
        "reduction.columns",
        [
            writes(out), reads(parts), 0, 1, bits(plan.divisor), segments, segments, tile, 1, tiles,
            0, 1, size, 1, segments, size,
        ],
        work=segments * size * 2 + 30,
        flops=segments * size,
        dtype=parts.dtype,
        fold=plan.fold,
        finish=plan.finish,
    )  # fmt: skip
    return out


def column_sum(low: Lowering, x: Array, out: Array) -> Array:
    """Sum the rows of a matrix (N, M) into `out` (M): the gradient of a bias."""
    return sum_axes(low, x, (0,), out)


def sum_to(low: Lowering, x: Array, shape: tuple[int, ...] | None, *, final: bool = True) -> Array:
    """Sum over the axes along which an operand of the given shape was repeated; `x` itself if none was.

    `final` : whether the result is an output of the call, else a temporary.
    """
    assert shape is not None
    if shape == x.shape:
        return x
    lead = x.ndim - len(shape)
    axes = [*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1 and x.shape[lead + i] != 1)]
    out = low.output(shape, x.dtype) if final else low.temporary(shape, x.dtype)
    return sum_axes(low, x, axes, out)


def summed_axes(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes counted from 0, in order; None means all.

    Raises TypeError for an axis that is no integer, IndexError for one that is not there, ShapeError for a repeat.
    """
    if axis is None:
        return tuple(range(ndim))
    axes = []
    for one in axis if isinstance(axis, tuple) else (axis,):
        if not hasattr(one, "__index__"):
            raise TypeError(f"{name}: axis must be an integer or several, got {one!r}")
        if not -max(ndim, 1) <= one < max(ndim, 1):
            raise IndexError(f"{name}: axis must lie from {-max(ndim, 1)} to {max(ndim, 1) - 1}, got {one}")
        if ndim:
            axes.append(one % ndim)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{name}: axis names an axis twice: {axis}")
    return tuple(sorted(axes))


def normal_axes(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes with `axis` None, an int or a tuple, and `keepdims` a bool; others as they are."""
    axis = attributes["axis"]
    if axis is not None and not isinstance(axis, (int, np.integer)):
        axes = tuple(axis) if np.iterable(axis) else (axis,)
        axis = tuple(int(a) if isinstance(a, np.integer) else a for a in axes)
    axis = int(axis) if isinstance(axis, np.integer) else axis
    return {**attributes, "axis": axis, "keepdims": bool(attributes["keepdims"])}


def reduced_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    """The shape rule of reductions of an input `x` over `axis`."""
    x = shapes["x"]
    assert x is not None
    axes = summed_axes(name, attrs["axis"], len(x))
    if attrs["keepdims"]:
        return [tuple(1 if a in axes else n for a, n in enumerate(x))]
    return [tuple(n for a, n in enumerate(x) if a not in axes)]


def _sum(x: np.ndarray, *, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    """Sum over the axes `axis` (None: all)."""
    return np.asarray(x.sum(axis=summed_axes("sum", axis, x.ndim), keepdims=keepdims))


def _mean(x: np.ndarray, *, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    """Mean over the axes `axis` (None: all); NaN over none at all."""
    axes = summed_axes("mean", axis, x.ndim)
    count = math.prod(x.shape[a] for a in axes)
    total = np.asarray(x.sum(axis=axes, keepdims=keepdims))
    return np.asarray(np.true_divide(total, count))


def expanded(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """A shape with the reduced axes kept as 1."""
    return tuple(1 if a in axes else n for a, n in enumerate(shape))


def spread(y: Array, shape: Shape, axes: Sequence[int], keepdims: bool) -> Array:
    """A reduced array (or its gradient) beside the elements: the reduced axes kept as 1."""
    strides = list(y.strides)
    if not keepdims:
        for axis in sorted(axes):
            strides.insert(axis, 0)
    return replace(y, shape=expanded(shape, tuple(axes)), strides=tuple(strides))


def _sum_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    shape = ctx.shapes["x"]
    axes = summed_axes("sum", ctx.attrs["axis"], len(shape))
    return np.broadcast_to(dy.reshape(expanded(shape, axes)), shape).copy()


def _mean_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    shape = ctx.shapes["x"]
    axes = summed_axes("mean", ctx.attrs["axis"], len(shape))
    return _sum_backward(ctx, dy / max(1, math.prod(shape[a] for a in axes)))


def _lower(name: str) -> Any:
    def lower(low: Lowering, x: Array) -> Array:
        axes = summed_axes(name, low.attrs["axis"], x.ndim)
        (shape,) = reduced_shape(name, {"x": x.shape}, low.attrs)
        divisor = math.prod(x.shape[a] for a in axes) if name == "mean" else 1
        return sum_axes(low, x, axes, low.output(shape, x.dtype), divisor)

    return lower


def _lower_backward(name: str) -> Any:
    def lower(low: Lowering, dy: Array) -> Array:
        shape = low.shapes["x"]
        assert shape is not None
        axes = summed_axes(name, low.attrs["axis"], len(shape))
        if name == "mean":
            # Sums of one element each, divided: the division happens before the spreading, as in torch.
            count = max(1, math.prod(shape[a] for a in axes))
            dy = sum_axes(low, dy, (), low.temporary(dy.shape, dy.dtype), count)
        return apply(low, "copy", low.output(shape, dy.dtype), spread(dy, shape, axes, low.attrs["keepdims"]))

    return lower


_CASES: list[dict[str, Any]] = [{"x": s} for s in ((), (1,), (1000,), (7, 33), (128, 10), (3, 4, 5), (0, 3), (3, 0))]
_BENCH: list[dict[str, Any]] = [{"x": (10,)}, {"x": (1024, 1024)}]

sum = Op(
    name="sum",
    shapes="x:(...) -> y:(...)",
    rule=reduced_shape,
    check=normal_axes,
    attributes={"axis": None, "keepdims": False},
    reference=(_sum, _sum_backward),
    lower=(_lower("sum"), _lower_backward("sum")),
    cases=_CASES,
    bench=_BENCH,
)
mean = Op(
    name="mean",
    shapes="x:(...) -> y:(...)",
    rule=reduced_shape,
    check=normal_axes,
    attributes={"axis": None, "keepdims": False},
    floating=True,
    reference=(_mean, _mean_backward),
    lower=(_lower("mean"), _lower_backward("mean")),
    cases=_CASES,
    bench=_BENCH,
)
