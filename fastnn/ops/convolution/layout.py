"""Images as the kernels see them: the channels last in memory, (N, places ..., channels)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fastnn.ops.elementwise import apply
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.views import fill, put, sliced


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


def split(x: Array, axis: int, groups: int) -> Array:
    """An axis as (groups, rest)."""
    n, s = x.shape[axis], x.strides[axis]
    shape = (*x.shape[:axis], groups, n // groups, *x.shape[axis + 1 :])
    return replace(x, shape=shape, strides=(*x.strides[:axis], s * (n // groups), s, *x.strides[axis + 1 :]))


def join(x: Array, axis: int) -> Array:
    """Two axes, evenly stepped through, as one."""
    n = x.shape[axis] * x.shape[axis + 1]
    step = x.strides[axis + 1] if x.shape[axis + 1] > 1 else x.strides[axis]
    return replace(
        x,
        shape=(*x.shape[:axis], n, *x.shape[axis + 2 :]),
        strides=(*x.strides[:axis], step, *x.strides[axis + 2 :]),
    )
