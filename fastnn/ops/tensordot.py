"""Sums of products over any axes of two arrays."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from fastnn.errors import ShapeError
from fastnn.ops.contraction import axis_labels
from fastnn.ops.op import Shape
from fastnn.ops.products import open_product


def _normal_axes(attributes: dict[str, Any]) -> dict[str, Any]:
    """`axes` as an int or as two tuples of ints."""
    axes = attributes["axes"]
    try:
        if hasattr(axes, "__index__"):
            return {"axes": operator.index(axes)}
        one, two = (tuple(map(operator.index, own if np.iterable(own) else (own,))) for own in axes)
    except (TypeError, ValueError):
        raise TypeError(f"tensordot: axes must be an integer or two of integers or sequences, got {axes!r}") from None
    return {"axes": (one, two)}


def _contracted_axes(x: Shape, y: Shape, axes: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes of both operands that go together, counted from 0."""
    if isinstance(axes, int):
        if not 0 <= axes <= min(len(x), len(y)):
            raise ShapeError(
                f"tensordot: axes must lie from 0 to {min(len(x), len(y))}, as x {x} and y {y} have axes, got {axes}"
            )
        return tuple(range(len(x) - axes, len(x))), tuple(range(axes))
    if len(axes[0]) != len(axes[1]):
        raise ShapeError(f"tensordot: axes must name as many axes of x as of y, got {axes}")
    found = []
    for name, shape, own in (("x", x, axes[0]), ("y", y, axes[1])):
        for axis in own:
            if not -len(shape) <= axis < len(shape):
                raise IndexError(f"tensordot: an axis of {name} {shape} must lie from {-len(shape)} to "
                                 f"{len(shape) - 1}, got {axis}")  # fmt: skip
        found.append(tuple(axis % len(shape) for axis in own))
        if len(set(found[-1])) < len(own):
            raise ShapeError(f"tensordot: axes must name an axis of {name} once, got {own}")
    return found[0], found[1]


def _tensordot_labels(x: Shape, y: Shape, attrs: dict[str, Any]) -> tuple[str, str, str]:
    axes_x, axes_y = _contracted_axes(x, y, attrs["axes"])
    one, two = axis_labels(len(x)), list(axis_labels(len(y), 2))
    for i, j in zip(axes_x, axes_y, strict=True):
        two[j] = one[i]
    out = "".join(n for n in one if n not in two) + "".join(n for n in two if n not in one)
    return one, "".join(two), out


def _tensordot(x: np.ndarray, y: np.ndarray, *, axes: Any) -> np.ndarray:
    """Sum of products over the last `axes` axes of x and the first of y, or over the axes that `axes` names of each."""
    return np.asarray(np.tensordot(x, y, _contracted_axes(x.shape, y.shape, axes)))


tensordot = open_product(
    "tensordot",
    _tensordot_labels,
    _tensordot,
    [
        {"x": (3, 4, 5), "y": (4, 5, 6)},
        {"x": (7, 33), "y": (33, 17), "axes": 1},
        {"x": (2, 3), "y": (4, 5), "axes": 0},
        {"x": (3, 4, 5), "y": (5, 6, 3), "axes": ((0, 2), (2, 0))},
        {"x": (3, 4, 5), "y": (4, 3, 2), "axes": ((0, 1), (-2, -3))},
        {"x": (3, 4), "y": (4, 3), "axes": ((0, 1), (1, 0))},
        {"x": (3, 0), "y": (0, 2), "axes": ((1,), (0,))},
    ],
    {"axes": 2},
    _normal_axes,
)
