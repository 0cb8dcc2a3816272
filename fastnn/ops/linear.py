"""The affine map of a dense layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn.ops.contraction import axis_labels, contract, flops_of_gradients, gradient
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.reduction import sum_axes


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


def labels(x: Shape) -> tuple[str, str, str]:
    """The labels of x, w and y."""
    batch = axis_labels(len(x) - 1)
    return f"{batch}k", "mk", f"{batch}m"


def _lower(low: Lowering, x: Array, w: Array, b: Array | None) -> Array:
    one, two, out = labels(x.shape)
    return contract(low, (x, one), (w, two), out, bias=b)


def _lower_backward(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
    x, w = low.saved["x"], low.saved["w"]
    one, two, out = labels(x.shape)
    dx = dw = db = None
    if low.needs["w"]:
        dw = gradient(low, (w, two), (dy, out), (x, one))
    if low.needs["b"]:
        db = sum_axes(low, dy, range(dy.ndim - 1), low.output((w.shape[0],), w.dtype))
    if low.needs["x"]:
        dx = gradient(low, (x, one), (dy, out), (w, two))
    return dx, dw, db


def _flops(K: int, M: int, **sizes: Any) -> float:
    return 2 * math.prod(sizes["*"]) * K * M


def backward_flops(needs: Mapping[str, bool], M: int, **sizes: Any) -> float:
    """FLOPs of the products for x and w, and of the sum for the bias."""
    return flops_of_gradients(_flops, "x", "w")(needs, M=M, **sizes) + needs["b"] * math.prod(sizes["*"]) * M


linear = Op(
    name="linear",
    shapes="x:(*,K) w:(M,K) b:(M)? -> y:(*,M)",
    reference=(_forward, _backward),
    lower=(_lower, _lower_backward),
    saves=("x", "w"),
    uses={"x": ("w",), "w": ("x",)},
    flops=_flops,
    backward_flops=backward_flops,
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
