"""Arrays joined along an axis: along one they have (concatenate), or along a new one (stack)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.errors import ShapeError
from fastnn.ops.elementwise import apply
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.views import axis_of

MOST = 16  # arrays that one call joins; more are joined in groups first
NAMES = tuple(f"x{i}" for i in range(MOST))


class JoiningOp(Op):
    """An op on a sequence of arrays, given as one argument, as in NumPy, or one by one."""

    def __call__(self, *arrays: Any, axis: int | None = None, out: Any = None) -> Any:  # type: ignore[override]
        """Join the arrays, however many, along `axis` (default: the first)."""
        if len(arrays) <= 2 and arrays and isinstance(arrays[0], (tuple, list)):
            if len(arrays) == 2:
                axis = arrays[1]
            arrays = tuple(arrays[0])
        if not arrays:
            raise ValueError(f"{self.name}: arrays must hold at least one array, got none")
        if len(arrays) <= MOST:
            return join(self, *arrays, axis=0 if axis is None else axis, out=out)
        groups = [arrays[i : i + MOST] for i in range(0, len(arrays), MOST)]
        parts = [join(self, *group, axis=0 if axis is None else axis) for group in groups]
        return concatenate(*parts, axis=self.joined_axis(arrays[0], 0 if axis is None else axis), out=out)

    def joined_axis(self, array: Any, axis: int) -> int:
        """The axis, counted from 0, along which groups that were joined are joined again."""
        return axis_of(self.name, axis, np.ndim(array) + (self.name == "stack"))


join = Op.__call__


def _present(arrays: Sequence[Any]) -> list[Any]:
    return [x for x in arrays if x is not None]


def _concatenated(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    given = {n: s for n, s in shapes.items() if s is not None}
    (_, first), *others = given.items()
    if not first:
        raise ShapeError(f"{name}: arrays must have at least 1 axis, got shape ()")
    axis = axis_of(name, attrs["axis"], len(first))
    for n, shape in others:
        if len(shape) != len(first) or any(
            a != axis and one != own for a, (one, own) in enumerate(zip(first, shape, strict=True))
        ):
            wanted = ", ".join("*" if a == axis else str(extent) for a, extent in enumerate(first))
            raise ShapeError(f"{name}: {n} must have shape ({wanted}) to match {NAMES[0]} {first}, got {shape}")
    return [(*first[:axis], sum(s[axis] for s in given.values()), *first[axis + 1 :])]


def _stacked(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    given = {n: s for n, s in shapes.items() if s is not None}
    (_, first), *others = given.items()
    axis = axis_of(name, attrs["axis"], len(first) + 1)
    for n, shape in others:
        if shape != first:
            raise ShapeError(f"{name}: {n} must have shape {first} to match {NAMES[0]}, got {shape}")
    return [(*first[:axis], len(given), *first[axis:])]


def _concatenate(*arrays: np.ndarray | None, axis: int = 0) -> np.ndarray:
    """Arrays of the same shape but for one axis, one after the other along it."""
    return np.concatenate(_present(arrays), axis=axis)


def _concatenate_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
    shapes = _present([ctx.shapes[n] for n in NAMES])
    axis = axis_of("concatenate", ctx.attrs["axis"], dy.ndim)
    ends = np.cumsum([s[axis] for s in shapes])
    parts = np.split(dy, ends[:-1], axis=axis)
    return (*parts, *(None for _ in range(MOST - len(parts))))


def _stack(*arrays: np.ndarray | None, axis: int = 0) -> np.ndarray:
    """Arrays of one shape side by side along a new axis."""
    return np.stack(_present(arrays), axis=axis)


def _stack_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
    axis = axis_of("stack", ctx.attrs["axis"], dy.ndim)
    parts = [dy.take(i, axis) for i in range(dy.shape[axis])]
    return (*parts, *(None for _ in range(MOST - len(parts))))


def part_of(x: Array, axis: int, start: int, length: int) -> Array:
    """A stretch of an axis of a symbolic array."""
    return replace(
        x,
        shape=(*x.shape[:axis], length, *x.shape[axis + 1 :]),
        offset=x.offset + start * x.strides[axis] * x.itemsize,
    )


def _without(x: Array, axis: int) -> Array:
    return replace(
        x, shape=(*x.shape[:axis], *x.shape[axis + 1 :]), strides=(*x.strides[:axis], *x.strides[axis + 1 :])
    )


def _lower(rule: Callable[..., list[Shape]], new: bool) -> Callable[..., Array]:
    def lower(low: Lowering, *arrays: Array | None) -> Array:
        given = [x for x in arrays if x is not None]
        (shape,) = rule("", {n: None if x is None else x.shape for n, x in zip(NAMES, arrays, strict=True)}, low.attrs)
        axis = axis_of("", low.attrs["axis"], len(shape))
        y = low.output(shape, given[0].dtype, into=lambda out: True)
        start = 0
        for x in given:
            length = 1 if new else x.shape[axis]
            part = part_of(y, axis, start, length)
            apply(low, "copy", _without(part, axis) if new else part, x, in_place=True)
            start += length
        return y

    return lower


def _lower_backward(new: bool) -> Callable[..., tuple[Array | None, ...]]:
    def lower(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
        axis = axis_of("", low.attrs["axis"], dy.ndim)
        parts: list[Array | None] = []
        start = 0
        for n in NAMES:
            shape = low.shapes[n]
            if shape is None:
                parts.append(None)
                continue
            length = 1 if new else shape[axis]
            part = part_of(dy, axis, start, length)
            parts.append(_without(part, axis) if new else part)
            start += length
        return tuple(parts)

    return lower


def _declare(name: str, references: Any, rule: Callable[..., list[Shape]], new: bool, cases: list[Any]) -> JoiningOp:
    places = " ".join(f"{n}:(...){'?' if i else ''}" for i, n in enumerate(NAMES))
    absent = dict.fromkeys(NAMES)
    return JoiningOp(
        name=name,
        shapes=f"{places} -> y:(...)",
        rule=rule,
        check=lambda attributes: {"axis": int(attributes["axis"])},
        attributes={"axis": 0},
        reference=references,
        lower=(_lower(rule, new), _lower_backward(new)),
        promotes=True,
        cases=[{**absent, **case} for case in cases],
        bench=[
            {**absent, "x0": (10,), "x1": (10,)},
            {**absent, "x0": (1024, 1024), "x1": (1024, 1024), "axis": 1},
        ],
    )


concatenate = _declare(
    "concatenate",
    (_concatenate, _concatenate_backward),
    _concatenated,
    False,
    [
        {"x0": (2, 3), "x1": (4, 3)},
        {"x0": (2, 3), "x1": (2, 0), "x2": (2, 5), "axis": -1},
        {"x0": (7,)},
        {"x0": (2, 3, 4), "x1": (2, 1, 4), "axis": 1},
    ],
)
stack = _declare(
    "stack",
    (_stack, _stack_backward),
    _stacked,
    True,
    [
        {"x0": (2, 3), "x1": (2, 3), "axis": 1},
        {"x0": (), "x1": (), "x2": ()},
        {"x0": (0, 3), "axis": -1},
        {"x0": (2, 3), "x1": (2, 3), "axis": 2},
    ],
)
