"""Matrix products as `np.matmul` defines them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastnn._kernels.matmul.plan import product
from fastnn._numpy_views import sum_to
from fastnn.errors import ShapeError
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, Shape

# Up to this many products of a batch become phases of their own; larger batches are NumPy's.
MOST_PRODUCTS = 256


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


def _matrix(x: Array, column: bool) -> Array:
    """A vector as a row or a column."""
    if x.ndim > 1:
        return x
    if column:
        return replace(x, shape=(*x.shape, 1), strides=(*x.strides, 1))
    return replace(x, shape=(1, *x.shape), strides=(1, *x.strides))


def _lower(low: Lowering, x: Array, y: Array) -> Any:
    (shape,) = _shape("matmul", {"x": x.shape, "y": y.shape}, {})
    a, b = _matrix(x, False), _matrix(y, True)
    batch = shape[: len(shape) - (x.ndim > 1) - (y.ndim > 1)]
    rows = a.rows() if b.ndim == 2 else None
    if rows is None and int(np.prod(batch, dtype=object)) > MOST_PRODUCTS:
        return NotImplemented

    def matrices(z: Array) -> Array:
        return replace(z, shape=(*batch, a.shape[-2], b.shape[-1]), strides=_full_strides(z, x, y))

    def takes(out: Array) -> bool:
        return unit_stride(matrices(out)) and (rows is None or matrices(out).rows() is not None)

    z = low.output(shape, x.dtype, into=takes)
    full = matrices(z)
    if rows is not None:
        joined = full.rows()
        assert joined is not None
        product(low, rows, b, joined)
        return z
    a = a.broadcast_to((*batch, *a.shape[-2:]))
    b = b.broadcast_to((*batch, *b.shape[-2:]))
    for index in np.ndindex(*batch):
        product(low, _at(a, index), _at(b, index), _at(full, index))
    return z


def _full_strides(z: Array, x: Array, y: Array) -> tuple[int, ...]:
    """Strides of the product with the axes that vectors lose."""
    strides = list(z.strides)
    if y.ndim == 1:
        strides.append(1)
    if x.ndim == 1:
        strides.insert(len(strides) - 1, 1)
    return tuple(strides)


def _at(x: Array, index: tuple[int, ...]) -> Array:
    """One matrix of a batch."""
    skip = sum(i * s for i, s in zip(index, x.strides, strict=False))
    return replace(x, shape=x.shape[-2:], strides=x.strides[-2:], offset=x.offset + skip * x.itemsize)


def unit_stride(z: Array) -> bool:
    """Whether products can be written there: the elements of each row, or of each column, lie side by side."""
    return any(n <= 1 or stride == 1 for n, stride in zip(z.shape[-2:], z.strides[-2:], strict=True))


def gradient_order(x: Array) -> tuple[int, ...] | None:
    """The order of axes in which a gradient lies as its matrix does."""
    return (1, 0) if x.ndim == 2 and x.strides[0] == 1 != x.strides[1] else None


def _lower_backward(low: Lowering, dz: Array) -> Any:
    x, y = low.saved["x"], low.saved["y"]
    if x.ndim != 2 or y.ndim != 2:
        return NotImplemented
    dx = dy = None
    if low.needs["x"]:
        dx = low.output(x.shape, x.dtype, gradient_order(x))
        product(low, dz, y.T, dx)
    if low.needs["y"]:
        dy = low.output(y.shape, y.dtype, gradient_order(y))
        product(low, x.T, dz, dy)
    return dx, dy


matmul = Op(
    name="matmul",
    shapes="x:(...) y:(...) -> z:(...)",
    rule=_shape,
    reference=(_forward, _backward),
    lower=(_lower, _lower_backward),
    saves=("x", "y"),
    uses={"x": ("y",), "y": ("x",)},
    cases=[
        {"x": (1, 1), "y": (1, 1)},
        {"x": (7, 33), "y": (33, 17)},
        {"x": (5,), "y": (5,)},
        {"x": (5,), "y": (5, 3)},
        {"x": (4, 5), "y": (5,)},
        {"x": (2, 3, 4), "y": (4, 5)},
        {"x": (2, 1, 3, 4), "y": (3, 4, 5)},
        {"x": (0, 4), "y": (4, 3)},
        {"x": (3, 0), "y": (0, 2)},
    ],
    bench=[
        {"x": (64, 64), "y": (64, 64)},
        {"x": (128, 784), "y": (784, 128)},
        {"x": (1024, 1024), "y": (1024, 1024)},
    ],
)
