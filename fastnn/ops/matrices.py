"""How labelled axes become matrices: which axes join, which are a batch, what is copied, how the result lies.

The labels of two factors come in groups (see `fastnn.ops.contraction`): batch, rows, columns, contracted. A plan
chooses one axis of rows, one of columns and the last contracted one for the matrices; what does not join with them is
a batch of products, or, of contracted axes, steps. Nothing here changes the bits of a result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastnn._kernels.matmul.plan import Step, product
from fastnn.ops.elementwise import apply
from fastnn.ops.lowering import Array, Cell, Lowering, join_axes

# Nanoseconds, roughly: of an element that is copied (side by side, or from anywhere) or packed for one product, and of
# starting a step.
COPY_NS, GATHER_NS, PACK_NS, STEP_NS = 0.3, 1.2, 0.7, 100.0
# A copy of the result to where a caller wants it: at least this, and as much as an element that is gathered.
PLACE_NS = 700.0
# Most steps; where there are more, operands are copied.
MOST_STEPS = 256
# A layout of the result other than the wanted one must save this much.
WORTH = 0.8

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
    # numbers before the bias: both follow the sum over k, of which the last step has the end
    then = [Step("scale", cells=(scale,))] if scale is not None else []
    if bias is not None:
        then.append(Step("add", (bias.broadcast_to(c.shape),)))
    batch = a.shape[:-2]
    summed = [axis for axis, extent in enumerate(batch) if extent > 1 and c.strides[axis] == 0]
    if not summed:
        product(low, a, b, c, then=then, accumulate=accumulate)
        return
    lengths = [batch[axis] for axis in summed]
    for number, index in enumerate(np.ndindex(*lengths)):
        last = number == math.prod(lengths) - 1
        here = [_at(x, dict(zip(summed, index, strict=True))) for x in (a, b, c)]
        steps = [s._replace(operands=tuple(_at(x, dict.fromkeys(summed, 0)) for x in s.operands)) for s in then]
        product(low, *here, then=steps if last else (), accumulate=accumulate or number > 0)


def _at(x: Array, index: Mapping[int, int]) -> Array:
    """The part of an array at an index along some axes, which go."""
    skip = sum(i * x.strides[axis] for axis, i in index.items())
    kept = [axis for axis in range(x.ndim) if axis not in index]
    return replace(
        x,
        shape=tuple(x.shape[axis] for axis in kept),
        strides=tuple(x.strides[axis] for axis in kept),
        offset=x.offset + skip * x.itemsize,
    )


# -- from groups of labels to matrices


class Groups(NamedTuple):
    """Labels by what they are to the product."""

    batch: list[str]
    rows: list[str]
    columns: list[str]
    contracted: list[str]


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


def _plan(groups: Groups, sizes: Mapping[str, int], a: Strides, b: Strides, c: Strides) -> _Plan | None:
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
    cost = max(m, 4) * -(-n // 16) * (k / 4.5 + 3) + 60
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


class Choice(NamedTuple):
    """A plan with the copies that it needs: the labels of a factor, outermost first."""

    plan: _Plan
    copy_a: list[str] | None
    copy_b: list[str] | None


def _choose(groups: Groups, sizes: Mapping[str, int], a: Strides, b: Strides, c: Strides) -> Choice:
    """The cheapest plan for a layout of the result: on the factors as they lie, or instead of steps on copies."""
    plan = _plan(groups, sizes, a, b, c)
    if plan is not None and not plan.steps:
        return Choice(plan, None, None)
    # a repeated axis is copied only where it is contracted
    batch = _outermost_first(groups.batch, c)
    rows, columns = _outermost_first(groups.rows, c), _outermost_first(groups.columns, c)
    order_a = [*(n for n in (*batch, *rows) if a.get(n)), *groups.contracted]
    order_b = [*(n for n in batch if b.get(n)), *groups.contracted, *(n for n in columns if b.get(n))]
    best = None if plan is None else Choice(plan, None, None)
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
            best = Choice(found._replace(cost=cost), order_a if copy_a else None, order_b if copy_b else None)
    assert best is not None  # copies of both lie at one stride
    return best


def lay_out(
    groups: Groups, sizes: Mapping[str, int], a: Strides, b: Strides, wanted: list[str], free: bool
) -> tuple[list[str], Choice]:
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


def choose_into(
    groups: Groups, sizes: Mapping[str, int], a: Strides, b: Strides, place: Strides, own: Choice
) -> Choice | None:
    """The plan for a result with the strides of `place`; None where its `own` layout and a copy are cheaper."""
    long = (*groups.batch, *groups.rows, *groups.columns)
    found = _choose(groups, sizes, a, b, {n: place[n] for n in long})
    copy = PLACE_NS + GATHER_NS * math.prod(sizes[n] for n in long)
    return found if found.plan.cost <= own.plan.cost + copy else None


def _copied(low: Lowering, x: Array, strides: Strides, order: list[str] | None, sizes: Mapping[str, int]) -> Array:
    """A factor laid out in the given order of labels, if there is one."""
    if order is None:
        return x
    shape = tuple(sizes[n] for n in order)
    view = replace(x, shape=shape, strides=tuple(strides.get(n, 0) for n in order))
    return apply(low, "copy", low.temporary(shape, x.dtype), view)


def append(
    low: Lowering,
    choice: Choice,
    sizes: Mapping[str, int],
    a: tuple[Array, Strides],
    b: tuple[Array, Strides],
    c: Array,
    *,
    bias: Array | None = None,
    scale: Cell | None = None,
    accumulate: bool = False,
) -> None:
    """Append the copies and products of a plan, for both factors with their strides by label and the result."""
    plan = choice.plan
    x, y = _copied(low, *a, choice.copy_a, sizes), _copied(low, *b, choice.copy_b, sizes)
    leading = [*plan.batch, *plan.steps]
    lengths = tuple(axis.extent for axis in leading)
    row, column, inner = plan.row, plan.column, plan.inner
    batched(
        low,
        replace(x, shape=(*lengths, row.extent, inner.extent), strides=(*(s.a for s in leading), row.a, inner.a)),
        replace(y, shape=(*lengths, inner.extent, column.extent), strides=(*(s.b for s in leading), inner.b, column.b)),
        replace(c, shape=(*lengths, row.extent, column.extent), strides=(*(s.c for s in leading), row.c, column.c)),
        bias=bias,
        accumulate=accumulate,
        scale=scale,
    )
