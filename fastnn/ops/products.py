"""Products of vectors, matrices and whole arrays: NumPy's, and those that torch alone has (`mm`, `bmm`, `mv`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.errors import ShapeError
from fastnn.ops.arithmetic import contiguous
from fastnn.ops.contraction import axis_labels, contract, extents, flops_of_gradients, gradient, numpy_gradient
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, Shape, Spec

# The labels of two operands and the result, from the operands' shapes and the op's attributes.
Labels = Callable[[Shape, Shape, dict[str, Any]], tuple[str, str, str]]


# -- what they have in common: a contraction whose labels follow from the shapes


def _gradients(labels: Labels, first: str, second: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The gradients of both operands, in NumPy and as phases."""

    def backward(ctx: Saved, dz: np.ndarray) -> tuple[np.ndarray | None, ...]:
        x, y = ctx.saved[first], ctx.saved[second]
        one, two, out = labels(x.shape, y.shape, ctx.attrs)
        return (
            numpy_gradient(x.shape, one, (dz, out), (y, two)) if ctx.needs[first] else None,
            numpy_gradient(y.shape, two, (dz, out), (x, one)) if ctx.needs[second] else None,
        )

    def lower(low: Lowering, dz: Array) -> tuple[Array | None, ...]:
        x, y = low.saved[first], low.saved[second]
        one, two, out = labels(x.shape, y.shape, low.attrs)
        return (
            gradient(low, (x, one), (dz, out), (y, two)) if low.needs[first] else None,
            gradient(low, (y, two), (dz, out), (x, one)) if low.needs[second] else None,
        )

    return backward, lower


def _rule(labels: Labels) -> Callable[..., list[Shape]]:
    """The shape of the result; contracted axes must be equally long."""

    def rule(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
        (first, x), (second, y) = shapes.items()
        assert x is not None
        assert y is not None
        one, two, out = labels(x, y, attrs)
        found = dict(zip(one, x, strict=True))
        for axis, (label, extent) in enumerate(zip(two, y, strict=True)):
            wanted = found.setdefault(label, extent)
            if extent != wanted:
                raise ShapeError(
                    f"{name}: {second} must have extent {wanted} along axis {axis} to match axis {one.index(label)} "
                    f"of {first} {x}, got {y}"
                )
        return [tuple(found[label] for label in out)]

    return rule


def _flops(labels: Labels, defaults: dict[str, Any]) -> Callable[..., float]:
    def flops(x: Shape, y: Shape, **attributes: Any) -> float:
        one, two, _ = labels(x, y, defaults | attributes)
        return 2.0 * math.prod(extents((x, one), (y, two)).values())

    return flops


def open_product(
    name: str,
    labels: Labels,
    forward: Callable[..., Any],
    cases: Sequence[dict[str, Any]],
    attributes: dict[str, Any] | None = None,
    check: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Op:
    """An op on arrays of any shape."""

    def lower(low: Lowering, x: Array, y: Array) -> Array:
        one, two, out = labels(x.shape, y.shape, low.attrs)
        return contract(low, (x, one), (y, two), out)

    backward, lower_backward = _gradients(labels, "x", "y")
    flops = _flops(labels, attributes or {})
    return Op(
        name=name,
        shapes="x:(...) y:(...) -> z:(...)",
        rule=_rule(labels),
        attributes=attributes,
        check=check,
        reference=(forward, backward),
        lower=(lower, lower_backward),
        saves=("x", "y"),
        uses={"x": ("y",), "y": ("x",)},
        flops=flops,
        backward_flops=flops_of_gradients(flops, "x", "y"),
        cases=cases,
        bench=[{"x": (128, 128), "y": (128, 128)}],
    )


def _fixed(
    name: str, shapes: str, forward: Callable[..., Any], cases: Sequence[dict[str, Any]], bench: dict[str, Any]
) -> Op:
    """An op on arrays with a fixed number of axes: the letters of its shapes are the labels."""
    spec = Spec(shapes)
    one, two, out = ("".join(place.dims or ()) for place in (*spec.inputs, *spec.outputs))
    first, second = (place.name for place in spec.inputs)
    backward, lower_backward = _gradients(lambda *_: (one, two, out), first, second)

    def flops(**sizes: Any) -> float:
        return 2.0 * math.prod(sizes[label] for label in {*one, *two})

    return Op(
        name=name,
        shapes=shapes,
        reference=(forward, backward),
        lower=(lambda low, x, y: contract(low, (x, one), (y, two), out), lower_backward),
        saves=(first, second),
        uses={first: (second,), second: (first,)},
        flops=flops,
        backward_flops=flops_of_gradients(flops, first, second),
        cases=cases,
        bench=[bench],
    )


# -- torch's products of matrices


def _mm(input: np.ndarray, mat2: np.ndarray) -> np.ndarray:
    """Product of two matrices."""
    return np.asarray(input @ mat2)


def _bmm(input: np.ndarray, mat2: np.ndarray) -> np.ndarray:
    """Products of two batches of matrices, which are not broadcast."""
    return np.asarray(input @ mat2)


def _mv(input: np.ndarray, vec: np.ndarray) -> np.ndarray:
    """Product of a matrix and a vector."""
    return np.asarray(input @ vec)


mm = _fixed(
    "mm",
    "input:(N,K) mat2:(K,M) -> out:(N,M)",
    _mm,
    [{"N": 1, "K": 1, "M": 1}, {"N": 7, "K": 33, "M": 17}, {"N": 0, "K": 3, "M": 2}, {"N": 2, "K": 0, "M": 3}],
    {"N": 128, "K": 128, "M": 128},
)
bmm = _fixed(
    "bmm",
    "input:(B,N,K) mat2:(B,K,M) -> out:(B,N,M)",
    _bmm,
    [{"B": 3, "N": 4, "K": 5, "M": 6}, {"B": 2, "N": 3, "K": 4, "M": 1}, {"B": 0, "N": 2, "K": 3, "M": 4},
     {"B": 2, "N": 2, "K": 0, "M": 2}],
    {"B": 64, "N": 32, "K": 32, "M": 32},
)  # fmt: skip
mv = _fixed(
    "mv",
    "input:(N,K) vec:(K) -> out:(N)",
    _mv,
    [{"N": 1, "K": 1}, {"N": 7, "K": 33}, {"N": 0, "K": 3}, {"N": 3, "K": 0}],
    {"N": 128, "K": 128},
)


# -- NumPy's products of whole arrays


def _dot_labels(x: Shape, y: Shape, attrs: dict[str, Any]) -> tuple[str, str, str]:
    if not x or not y:
        one, two = axis_labels(len(x)), axis_labels(len(y), 2)
        return one, two, one + two
    rows, columns = axis_labels(len(x) - 1), axis_labels(max(len(y) - 2, 0), 2) + ("j" if len(y) > 1 else "")
    return rows + "k", (columns[:-1] + "k" + columns[-1]) if columns else "k", rows + columns


def _inner_labels(x: Shape, y: Shape, attrs: dict[str, Any]) -> tuple[str, str, str]:
    if not x or not y:
        return _dot_labels(x, y, attrs)
    rows, columns = axis_labels(len(x) - 1), axis_labels(len(y) - 1, 2)
    return rows + "k", columns + "k", rows + columns


def _dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sum of products over the last axis of x and the last but one of y (its only one, if it is a vector)."""
    return np.asarray(np.dot(x, y))


def _inner(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sum of products over the last axes of x and y."""
    return np.asarray(np.inner(x, y))


dot = open_product(
    "dot",
    _dot_labels,
    _dot,
    [
        {"x": (33,), "y": (33,)},
        {"x": (0,), "y": (0,)},
        {"x": (7, 33), "y": (33, 17)},
        {"x": (3, 4), "y": (4,)},
        {"x": (4,), "y": (4, 5)},
        {"x": (2, 3, 4), "y": (5, 4, 6)},
        {"x": (), "y": (2, 3)},
        {"x": (2, 3), "y": ()},
    ],
)
inner = open_product(
    "inner",
    _inner_labels,
    _inner,
    [
        {"x": (33,), "y": (33,)},
        {"x": (7, 33), "y": (17, 33)},
        {"x": (4,), "y": (5, 4)},
        {"x": (2, 3, 4), "y": (5, 6, 4)},
        {"x": (), "y": (2, 3)},
        {"x": (2, 0), "y": (3, 0)},
    ],
)


# -- products of arrays as if they were vectors


def _flat(low: Lowering, x: Array) -> Array:
    """All elements along one axis, in C order."""
    if x.ndim == 1:
        return x
    return replace(contiguous(low, x), shape=(x.size,), strides=(1,))


def _split(stride: int, shape: Shape) -> tuple[int, ...]:
    """The strides of one axis seen as axes of the given shape."""
    strides = []
    for extent in reversed(shape):
        strides.append(stride)
        stride *= max(extent, 1)
    return tuple(reversed(strides))


def _vdot_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x, y = shapes["x"], shapes["y"]
    assert x is not None
    assert y is not None
    if math.prod(x) != math.prod(y):
        raise ShapeError(f"{name}: y must have {math.prod(x)} elements to match x {x}, got {y}")
    return [()]


def _vdot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sum of the products of all elements, in C order; complex x is conjugated."""
    return np.asarray(np.vdot(x, y))


def _vdot_backward(ctx: Saved, dz: np.ndarray) -> tuple[np.ndarray | None, ...]:
    x, y = ctx.saved["x"], ctx.saved["y"]
    return (
        dz * y.reshape(x.shape) if ctx.needs["x"] else None,
        dz * x.reshape(y.shape) if ctx.needs["y"] else None,
    )


def _lower_vdot(low: Lowering, x: Array, y: Array) -> Array:
    if x.shape != y.shape:
        x, y = _flat(low, x), _flat(low, y)
    labels = axis_labels(x.ndim)
    return contract(low, (x, labels), (y, labels), "")


def _vdot_gradient(low: Lowering, x: Array, dz: Array, y: Array) -> Array:
    if x.shape != y.shape:
        y = replace(contiguous(low, y), shape=x.shape, strides=_split(1, x.shape))
    labels = axis_labels(x.ndim)
    return gradient(low, (x, labels), (dz, ""), (y, labels))


def _lower_vdot_backward(low: Lowering, dz: Array) -> tuple[Array | None, ...]:
    x, y = low.saved["x"], low.saved["y"]
    return (
        _vdot_gradient(low, x, dz, y) if low.needs["x"] else None,
        _vdot_gradient(low, y, dz, x) if low.needs["y"] else None,
    )


vdot = Op(
    name="vdot",
    shapes="x:(...) y:(...) -> z:()",
    rule=_vdot_shape,
    reference=(_vdot, _vdot_backward),
    lower=(_lower_vdot, _lower_vdot_backward),
    saves=("x", "y"),
    uses={"x": ("y",), "y": ("x",)},
    flops=lambda x, **_: 2.0 * math.prod(x),
    cases=[
        {"x": (33,), "y": (33,)},
        {"x": (3, 4), "y": (3, 4)},
        {"x": (3, 4), "y": (2, 6)},
        {"x": (), "y": (1, 1)},
        {"x": (0,), "y": (2, 0)},
    ],
    bench=[{"x": (10_000,), "y": (10_000,)}],
)


def _outer_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    return [tuple(math.prod(shape) for shape in shapes.values() if shape is not None)]


def _outer(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Matrix of the products of every element of x with every element of y, both in C order."""
    return np.asarray(np.outer(x, y))


def _outer_backward(ctx: Saved, dz: np.ndarray) -> tuple[np.ndarray | None, ...]:
    x, y = ctx.saved["x"], ctx.saved["y"]
    return (
        (dz @ y.ravel()).reshape(x.shape) if ctx.needs["x"] else None,
        (x.ravel() @ dz).reshape(y.shape) if ctx.needs["y"] else None,
    )


def _outer_labels(x: Array, y: Array) -> tuple[str, str]:
    return axis_labels(x.ndim), axis_labels(y.ndim, 2)


def _lower_outer(low: Lowering, x: Array, y: Array) -> Array:
    one, two = _outer_labels(x, y)
    z = contract(low, (x, one), (y, two), one + two)
    shape = (x.size, y.size)
    return z if z.shape == shape else replace(z, shape=shape, strides=(max(y.size, 1), 1))


def _lower_outer_backward(low: Lowering, dz: Array) -> tuple[Array | None, ...]:
    x, y = low.saved["x"], low.saved["y"]
    one, two = _outer_labels(x, y)
    strides = (*_split(dz.strides[0], x.shape), *_split(dz.strides[1], y.shape))
    apart = replace(dz, shape=(*x.shape, *y.shape), strides=strides)
    return (
        gradient(low, (x, one), (apart, one + two), (y, two)) if low.needs["x"] else None,
        gradient(low, (y, two), (apart, one + two), (x, one)) if low.needs["y"] else None,
    )


outer = Op(
    name="outer",
    shapes="x:(...) y:(...) -> z:(N,M)",
    rule=_outer_shape,
    reference=(_outer, _outer_backward),
    lower=(_lower_outer, _lower_outer_backward),
    saves=("x", "y"),
    uses={"x": ("y",), "y": ("x",)},
    flops=lambda x, y, **_: 1.0 * math.prod(x) * math.prod(y),
    cases=[
        {"x": (7,), "y": (33,)},
        {"x": (2, 3), "y": (4, 5)},
        {"x": (), "y": (3,)},
        {"x": (0,), "y": (3,)},
    ],
    bench=[{"x": (128,), "y": (128,)}],
)
