"""The affine map of a dense layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn._kernels.matmul.plan import product
from fastnn.ops.arithmetic import contiguous
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.matmul import gradient_order, unit_stride
from fastnn.ops.op import Op, Saved
from fastnn.ops.reduction import column_sum


def _forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """``y = x @ w.T + b``."""
    y = x @ w.T
    return y if b is None else y + b


def _backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
    x, w = ctx.saved["x"], ctx.saved["w"]
    count = math.prod(x.shape[:-1])
    rows, drows = x.reshape(count, x.shape[-1]), dy.reshape(count, w.shape[0])
    return (
        dy @ w if ctx.needs["x"] else None,
        drows.T @ rows if ctx.needs["w"] else None,
        drows.sum(axis=0) if ctx.needs["b"] else None,
    )


def _rows(low: Lowering, x: Array) -> Array:
    """All axes but the last joined, copied where the strides do not allow a view."""
    rows = x.rows()
    if rows is None:
        rows = contiguous(low, x).rows()
        assert rows is not None
    return rows


def _takes(out: Array) -> bool:
    rows = out.rows()
    return rows is not None and unit_stride(rows)


def _lower(low: Lowering, x: Array, w: Array, b: Array | None) -> Array:
    y = low.output((*x.shape[:-1], w.shape[0]), x.dtype, into=_takes)
    out = y.rows()
    assert out is not None
    product(low, _rows(low, x), w.T, out, bias=b)
    return y


def _lower_backward(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
    x, w = low.saved["x"], low.saved["w"]
    drows = _rows(low, dy)
    dx = dw = db = None
    if low.needs["w"]:
        dw = low.output(w.shape, w.dtype, gradient_order(w))
        product(low, drows.T, _rows(low, x), dw)
    if low.needs["b"]:
        db = low.output((w.shape[0],), w.dtype)
        column_sum(low, drows, db)
    if low.needs["x"]:
        dx = low.output(x.shape, x.dtype)
        rows = dx.rows()
        assert rows is not None
        product(low, drows, w, rows)
    return dx, dw, db


def _flops(N: int, K: int, M: int, **_: Any) -> float:
    return 2 * N * K * M


linear = Op(
    name="linear",
    shapes="x:(*,K) w:(M,K) b:(M)? -> y:(*,M)",
    reference=(_forward, _backward),
    lower=(_lower, _lower_backward),
    saves=("x", "w"),
    uses={"x": ("w",), "w": ("x",)},
    flops=_flops,
    cases=[
        {"*": (1,), "K": 1, "M": 1},
        {"*": (7,), "K": 33, "M": 17},
        {"*": (13,), "K": 5, "M": 40},
        {"*": (), "K": 4, "M": 3},
        {"*": (2, 3), "K": 4, "M": 5},
        {"*": (0,), "K": 4, "M": 3},
        {"*": (3,), "K": 0, "M": 3},
    ],
    bench=[{"*": (128,), "K": 784, "M": 128}, {"*": (1,), "K": 784, "M": 10}],
)
