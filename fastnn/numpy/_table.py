"""Which of NumPy's functions fastnn serves, and from which size on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastnn import ops
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
    placed : whether `out`, or a reduction's `axis`, may also be given by place.
    easy : second operands for which NumPy has a shorter way.
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
    placed: bool = True
    easy: tuple[float, ...] = ()


AXES = ("axis", "keepdims")


def _function(least: int, **more: Any) -> Row:
    """A function of elements that takes longer than reading them."""
    return Row(ELEMENTWISE, (least, least), 1 << 17, **more)


def _light(most: int, arity: int = 1, least: int = 16, **more: Any) -> Row:
    """As fast as memory: fastnn gains where the call of NumPy's function takes a good part of the time."""
    return Row(ELEMENTWISE, (least, least), WITHOUT_END, (most, most // 2), arity, **more)


def _question(most: int, arity: int = 2, **more: Any) -> Row:
    """Elements that are bools."""
    return _light(most, arity, names=(), watched=False, **more)


def _reduction(least: int, most: int = WITHOUT_END, **more: Any) -> Row:
    limits = (most, most if most == WITHOUT_END else most // 2)
    return Row(REDUCTION, (least, least), 1 << 18, limits, names=more.pop("names", AXES), **more)


def _product(kind: int = PRODUCT, names: tuple[str, ...] = ("out",)) -> Row:
    """Products of matrices up to some 100 a side: of larger ones NumPy's BLAS is as fast, on several threads faster."""
    return Row(kind, (64, 64), WITHOUT_END, (1 << 20, 1 << 20), 2, names)


TABLE: dict[str, Row] = {
    "exp": _function(16),
    "exp2": _function(16),
    "expm1": _function(16),
    "log": _function(16),
    "log2": _function(16),
    "log10": _function(16),
    "log1p": _function(16),
    "sin": _function(16),
    "cos": _function(16),
    "tan": _function(16),
    "arcsin": _function(16, op="asin"),
    "arccos": _function(16, op="acos"),
    "arctan": _function(16, op="atan", watched=False),
    "sinh": _function(16),
    "cosh": _function(16),
    "tanh": _function(16, watched=False),
    "arcsinh": _function(16, op="asinh", watched=False),
    "arccosh": _function(16, op="acosh"),
    "arctanh": _function(16, op="atanh"),
    "power": _function(16, arity=2, easy=(0, 1, 2, 0.5, -1)),
    "hypot": _function(16, arity=2),
    "arctan2": _function(16, op="atan2", arity=2),
    "logaddexp": _function(16, arity=2),
    "logaddexp2": _function(16, arity=2),
    "sqrt": _light(1 << 17, least=128),
    "square": _light(1 << 11, least=128),
    "reciprocal": _light(1 << 12, least=128),
    "negative": _light(1 << 13, watched=False),
    "absolute": _light(1 << 13, op="abs", watched=False),
    "floor": _light(1 << 13, watched=False),
    "ceil": _light(1 << 13, watched=False),
    "trunc": _light(1 << 13, watched=False),
    "add": _light(1 << 11, 2),
    "subtract": _light(1 << 11, 2),
    "multiply": _light(1 << 11, 2),
    "divide": _light(1 << 11, 2),
    "maximum": _light(1 << 13, 2, watched=False, placed=False),
    "minimum": _light(1 << 13, 2, watched=False, placed=False),
    "fmax": _light(1 << 13, 2, watched=False),
    "fmin": _light(1 << 13, 2, watched=False),
    "copysign": _light(1 << 17, 2, watched=False),
    "floor_divide": _function(16, arity=2),
    "remainder": _function(16, arity=2),
    "fmod": _function(16, arity=2),
    "heaviside": _function(16, arity=2),
    "equal": _question(1 << 13),
    "not_equal": _question(1 << 13),
    "less": _question(1 << 13),
    "less_equal": _question(1 << 13),
    "greater": _question(1 << 13),
    "greater_equal": _question(1 << 13),
    "isfinite": _question(1 << 13, 1),
    "isinf": _question(1 << 13, 1),
    "isnan": _question(1 << 13, 1),
    "signbit": _question(1 << 13, 1),
    "sum": _reduction(16),
    "mean": _reduction(16),
    "prod": _reduction(16),
    "max": _reduction(16, 1 << 17, watched=False),
    "min": _reduction(16, 1 << 17, watched=False),
    "amax": _reduction(16, 1 << 17, op="max", watched=False),
    "amin": _reduction(16, 1 << 17, op="min", watched=False),
    "argmax": _reduction(16, 1 << 13, watched=False),
    "argmin": _reduction(16, 1 << 13, watched=False),
    "var": _reduction(16, names=(*AXES, "ddof")),
    "std": _reduction(16, names=(*AXES, "ddof")),
    "cumsum": Row(FUNCTION, (16, 16), 1 << 18, names=("axis",)),
    "clip": Row(FUNCTION, (16, 16), 1 << 17, (1 << 14, 1 << 13), names=("a_min", "a_max"), watched=False),
    "dot": _product(),
    "matmul": _product(),
    "inner": _product(INNER, ()),
    "einsum": Row(FUNCTION, (64, 64), 1 << 16, names=("optimize",)),
    "tensordot": Row(FUNCTION, (64, 64), WITHOUT_END, (1 << 13, 1 << 13), names=("axes",)),
}

# The same functions under other names: NumPy's own, and of the array API standard.
ALIASES = {
    "true_divide": "divide",
    "abs": "absolute",
    "mod": "remainder",
    "pow": "power",
    "acos": "arccos",
    "acosh": "arccosh",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atan2": "arctan2",
    "atanh": "arctanh",
}


def _found(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _finder(name: str, row: Row) -> Callable[[], Any]:
    return partial(_found, "fastnn.numpy._routes" if row.kind == FUNCTION else "fastnn.ops", row.op or name)


def restored(name: str) -> Any:
    """The function of a name, for unpickling."""
    return _found("fastnn.numpy", name)


def gate(name: str, row: Row) -> Gate:
    """The accelerated function of NumPy's name."""
    return Gate(
        getattr(np, name),
        _finder(name, row),
        row.kind,
        row.arity,
        row.least,
        row.most,
        row.freely,
        row.names,
        row.watched,
        row.placed,
        row.easy,
        (restored, (name,)),
    )


def gates() -> dict[str, Gate]:
    """All accelerated functions, by NumPy's names; an alias is the same object, as in NumPy."""
    known = set(dir(ops))
    found = {name: gate(name, row) for name, row in TABLE.items() if hasattr(np, name) and (row.op or name) in known}
    for alias, name in ALIASES.items():
        if name in found and getattr(np, alias, None) == found[name].original:
            found[alias] = found[name]
    return found
