"""Softmax and log-softmax along an axis that is not the last one: reductions and functions of elements, in place.

Rows are never gathered: columns run side by side in vectors. Which way a call goes depends on the extents of the axis
and of those behind it alone, so neither layouts nor batches change a bit.
"""

from __future__ import annotations

import math

from fastnn.ops.elementwise import apply, memory_order
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.reduction import Plan, expanded, reduce_axes

COLUMNS_FROM = 32  # elements behind an axis from which columns pay


def by_columns(x: Array, axis: int) -> bool:
    """Whether columns serve an axis (counted from either end)."""
    return x.ndim > 1 and x.size > 0 and math.prod(x.shape[axis % x.ndim + 1 :]) >= COLUMNS_FROM and x.shape[-1] > 1


def _reduced(low: Lowering, x: Array, axis: int, plan: Plan) -> Array:
    """A reduction over the axis, which stays with length 1."""
    return reduce_axes(low, x, (axis,), low.temporary(expanded(x.shape, (axis,)), x.dtype), plan)


def forward(low: Lowering, x: Array, axis: int, log_result: bool) -> Array:
    """Append the phases of the forward pass."""
    axis %= x.ndim
    top = _reduced(low, x, axis, Plan("max"))
    total = _reduced(low, x, axis, Plan("shifted_exponentials", center=top))
    y = low.output(x.shape, x.dtype, memory_order(x.shape, (x,)))
    if not log_result:
        return apply(low, "softmax", y, x, top, total)
    logs = apply(low, "log", low.temporary(total.shape, x.dtype), total)
    return apply(low, "log_softmax", y, x, top, logs)


def backward(low: Lowering, dy: Array, y: Array, axis: int, log_result: bool) -> Array:
    """Append the phases of the backward pass."""
    axis %= dy.ndim
    dx = low.output(dy.shape, dy.dtype, memory_order(dy.shape, (dy,)))
    if log_result:
        return apply(low, "log_softmax_backward", dx, dy, y, _reduced(low, dy, axis, Plan()))
    products = apply(low, "multiply", low.temporary(dy.shape, dy.dtype), dy, y)
    return apply(low, "softmax_backward", dx, dy, y, _reduced(low, products, axis, Plan()))
