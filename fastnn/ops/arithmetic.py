"""Arithmetic and comparisons with broadcasting, and copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn._numpy_views import sum_to as unbroadcast
from fastnn.ops.elementwise import apply, contiguous, like, lowered
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, broadcast
from fastnn.ops.reduction import sum_to

__all__ = [
    "add",
    "contiguous",
    "copy",
    "divide",
    "equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "multiply",
    "negative",
    "not_equal",
    "subtract",
]


# -- each operation: what it computes, then the gradients, in NumPy and as phases


def _add(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``x + y``, broadcast."""
    return np.asarray(x + y)


def _add_backward(ctx: Saved, dz: np.ndarray) -> tuple[np.ndarray | None, ...]:
    return tuple(unbroadcast(dz, ctx.shapes[n]) if ctx.needs[n] else None for n in "xy")


def _lower_add_backward(low: Lowering, dz: Array) -> tuple[Array | None, ...]:
    return tuple(sum_to(low, dz, low.shapes[n]) if low.needs[n] else None for n in "xy")


def _subtract(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``x - y``, broadcast."""
    return np.asarray(x - y)


def _subtract_backward(ctx: Saved, dz: np.ndarray) -> tuple[np.ndarray | None, ...]:
    return (
        unbroadcast(dz, ctx.shapes["x"]) if ctx.needs["x"] else None,
        -unbroadcast(dz, ctx.shapes["y"]) if ctx.needs["y"] else None,
    )


def _lower_subtract_backward(low: Lowering, dz: Array) -> tuple[Array | None, ...]:
    dx = sum_to(low, dz, low.shapes["x"]) if low.needs["x"] else None
    dy = like(low, "negative", sum_to(low, dz, low.shapes["y"], final=False)) if low.needs["y"] else None
    return dx, dy


def _multiply(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``x * y``, broadcast."""
    return np.asarray(x * y)


def _multiply_backward(ctx: Saved, dz: np.ndarray) -> tuple[np.ndarray | None, ...]:
    return (
        unbroadcast(dz * ctx.saved["y"], ctx.shapes["x"]) if ctx.needs["x"] else None,
        unbroadcast(dz * ctx.saved["x"], ctx.shapes["y"]) if ctx.needs["y"] else None,
    )


def _product_to(
    low: Lowering, function: str, operand: str, dz: Array, *others: Array, model: Array | None = None
) -> Array | None:
    """The gradient of an operand: a function of `dz` and others, then summed to the operand's shape."""
    shape = low.shapes[operand]
    if not low.needs[operand]:
        return None
    if shape == dz.shape:
        return like(low, function, dz, *others, model=model)
    return sum_to(low, apply(low, function, low.temporary(dz.shape, dz.dtype), dz, *others), shape)


def _lower_multiply_backward(low: Lowering, dz: Array) -> tuple[Array | None, ...]:
    x, y = low.saved["x"], low.saved["y"]
    return (
        _product_to(low, "multiply", "x", dz, y, model=x),
        _product_to(low, "multiply", "y", dz, x, model=y),
    )


def _divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``x / y``, broadcast."""
    return np.asarray(x / y)


def _divide_backward(ctx: Saved, dz: np.ndarray) -> tuple[np.ndarray | None, ...]:
    y, z = ctx.saved["y"], ctx.saved["z"]
    return (
        unbroadcast(dz / y, ctx.shapes["x"]) if ctx.needs["x"] else None,
        unbroadcast(-(dz / y) * z, ctx.shapes["y"]) if ctx.needs["y"] else None,
    )


def _lower_divide_backward(low: Lowering, dz: Array) -> tuple[Array | None, ...]:
    y, z = low.saved["y"], low.saved["z"]
    return (
        _product_to(low, "divide", "x", dz, y),
        _product_to(low, "divide_backward", "y", dz, y, z, model=y),
    )


def _negative(x: np.ndarray) -> np.ndarray:
    """``-x``."""
    return np.asarray(-x)


def _negative_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    return -dy


def _copy(x: np.ndarray) -> np.ndarray:
    """A copy of x."""
    return np.array(x, copy=True, order="K")


def _copy_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    return dy


BINARY_CASES: list[dict[str, Any]] = [
    {"x": (1,), "y": (1,)},
    {"x": (7, 33), "y": (7, 33)},
    {"x": (5, 1), "y": (4,)},
    {"x": (3, 4, 5), "y": (4, 1)},
    {"x": (), "y": (2, 3)},
    {"x": (0, 4), "y": (4,)},
]
BINARY_BENCH: list[dict[str, Any]] = [
    {"x": (10,), "y": (10,)},
    {"x": (128, 128), "y": (128,)},
    {"x": (1000, 1000), "y": (1000, 1000)},
]


def _binary(
    name: str,
    forward: Callable[..., np.ndarray],
    backward: tuple[Callable[..., Any], Callable[..., Any]] | None = None,
    saves: Sequence[str] = (),
    result: str | None = None,
    floating: bool = False,
) -> Op:
    return Op(
        name=name,
        shapes="x:(...) y:(...) -> z:(...)",
        rule=broadcast,
        reference=(forward, backward[0] if backward else None),
        lower=(lowered(name, result), backward[1] if backward else None),
        saves=saves,
        uses={"x": ("y",), "y": ("x",)} if name == "multiply" else None,
        promotes=True,
        elementwise=result is None,
        floating=floating,
        result=result,
        cases=BINARY_CASES,
        bench=BINARY_BENCH,
    )


def _comparison(name: str, symbol: str) -> Op:
    compare = getattr(np, name)

    def forward(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(compare(x, y))

    forward.__doc__ = f"``x {symbol} y``, broadcast, as bools; NaN equals nothing."
    return _binary(name, forward, result="bool")


add = _binary("add", _add, (_add_backward, _lower_add_backward))
subtract = _binary("subtract", _subtract, (_subtract_backward, _lower_subtract_backward))
multiply = _binary("multiply", _multiply, (_multiply_backward, _lower_multiply_backward), ("x", "y"))
divide = _binary("divide", _divide, (_divide_backward, _lower_divide_backward), ("y", "z"), floating=True)
equal = _comparison("equal", "==")
not_equal = _comparison("not_equal", "!=")
less = _comparison("less", "<")
less_equal = _comparison("less_equal", "<=")
greater = _comparison("greater", ">")
greater_equal = _comparison("greater_equal", ">=")

UNARY_CASES: list[dict[str, Any]] = [{"*": ()}, {"*": (1,)}, {"*": (7, 33)}, {"*": (2, 3, 4)}, {"*": (0, 3)}]
UNARY_BENCH: list[dict[str, Any]] = [{"*": (10,)}, {"*": (128, 128)}, {"*": (1000, 1000)}]

negative = Op(
    name="negative",
    shapes="x:(*) -> y:(*)",
    reference=(_negative, _negative_backward),
    lower=(lowered("negative"), lambda low, dy: like(low, "negative", dy)),
    elementwise=True,
    cases=UNARY_CASES,
    bench=UNARY_BENCH,
)
copy = Op(
    name="copy",
    shapes="x:(*) -> y:(*)",
    reference=(_copy, _copy_backward),
    lower=(lowered("copy"), lambda low, dy: dy),
    elementwise=True,
    cases=UNARY_CASES,
    bench=UNARY_BENCH,
)
