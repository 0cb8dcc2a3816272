"""Matrix products as `np.matmul` defines them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn._numpy_views import sum_to
from fastnn.errors import ShapeError
from fastnn.ops.contraction import axis_labels, contract, extents, flops_of_gradients, gradient
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, Shape


def _as_matrices(x: Shape, y: Shape) -> tuple[Shape, Shape]:
    """Shapes with the axis that `np.matmul` gives to vectors."""
    return (1, *x) if len(x) == 1 else x, (*y, 1) if len(y) == 1 else y


def _shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x, y = shapes["x"], shapes["y"]
    assert x is not None
    assert y is not None
    for which, shape in (("x", x), ("y", y)):
        if not shape:
            raise ShapeError(f"{name}: {which} must have at least 1 axis, got ()")
    left, right = _as_matrices(x, y)
    if left[-1] != right[-2]:
        wanted = f"({', '.join(map(str, (*y[:-2], x[-1], *y[-1:])))})" if len(y) > 1 else f"({x[-1]},)"
        raise ShapeError(f"{name}: y must have shape {wanted} to match x {x}, got {y}")
    try:
        batch = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError:
        raise ShapeError(f"{name}: batch axes must broadcast together, got x {x} and y {y}") from None
    return [batch + ((left[-2],) if len(x) > 1 else ()) + ((right[-1],) if len(y) > 1 else ())]


def _forward(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Matrix product ``x @ y``, with NumPy's rules for vectors and batches."""
    return np.asarray(np.matmul(x, y))


def _backward(ctx: Saved, dz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = ctx.saved["x"], ctx.saved["y"]
    a = x[None] if x.ndim == 1 else x
    b = y[:, None] if y.ndim == 1 else y
    g = dz[..., None, :] if x.ndim == 1 and y.ndim > 1 else dz
    g = g[..., None] if y.ndim == 1 else g
    g = g[..., None, :] if x.ndim == 1 and y.ndim == 1 else g
    return (
        sum_to(g @ b.swapaxes(-1, -2), a.shape).reshape(x.shape),
        sum_to(a.swapaxes(-1, -2) @ g, b.shape).reshape(y.shape),
    )


def _labels(x: Shape, y: Shape) -> tuple[str, str, str, str]:
    """The labels of both operands and the result, and those of the batch."""
    batch = axis_labels(max(len(x), len(y), 2) - 2)
    row, column = "i" if len(x) > 1 else "", "j" if len(y) > 1 else ""
    own_x, own_y = batch[len(batch) - len(x[:-2]) :], batch[len(batch) - len(y[:-2]) :]
    return f"{own_x}{row}k", f"{own_y}k{column}", batch + row + column, batch


def _lower(low: Lowering, x: Array, y: Array) -> Array:
    one, two, out, batch = _labels(x.shape, y.shape)
    return contract(low, (x, one), (y, two), out, never_columns=batch)


def _lower_backward(low: Lowering, dz: Array) -> tuple[Array | None, ...]:
    x, y = low.saved["x"], low.saved["y"]
    one, two, out, _ = _labels(x.shape, y.shape)
    return (
        gradient(low, (x, one), (dz, out), (y, two)) if low.needs["x"] else None,
        gradient(low, (y, two), (dz, out), (x, one)) if low.needs["y"] else None,
    )


def _flops(x: Shape, y: Shape, **_: Any) -> float:
    one, two, _out, _batch = _labels(x, y)
    return 2.0 * math.prod(extents((x, one), (y, two)).values())


matmul = Op(
    name="matmul",
    shapes="x:(...) y:(...) -> z:(...)",
    rule=_shape,
    reference=(_forward, _backward),
    lower=(_lower, _lower_backward),
    saves=("x", "y"),
    uses={"x": ("y",), "y": ("x",)},
    flops=_flops,
    backward_flops=flops_of_gradients(_flops, "x", "y"),
    cases=[
        {"x": (1, 1), "y": (1, 1)},
        {"x": (7, 33), "y": (33, 17)},
        {"x": (5,), "y": (5,)},
        {"x": (5,), "y": (5, 3)},
        {"x": (4, 5), "y": (5,)},
        {"x": (2, 3, 4), "y": (4, 5)},
        {"x": (2, 1, 3, 4), "y": (3, 4, 5)},
        {"x": (3, 4), "y": (5, 4, 2)},
        {"x": (5, 3, 4), "y": (1, 4, 2)},
        {"x": (4,), "y": (3, 4, 5)},
        {"x": (2, 3, 4), "y": (4,)},
        {"x": (2, 0, 3), "y": (2, 3, 4)},
        {"x": (2, 3, 0), "y": (0, 4)},
        {"x": (0, 3, 4), "y": (4, 5)},
        {"x": (0, 4), "y": (4, 3)},
        {"x": (3, 0), "y": (0, 2)},
    ],
    bench=[
        {"x": (64, 64), "y": (64, 64)},
        {"x": (128, 784), "y": (784, 128)},
        {"x": (1024, 1024), "y": (1024, 1024)},
        {"x": (64, 32, 32), "y": (64, 32, 32)},
    ],
)
