"""Which of NumPy's functions fastnn serves, and from which size on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastnn._runtime.gate import ELEMENTWISE, FUNCTION, INNER, PRODUCT, REDUCTION, Gate

WITHOUT_END = sys.maxsize


@dataclass(frozen=True)
class Row:
    """A function.

    Attributes
    ----------
    kind : how its arguments are looked at (`fastnn._runtime.gate`).
    least, most : work from and up to which fastnn serves, for float32 and float64: elements of the largest operand;
        multiplications, for products. Measured: `benchmarks/numpy.py`.
    freely : work from which the layout of the arguments does not count (`gate.pyx`, d): one call then takes about as
        long as a recipe is made.
    arity : array arguments.
    names : keywords that may be given.
    watched : whether the function can overflow, divide by zero or be invalid, which NumPy reports.
    op : its name in `fastnn.ops`, or a function of `fastnn.numpy._routes`, if that is not the function's.
    """

    kind: int
    least: tuple[int, int]
    freely: int
    most: tuple[int, int] = (WITHOUT_END, WITHOUT_END)
    arity: int = 1
    names: tuple[str, ...] = ("out",)
    watched: bool = True
    op: str = ""


AXES = ("axis", "keepdims")


def _function(least: int, freely: int, **more: Any) -> Row:
    """A function of elements that takes longer than reading them."""
    return Row(ELEMENTWISE, (least, least), freely, **more)


def _arithmetic(most: int, **more: Any) -> Row:
    """Two operands, as fast as memory: fastnn gains where calling NumPy's function takes a good part of the time."""
    return Row(ELEMENTWISE, (16, 16), WITHOUT_END, (most, most // 2), 2, **more)


def _reduction(least: int, freely: int, **more: Any) -> Row:
    return Row(REDUCTION, (least, least), freely, names=more.pop("names", AXES), **more)


TABLE: dict[str, Row] = {
    "tanh": _function(16, 1 << 16, watched=False),
    "add": _arithmetic(1 << 13),
    "subtract": _arithmetic(1 << 13),
    "multiply": _arithmetic(1 << 13),
    "divide": _arithmetic(1 << 13),
    "true_divide": _arithmetic(1 << 13, op="divide"),
    "sum": _reduction(16, 1 << 18),
    "mean": _reduction(16, 1 << 18),
    "dot": Row(PRODUCT, (64, 64), 1 << 22, arity=2),
    "matmul": Row(PRODUCT, (64, 64), 1 << 22, arity=2),
    "inner": Row(INNER, (64, 64), 1 << 22, arity=2, names=()),
    "einsum": Row(FUNCTION, (64, 64), 1 << 16, names=("optimize",)),
    "tensordot": Row(FUNCTION, (64, 64), 1 << 18, names=("axes",)),
}


def _found(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _finder(name: str, row: Row) -> Callable[[], Any]:
    return partial(_found, "fastnn.numpy._routes" if row.kind == FUNCTION else "fastnn.ops", row.op or name)


def restored(name: str) -> Any:
    """The function of a name, for unpickling."""
    return _found("fastnn.numpy", name)


def gates() -> dict[str, Any]:
    """The accelerated functions, by NumPy's names."""
    return {
        name: Gate(
            getattr(np, name),
            _finder(name, row),
            row.kind,
            row.arity,
            row.least,
            row.most,
            row.freely,
            row.names,
            row.watched,
            (restored, (name,)),
        )
        for name, row in TABLE.items()
        if hasattr(np, name)
    }
