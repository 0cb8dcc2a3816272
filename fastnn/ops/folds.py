"""Products, extremes, norms and logarithms of sums of exponentials over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.errors import ShapeError
from fastnn.ops.elementwise import apply, like
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.reduction import Plan, expanded, normal_axes, reduce_axes, reduced_shape, spread, summed_axes

__all__ = ["logsumexp", "max", "min", "norm", "prod"]

CASES: list[dict[str, Any]] = [
    {"x": ()},
    {"x": (1,)},
    {"x": (1000,)},
    {"x": (7, 33), "axis": 1},
    {"x": (130, 10), "axis": 0},
    {"x": (3, 4, 5), "axis": (0, 2), "keepdims": True},
    {"x": (2, 3, 4), "axis": ()},
    {"x": (0, 3), "axis": 1},
]
EMPTY: list[dict[str, Any]] = [{"x": (3, 0), "axis": 1}, {"x": (0,)}]
BENCH: list[dict[str, Any]] = [{"x": (10,)}, {"x": (1024, 1024), "axis": 1}, {"x": (1024, 1024), "axis": 0}]


def _axes(name: str, attrs: dict[str, Any], shape: Shape) -> tuple[int, ...]:
    return summed_axes(name, attrs["axis"], len(shape))


def _beside(ctx: Saved, name: str, y: np.ndarray) -> np.ndarray:
    """A reduced array with the reduced axes kept."""
    shape = ctx.shapes["x"]
    return y.reshape(expanded(shape, _axes(name, ctx.attrs, shape)))


def _output(low: Lowering, name: str, x: Array, plan: Plan) -> Array:
    """Reduce into the op's result."""
    (shape,) = reduced_shape(name, {"x": x.shape}, low.attrs)
    return reduce_axes(low, x, _axes(name, low.attrs, x.shape), low.output(shape, x.dtype), plan)


class _Back:
    """What the lowerings of backward passes have in common."""

    def __init__(self, low: Lowering, name: str) -> None:
        self.low, self.x = low, low.saved["x"]
        self.axes = _axes(name, low.attrs, self.x.shape)
        self.shape = expanded(self.x.shape, self.axes)

    def beside(self, y: Array) -> Array:
        """An array of the result's shape beside the elements."""
        return spread(y, self.x.shape, self.axes, self.low.attrs["keepdims"])

    def fold(self, plan: Plan) -> Array:
        """Another reduction of the elements over the same axes."""
        return reduce_axes(self.low, self.x, self.axes, self.low.temporary(self.shape, self.x.dtype), plan)

    def center(self, y: Array) -> Array:
        """The result as centers, which lie in C order."""
        wide = self.beside(y)
        if wide.contiguous:
            return wide
        return apply(self.low, "copy", self.low.temporary(self.shape, y.dtype), wide)

    def share(self, dy: Array, count: Array) -> Array:
        """A gradient divided by how many elements get it."""
        wide = self.beside(dy)
        return apply(self.low, "divide", self.low.temporary(self.shape, dy.dtype), wide, count)


def _reduction(
    name: str,
    forward: Any,
    backward: Any,
    plan: Plan,
    lower_backward: Any,
    saves: Sequence[str],
    cases: Any,
    **more: Any,
) -> Op:
    return Op(
        name=name,
        shapes="x:(...) -> y:(...)",
        rule=more.pop("rule", reduced_shape),
        check=normal_axes,
        attributes={"axis": None, "keepdims": False},
        reference=(forward, backward),
        lower=(lambda low, x: _output(low, name, x, plan), lower_backward),
        saves=saves,
        cases=cases,
        bench=BENCH,
        **more,
    )


# -- products


def _prod(x: np.ndarray, *, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    """Product over the axes `axis` (None: all)."""
    return np.asarray(x.prod(axis=summed_axes("prod", axis, x.ndim), keepdims=keepdims))


def _prod_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    x = ctx.saved["x"]
    axes = _axes("prod", ctx.attrs, x.shape)
    zeros = (x == 0).sum(axis=axes, keepdims=True)
    product = np.where(x == 0, 1, x).prod(axis=axes, keepdims=True)
    others = np.where(zeros == 0, product / x, 0)
    return np.asarray(_beside(ctx, "prod", dy) * np.where((zeros == 1) & (x == 0), product, others))


def _lower_prod_backward(low: Lowering, dy: Array) -> Array:
    back = _Back(low, "prod")
    product, zeros = back.fold(Plan("nonzero_product")), back.fold(Plan("zeros"))
    return like(low, "prod_backward", back.beside(dy), back.x, product, zeros, model=back.x)


prod = _reduction("prod", _prod, _prod_backward, Plan("product"), _lower_prod_backward, ("x",), [*CASES, *EMPTY])


# -- extremes


def some_elements(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    """The shape rule of reductions that have no value for no elements."""
    x = shapes["x"]
    assert x is not None
    (shape,) = reduced_shape(name, shapes, attrs)
    if math.prod(x) == 0 and math.prod(shape) > 0:
        raise ShapeError(f"{name}: x must have elements along the axes that are reduced, got shape {x}")
    return [shape]


def _extreme(name: str) -> Op:
    function = getattr(np, name)

    def forward(x: np.ndarray, *, axis: Any = None, keepdims: bool = False) -> np.ndarray:
        return np.asarray(function(x, axis=summed_axes(name, axis, x.ndim), keepdims=keepdims))

    def backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
        x, y = ctx.saved["x"], _beside(ctx, name, ctx.saved["y"])
        ties = (x == y) | ((x != x) & (y != y))
        count = ties.sum(axis=_axes(name, ctx.attrs, x.shape), keepdims=True)
        return np.asarray(np.where(ties, _beside(ctx, name, dy) / np.maximum(count, 1), 0))

    def lower_backward(low: Lowering, dy: Array) -> Array:
        back = _Back(low, name)
        y = back.center(low.saved["y"])
        share = back.share(dy, back.fold(Plan("ties", center=y)))
        return like(low, "ties_backward", share, back.x, y, model=back.x)

    forward.__doc__ = (
        f"The {'largest' if name == 'max' else 'smallest'} element over the axes `axis` (None: all); NaN if there is "
        "one. Elements that are equal to it share its gradient evenly."
    )
    return _reduction(name, forward, backward, Plan(name), lower_backward, ("x", "y"), CASES, rule=some_elements)


max = _extreme("max")
min = _extreme("min")


# -- norms

ORDERS = {
    1.0: Plan("magnitudes"),
    2.0: Plan("squares", finish="root"),
    math.inf: Plan("max_magnitude"),
    -math.inf: Plan("min_magnitude"),
    0.0: Plan("nonzeros"),
}


def _norm_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    needs_some = attrs["ord"] < 0 or attrs["ord"] == math.inf
    return (some_elements if needs_some else reduced_shape)(name, shapes, attrs)


def _check_norm(attributes: dict[str, Any]) -> dict[str, Any]:
    order = attributes["ord"]
    if isinstance(order, bool) or not isinstance(order, (int, float, np.integer, np.floating)):
        raise TypeError(f"norm: ord must be a number, got {order!r}")
    return {**normal_axes(attributes), "ord": float(order)}


def _norm(x: np.ndarray, *, ord: float = 2.0, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    """The norm of order `ord` of the elements over the axes `axis` (None: all) as of one vector.

    ``sum(|x| ** ord) ** (1 / ord)``; inf and -inf are the largest and the smallest magnitude, 0 counts the elements
    that are not 0.
    """
    axes = summed_axes("norm", axis, x.ndim)
    size = np.abs(x)
    if ord == math.inf:
        return np.asarray(size.max(axis=axes, keepdims=keepdims))
    if ord == -math.inf:
        return np.asarray(size.min(axis=axes, keepdims=keepdims))
    if ord == 0:
        return np.asarray((x != 0).sum(axis=axes, keepdims=keepdims).astype(x.dtype))
    if ord == 1:
        return np.asarray(size.sum(axis=axes, keepdims=keepdims))
    if ord == 2:
        return np.asarray(np.sqrt((x * x).sum(axis=axes, keepdims=keepdims)))
    return np.asarray((size**ord).sum(axis=axes, keepdims=keepdims) ** (1 / ord)).astype(x.dtype)


def _norm_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    x, order = ctx.saved["x"], ctx.attrs["ord"]
    y, dy = _beside(ctx, "norm", ctx.saved["y"]), _beside(ctx, "norm", dy)
    if order == 0:
        return np.zeros_like(x)
    if order == 1:
        return np.asarray(dy * np.sign(x))
    if order == 2:
        return np.asarray(np.where(y == 0, 0, x * (dy / y)))
    size = np.abs(x)
    if math.isinf(order):
        ties = (size == y) | ((x != x) & (y != y))
        count = ties.sum(axis=_axes("norm", ctx.attrs, x.shape), keepdims=True)
        return np.asarray(np.where(ties, dy / np.maximum(count, 1) * np.sign(x), 0))
    if order < 1:
        slope = np.where(x == 0, 0, np.sign(x) * size ** (order - 1))
    elif order < 2:
        slope = np.sign(x) * size ** (order - 1)
    else:
        slope = x * size ** (order - 2)
    return np.asarray(np.where(y == 0, 0, slope * (dy * y ** (1 - order))))


def _lower_norm(low: Lowering, x: Array) -> Array:
    plan = ORDERS.get(low.attrs["ord"])
    return NotImplemented if plan is None else _output(low, "norm", x, plan)


def _lower_norm_backward(low: Lowering, dy: Array) -> Array:
    order, back = low.attrs["ord"], _Back(low, "norm")
    if order == 1:
        return like(low, "norm1_backward", back.beside(dy), back.x, model=back.x)
    y = back.center(low.saved["y"])
    if order == 2:
        return like(low, "norm2_backward", back.beside(dy), back.x, y, model=back.x)
    if not math.isinf(order):
        return NotImplemented
    share = back.share(dy, back.fold(Plan("magnitude_ties", center=y)))
    return like(low, "norm_inf_backward", share, back.x, y, model=back.x)


norm = Op(
    name="norm",
    shapes="x:(...) -> y:(...)",
    rule=_norm_shape,
    check=_check_norm,
    attributes={"ord": 2.0, "axis": None, "keepdims": False},
    floating=True,
    reference=(_norm, _norm_backward),
    lower=(_lower_norm, _lower_norm_backward),
    saves=("x", "y"),
    cases=[
        *CASES,
        *EMPTY,
        *(
            {"x": shape, "axis": axis, "ord": order}
            for shape, axis in (((7, 33), 1), ((40, 10), 0))
            for order in ORDERS
        ),
    ],
    bench=BENCH,
)


# -- logarithms of sums of exponentials


def _logsumexp(x: np.ndarray, *, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    """``log(sum(exp(x)))`` over the axes `axis` (None: all), without overflow; -inf over no elements."""
    axes = summed_axes("logsumexp", axis, x.ndim)
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isinf(top), 0, top).astype(x.dtype)
    total = np.exp(x - top).sum(axis=axes, keepdims=True)
    return np.asarray((np.log(total) + top).sum(axis=axes, keepdims=keepdims))


def _logsumexp_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    y = _beside(ctx, "logsumexp", ctx.saved["y"])
    y = np.where(np.isinf(y), 0, y)
    return np.asarray(_beside(ctx, "logsumexp", dy) * np.exp(ctx.saved["x"] - y))


def _lower_logsumexp(low: Lowering, x: Array) -> Array:
    axes = _axes("logsumexp", low.attrs, x.shape)
    (shape,) = reduced_shape("logsumexp", {"x": x.shape}, low.attrs)
    top = reduce_axes(low, x, axes, low.temporary(shape, x.dtype), Plan("max"))
    total = reduce_axes(low, x, axes, low.temporary(shape, x.dtype), Plan("exponentials", center=top))
    return apply(low, "logsumexp", low.output(shape, x.dtype), total, top)


def _lower_logsumexp_backward(low: Lowering, dy: Array) -> Array:
    back = _Back(low, "logsumexp")
    return like(low, "logsumexp_backward", back.beside(dy), back.x, back.beside(low.saved["y"]), model=back.x)


logsumexp = Op(
    name="logsumexp",
    shapes="x:(...) -> y:(...)",
    rule=reduced_shape,
    check=normal_axes,
    attributes={"axis": None, "keepdims": False},
    floating=True,
    reference=(_logsumexp, _logsumexp_backward),
    lower=(_lower_logsumexp, _lower_logsumexp_backward),
    saves=("x", "y"),
    cases=[*CASES, *EMPTY],
    bench=BENCH,
)
