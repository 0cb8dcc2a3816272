"""Contractions of two arrays whose axes have labels, as matrix products over views.

    z[b, i, j] = sum over k of x[b, i, k] * y[b, k, j]          "bik", "bkj" -> "bij"

A. Labels are characters. A label of both operands and the result is a batch; of one operand and the result, a row (of
   the left factor `a`) or a column (of the right factor `b`); of both operands alone, contracted; of one operand
   alone, summed before anything else. Axes of length 1 broadcast.
B. Bits follow from labels and extents, never from strides. The operand that owns the result's last label has the
   columns; an operand without labels of its own is a vector, a row on the left and a column on the right. Contracted
   labels run in the order in which the first operand has them. A result with several columns is one chain of FMAs
   over them; a result with one column runs in lanes, so there they must lie at one stride.
C. Strides. Axes of a group are joined where both arrays step through them evenly. Of what is left, one axis of rows
   and one of columns make the matrices and the others a batch; outer contracted axes become steps, each of which
   continues the chains of the one before. Where steps are many or dear, an operand is copied instead; for a batch
   none ever is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastnn._kernels.matmul.plan import product
from fastnn.ops.elementwise import apply, memory_order
from fastnn.ops.lowering import Array, Cell, Lowering, join_axes
from fastnn.ops.reduction import sum_axes

# Nanoseconds, roughly: of an element that is copied (side by side, or from anywhere) or packed for one product, and of
# starting a step.
COPY_NS, GATHER_NS, PACK_NS, STEP_NS = 0.3, 1.2, 0.7, 500.0
# Most steps; where there are more, operands are copied.
MOST_STEPS = 256
# A layout of the result other than the wanted one must save this much.
WORTH = 0.8

Labelled = tuple[Array, str]
Strides = dict[str, int]


# -- the batch of products that everything here ends in


def batched(
    low: Lowering,
    a: Array,
    b: Array,
    c: Array,
    *,
    bias: Array | None = None,
    accumulate: bool = False,
    scale: Cell | None = None,
) -> None:
    """Append the phases of ``c = scale * (a @ b) + bias`` (or ``c += a @ b``, then bias) over leading batch axes.

    Parameters
    ----------
    low : the lowering that collects the phases.
    a, b, c : (*batch, M, K), (*batch, K, N) and (*batch, M, N) of one dtype. a and b have any strides. Each matrix of
        c has unit stride along one axis or is a single row or column. A batch axis along which c has stride 0 (and
        not length 1) is summed over: each product continues the chains of the one before.
    bias : (N,), added after the sum over k.
    accumulate : start from what c holds. Not together with `scale`.
    scale : factor of the whole sum.
    """
    if scale is not None and accumulate:
        raise ValueError("batched: scale and accumulate do not go together")
    batch = a.shape[:-2]
    summed = [axis for axis, extent in enumerate(batch) if extent > 1 and c.strides[axis] == 0]
    steps = math.prod(batch[axis] for axis in summed)
    for index in np.ndindex(*batch):
        step = _place([index[axis] for axis in summed], [batch[axis] for axis in summed])
        last = bias if step == steps - 1 and scale is None else None
        product(low, _at(a, index), _at(b, index), _at(c, index), bias=last, accumulate=accumulate or step > 0)
    if scale is not None:
        whole = replace(c, shape=tuple(1 if axis in summed else n for axis, n in enumerate(c.shape)))
        apply(low, "scale", whole, whole, cells=[scale], in_place=True)
        if bias is not None:
            apply(low, "add", whole, whole, bias, in_place=True)


def _place(index: Sequence[int], shape: Sequence[int]) -> int:
    """The number of an index in C order."""
    number = 0
    for one, extent in zip(index, shape, strict=True):
        number = number * extent + one
    return number


def _at(x: Array, index: tuple[int, ...]) -> Array:
    """One matrix of a batch."""
    skip = sum(i * s for i, s in zip(index, x.strides, strict=False))
    return replace(x, shape=x.shape[-2:], strides=x.strides[-2:], offset=x.offset + skip * x.itemsize)


# -- which label is what


def axis_labels(count: int, bank: int = 1) -> str:
    """Labels for axes without names, those of different banks different; the last axis has the first of the bank."""
    return "".join(chr(0x100 * bank + axis) for axis in reversed(range(count)))


def extents(*operands: tuple[Sequence[int], str]) -> dict[str, int]:
    """The length of each label: of length 1 only where every axis with that label is."""
    found: dict[str, int] = {}
    for shape, labels in operands:
        for label, extent in zip(labels, shape, strict=True):
            if found.get(label, 1) == 1:
                found[label] = extent
    return found


class _Groups(NamedTuple):
    """Labels by what they are to the product."""

    batch: list[str]
    rows: list[str]
    columns: list[str]
    contracted: list[str]


def _left_has_columns(left: str, right: str, out: str) -> bool:
    """Whether the first operand is the right factor of the product."""
    free = [label for label in out if (label in left) != (label in right)]
    owners = {label in left for label in free}
    # an operand without labels of its own is a vector: on the left a row, on the right a column, as in matmul
    return len(owners) == 2 and free[-1] in left


def _columns(out: str, other: str, own: str, never: str) -> list[str]:
    """The labels of columns: those at the end of the result that the right factor alone has."""
    found: list[str] = []
    for label in reversed(out):
        if label in own and label not in other and label not in never:
            found.append(label)
        elif label not in own:
            break
    return found[::-1]


def _reduced(low: Lowering, x: Array, labels: str, keep: Iterable[str]) -> tuple[Array, Strides]:
    """An operand without repeated labels, axes of length 1 and labels that must be summed; its strides by label."""
    shape: dict[str, int] = {}
    strides: Strides = {}
    for label, extent, stride in zip(labels, x.shape, x.strides, strict=True):
        if extent != 1:
            shape[label] = extent
            strides[label] = strides.get(label, 0) + stride
    alone = [axis for axis, label in enumerate(shape) if label not in keep]
    x = replace(x, shape=tuple(shape.values()), strides=tuple(strides.values()))
    if not alone:
        return x, strides
    kept = [label for label in shape if label in keep]
    out = low.temporary([shape[label] for label in kept], x.dtype)
    return sum_axes(low, x, alone, out), dict(zip(kept, out.strides, strict=True))


# -- from groups of labels to matrices


class _Axis(NamedTuple):
    """An axis with its strides in both factors and the result."""

    extent: int
    a: int
    b: int
    c: int


class _Plan(NamedTuple):
    """A batch of products: its axes, the axes summed step by step, the three of the matrices; nanoseconds, roughly."""

    cost: float
    batch: list[_Axis]
    steps: list[_Axis]
    row: _Axis
    column: _Axis
    inner: _Axis

    @property
    def whole(self) -> bool:
        """Whether strides left nothing to be desired."""
        return not self.steps and all(axis.a and axis.b for axis in self.batch)


def _joined(labels: Sequence[str], sizes: Mapping[str, int], a: Strides, b: Strides, c: Strides) -> list[_Axis]:
    """The axes of some labels, neighbours joined."""
    if not labels:
        return []
    shape, strides = join_axes([sizes[n] for n in labels], [[s.get(n, 0) for n in labels] for s in (a, b, c)])
    return [_Axis(*numbers) for numbers in zip(shape, *strides, strict=True)]


def _outermost_first(labels: Iterable[str], strides: Strides) -> list[str]:
    return sorted(labels, key=lambda label: -abs(strides.get(label, 0)))


def _longest(axes: Sequence[_Axis]) -> _Axis | None:
    return max(axes, key=lambda axis: axis.extent, default=None)


def _plan(groups: _Groups, sizes: Mapping[str, int], a: Strides, b: Strides, c: Strides) -> _Plan | None:
    """The matrices for given strides; None where one column would need steps."""
    rows = _joined(_outermost_first(groups.rows, c), sizes, a, b, c)
    columns = _joined(_outermost_first(groups.columns, c), sizes, a, b, c)
    contracted = _joined(groups.contracted, sizes, a, b, {})
    batch = _joined(_outermost_first(groups.batch, c), sizes, a, b, c)
    inner = contracted.pop() if contracted else _Axis(1, 1, 1, 0)
    if contracted and not columns:
        return None
    # one of the matrix's axes must have unit stride in the result
    column = next((axis for axis in columns if axis.c == 1), _longest(columns))
    row = _longest(rows)
    if column is not None and column.c != 1:
        row = next((axis for axis in rows if axis.c == 1), None)
    batch += [axis for axis in columns if axis is not column] + [axis for axis in rows if axis is not row]
    one = _Axis(1, 1, 1, 1)
    row, column = row or one, column or one
    count = math.prod(axis.extent for axis in batch)
    steps = math.prod(axis.extent for axis in contracted)
    cost = steps * count * _matrix_cost(row, column, inner)
    if contracted:
        cost += steps * (STEP_NS + count * row.extent * column.extent * 0.1)
        cost *= 1 if steps <= MOST_STEPS else 1e6
    return _Plan(cost, batch, contracted, row, column, inner)


def _matrix_cost(row: _Axis, column: _Axis, inner: _Axis) -> float:
    """Nanoseconds of one product, roughly: FMAs, each vector of the result, and packing what lies badly."""
    m, n, k = row.extent, column.extent, inner.extent
    cost = max(m, 4) * -(-n // 16) * (k / 4.5 + 3) + 200
    if n > 1 and (column.b if column.c == 1 else row.a) != 1:
        cost += PACK_NS * k * (n if column.c == 1 else m)
    return cost


def _dense(labels: Sequence[str], sizes: Mapping[str, int]) -> Strides:
    """Strides of a C-contiguous array."""
    strides, step = {}, 1
    for label in reversed(labels):
        strides[label] = step
        step *= sizes[label]
    return strides


class _Choice(NamedTuple):
    """A plan with the copies that it needs: the labels of a factor, outermost first."""

    plan: _Plan
    copy_a: list[str] | None
    copy_b: list[str] | None


def _choose(groups: _Groups, sizes: Mapping[str, int], a: Strides, b: Strides, c: Strides) -> _Choice:
    """The cheapest plan for a layout of the result: on the factors as they lie, or instead of steps on copies."""
    plan = _plan(groups, sizes, a, b, c)
    if plan is not None and not plan.steps:
        return _Choice(plan, None, None)
    # a repeated axis is copied only where it is contracted
    batch = _outermost_first(groups.batch, c)
    rows, columns = _outermost_first(groups.rows, c), _outermost_first(groups.columns, c)
    order_a = [*(n for n in (*batch, *rows) if a.get(n)), *groups.contracted]
    order_b = [*(n for n in batch if b.get(n)), *groups.contracted, *(n for n in columns if b.get(n))]
    best = None if plan is None else _Choice(plan, None, None)
    for copy_a, copy_b in ((True, False), (False, True), (True, True)):
        found = _plan(
            groups, sizes, _dense(order_a, sizes) if copy_a else a, _dense(order_b, sizes) if copy_b else b, c
        )
        if found is None:
            continue
        cost = found.cost
        for wanted, order, strides in ((copy_a, order_a, a), (copy_b, order_b, b)):
            if wanted:
                near = bool(order) and strides.get(order[-1]) == 1
                cost += math.prod(sizes[n] for n in order) * (COPY_NS if near else GATHER_NS)
        if best is None or cost < best.plan.cost:
            best = _Choice(found._replace(cost=cost), order_a if copy_a else None, order_b if copy_b else None)
    assert best is not None  # copies of both lie at one stride
    return best


def _copied(low: Lowering, x: Array, strides: Strides, order: list[str] | None, sizes: Mapping[str, int]) -> Array:
    """A factor laid out in the given order of labels, if there is one."""
    if order is None:
        return x
    shape = tuple(sizes[n] for n in order)
    view = replace(x, shape=shape, strides=tuple(strides.get(n, 0) for n in order))
    return apply(low, "copy", low.temporary(shape, x.dtype), view)


def _allocate(
    low: Lowering, labels: str, sizes: Mapping[str, int], order: Sequence[str], dtype: str, final: bool
) -> Array:
    """Memory for a result, its labels from the outermost to the innermost given by `order`."""
    declare = low.output if final else low.temporary
    made = declare([sizes[n] for n in order], dtype)
    return made.permuted([order.index(n) for n in labels])


def contract(
    low: Lowering,
    left: Labelled,
    right: Labelled,
    out: str,
    *,
    never_columns: str = "",
    free: bool = False,
    model: Array | None = None,
    final: bool = True,
    bias: Array | None = None,
    scale: Cell | None = None,
    initial: Array | None = None,
    factor: Cell | None = None,
) -> Array:
    """Append the phases of ``scale * (left * right, summed over the labels not in out) + factor * initial + bias``.

    Parameters
    ----------
    left, right : an array and its labels, one an axis; a label may repeat within an operand (a diagonal). Extents of
        a label agree or are 1.
    out : the result's labels, each once and in one of the operands.
    never_columns : labels that are batches even where they could be columns.
    free : whether the result may lie in memory in another order of axes than C (or than that of `model`), where that
        makes it cheaper.
    model : an array of the result's shape; the result lies in memory as it does.
    final : whether the result is an output of the call, else a temporary.
    bias : an array of one axis, the result's last, which must be a column.
    scale, factor : numbers; None for 1.
    initial : an array that broadcasts to the result. It is the start of the chains where there is no `scale`.

    Returns
    -------
    The result, its axes in the order of `out`, dense in memory.
    """
    (x, x_labels), (y, y_labels) = left, right
    sizes = extents((x.shape, x_labels), (y.shape, y_labels))
    x_own = {n for n, extent in zip(x_labels, x.shape, strict=True) if extent != 1}
    y_own = {n for n, extent in zip(y_labels, y.shape, strict=True) if extent != 1}
    # a sum over nothing is one over a single contracted axis of no length
    empty = any(sizes[n] == 0 for n in x_own | y_own if n not in out)
    if empty:
        keep = set(out)
        x_own, y_own = x_own & keep, y_own & keep
    x, a = (x, _kept(x, x_labels, x_own)) if empty else _reduced(low, x, x_labels, {*out, *y_own})
    y, b = (y, _kept(y, y_labels, y_own)) if empty else _reduced(low, y, y_labels, {*out, *x_own})
    contracted = [n for n in a if n in b and n not in out]
    names_a, names_b = x_labels, y_labels
    if _left_has_columns(x_labels, y_labels, out):
        x, a, names_a, y, b, names_b = y, b, y_labels, x, a, x_labels
    long = [n for n in out if sizes[n] != 1]
    columns = [n for n in _columns(out, names_a, names_b, never_columns) if sizes[n] != 1]
    rows = [n for n in long if n in a and n not in b and n not in columns]
    groups = _Groups([n for n in long if n not in rows and n not in columns], rows, columns, contracted)
    wanted = list(out)
    if model is not None:
        wanted = [out[axis] for axis in memory_order(model.shape, [model])]
    if not all(sizes[n] for n in out):
        return _allocate(low, out, sizes, wanted, x.dtype, final)
    if not contracted and not empty and bias is None:
        z = _allocate(low, out, sizes, wanted, x.dtype, final)
        apply(low, "multiply", z, _aligned(x, a, z, out), _aligned(y, b, z, out))
        if scale is not None:
            apply(low, "scale", z, z, cells=[scale], in_place=True)
        _add(low, z, initial, factor)
        return z
    if empty:
        sizes = {**sizes, "": 0}
        groups.contracted.append("")
    order, choice = _layout(groups, sizes, a, b, wanted, free)
    z = _allocate(low, out, sizes, order, x.dtype, final)
    x = _copied(low, x, a, choice.copy_a, sizes)
    y = _copied(low, y, b, choice.copy_b, sizes)
    started = initial is not None and scale is None
    if started:
        assert initial is not None
        cells = [] if factor is None else [factor]
        apply(low, "copy" if factor is None else "scale", z, initial, cells=cells)
    _append(low, choice.plan, x, y, z, bias, scale, started)
    if not started:
        _add(low, z, initial, factor)
    return z


def _kept(x: Array, labels: str, keep: Iterable[str]) -> Strides:
    """The strides of some labels of an operand of which nothing is read."""
    return {n: s for n, s in zip(labels, x.strides, strict=True) if n in keep}


def _aligned(x: Array, strides: Strides, z: Array, labels: str) -> Array:
    """An operand with the axes of the result."""
    return replace(x, shape=z.shape, strides=tuple(strides.get(n, 0) for n in labels))


def _add(low: Lowering, z: Array, initial: Array | None, factor: Cell | None) -> None:
    if initial is not None:
        name, cells = ("add", []) if factor is None else ("add_scaled", [factor])
        apply(low, name, z, z, initial, cells=cells, in_place=True)


def _layout(
    groups: _Groups, sizes: Mapping[str, int], a: Strides, b: Strides, wanted: list[str], free: bool
) -> tuple[list[str], _Choice]:
    """The order of the result's labels in memory, outermost first, and the plan for it."""

    def strides(order: Sequence[str]) -> Strides:
        return {n: s for n, s in _dense(order, sizes).items() if sizes[n] != 1}

    choice = _choose(groups, sizes, a, b, strides(wanted))
    plan = choice.plan
    if not free or (plan.whole and choice.copy_a is None and choice.copy_b is None):
        return wanted, choice
    best = [
        *(n for n in wanted if n not in groups.rows and n not in groups.columns),
        *_outermost_first(groups.rows, a),
        *_outermost_first(groups.columns, b),
    ]
    other = _choose(groups, sizes, a, b, strides(best))
    return (best, other) if other.plan.cost < WORTH * plan.cost else (wanted, choice)


def _append(
    low: Lowering, plan: _Plan, x: Array, y: Array, z: Array, bias: Array | None, scale: Cell | None, started: bool
) -> None:
    """Append the products of a plan."""
    leading = [*plan.batch, *plan.steps]
    lengths = tuple(axis.extent for axis in leading)
    row, column, inner = plan.row, plan.column, plan.inner
    batched(
        low,
        replace(x, shape=(*lengths, row.extent, inner.extent), strides=(*(s.a for s in leading), row.a, inner.a)),
        replace(y, shape=(*lengths, inner.extent, column.extent), strides=(*(s.b for s in leading), inner.b, column.b)),
        replace(z, shape=(*lengths, row.extent, column.extent), strides=(*(s.c for s in leading), row.c, column.c)),
        bias=bias,
        accumulate=started,
        scale=scale,
    )


# -- gradients: the gradient of a contraction is a contraction


def gradient(low: Lowering, target: Labelled, dz: Labelled, other: Labelled, *, scale: Cell | None = None) -> Array:
    """Append the phases of an operand's gradient, which lies in memory as the operand does where that costs nothing.

    Parameters
    ----------
    target, dz, other : the operand, the gradient of the result, and the other operand, each with its labels.
    scale : as for `contract`.
    """
    x, labels = target
    given = {n for array, names in (dz, other) for n, extent in zip(names, array.shape, strict=True) if extent != 1}
    core = [n for axis, n in enumerate(labels) if x.shape[axis] != 1 and n in given and n not in labels[:axis]]
    long = [axis for axis, extent in enumerate(x.shape) if extent != 1]
    if len(core) == len(long):
        kept = replace(x, shape=tuple(x.shape[a] for a in long), strides=tuple(x.strides[a] for a in long))
        made = contract(low, dz, other, "".join(core), model=kept, free=True, scale=scale)
        strides = dict(zip(core, made.strides, strict=True))
        return replace(made, shape=x.shape, strides=tuple(strides.get(n, 1) for n in labels))
    part = contract(low, dz, other, "".join(core), free=True, scale=scale, final=False)
    dx = low.output(x.shape, x.dtype, memory_order(x.shape, [x]))
    if dx.size == 0:
        return dx
    names = [labels[axis] for axis in long]
    own: Strides = {}
    for axis in long:
        own[labels[axis]] = own.get(labels[axis], 0) + dx.strides[axis]
    if len(own) < len(names):
        # off the diagonal the gradient is a sum of nothing
        flat = replace(dx, shape=(dx.size,), strides=(1,))
        sum_axes(low, replace(x, shape=(0, dx.size), strides=(0, 0)), (0,), flat)
    sizes = {labels[axis]: x.shape[axis] for axis in long}
    place = replace(dx, shape=tuple(sizes[n] for n in own), strides=tuple(own.values()))
    source = dict(zip(core, part.strides, strict=True))
    spread = replace(part, shape=place.shape, strides=tuple(source.get(n, 0) for n in own))
    apply(low, "copy", place, spread, in_place=True)
    return dx


def numpy_gradient(
    shape: tuple[int, ...], labels: str, dz: tuple[np.ndarray, str], other: tuple[np.ndarray, str]
) -> np.ndarray:
    """`gradient` in NumPy: the gradient of an operand of the given shape and labels."""
    numbers = {n: i for i, n in enumerate(dict.fromkeys(dz[1] + other[1] + labels))}
    sizes = extents((dz[0].shape, dz[1]), (other[0].shape, other[1]))
    own = dict(zip(labels, shape, strict=True))
    core = [n for n in own if own[n] != 1 and sizes.get(n) == own[n]]
    terms = [part for array, names in (dz, other) for part in (array, [numbers[n] for n in names])]
    part = np.asarray(np.einsum(*terms, [numbers[n] for n in core], optimize=True))
    result = np.zeros(shape, part.dtype)
    place = np.einsum(result, [numbers[n] for n in labels], [numbers[n] for n in own]) if labels else result
    place[...] = part.reshape([own[n] if n in core else 1 for n in own])
    return result
