"""How functions of elements are declared: a name, a NumPy reference and, for each operand, a gradient.

An op's kernels are rows of `fastnn._kernels.elementwise.TABLE`: one of the op's name, one for each gradient. What was
repeated by broadcasting is summed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnn._numpy_views import sum_to as unbroadcast
from fastnn.ops.arithmetic import BINARY_BENCH, BINARY_CASES, UNARY_BENCH, UNARY_CASES
from fastnn.ops.elementwise import apply, like, lowered
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, broadcast
from fastnn.ops.reduction import sum_to

TERNARY_CASES: list[dict[str, Any]] = [
    {"x": (1,), "y": (1,), "z": (1,)},
    {"x": (7, 33), "y": (7, 33), "z": (7, 33)},
    {"x": (5, 1), "y": (4,), "z": ()},
    {"x": (3, 1, 5), "y": (4, 1), "z": (3, 4, 5)},
    {"x": (0, 4), "y": (4,), "z": (1, 1)},
]
TERNARY_BENCH: list[dict[str, Any]] = [
    {"x": (10,), "y": (10,), "z": (10,)},
    {"x": (1000, 1000), "y": (1000, 1000), "z": (1000, 1000)},
]


class Gradient(NamedTuple):
    """The gradient of an operand.

    Attributes
    ----------
    function : in NumPy, of the result's gradient, what it takes, and the op's hyper-parameters by name; None for the
        result's gradient itself.
    takes : names of operands or of the result.
    row : name of the kernel's row, of the same arguments, of which bools come first.
    """

    function: Callable[..., Any] | None = None
    takes: Sequence[str] = ()
    row: str = ""


PASSED = Gradient()
NOTHING = Gradient(np.zeros_like, (), "zero")


def pointwise(
    name: str,
    forward: Callable[..., Any],
    gradients: Mapping[str, Gradient] | None = None,
    *,
    operands: Sequence[str] = ("x", "y"),
    **declared: Any,
) -> Op:
    """Declare an op on one or several operands, which broadcast; one that has no gradient gets None."""
    given = dict(gradients or {})
    unary = len(operands) == 1
    result = "y" if unary else "z" if len(operands) == 2 else "w"
    cells = tuple(declared.get("cells", ()))
    masks = declared.get("mask", ())
    taken = {t for g in given.values() for t in g.takes}

    def backward(ctx: Saved, dz: np.ndarray) -> tuple[np.ndarray | None, ...]:
        found: list[np.ndarray | None] = []
        for n in operands:
            gradient = given.get(n)
            if gradient is None or not ctx.needs[n]:
                found.append(None)
                continue
            value = dz
            if gradient.function is not None:
                value = gradient.function(dz, *(ctx.saved[t] for t in gradient.takes), **ctx.cells)
            found.append(unbroadcast(np.asarray(value), ctx.shapes[n]))
        return tuple(found)

    def gradient_of(low: Lowering, n: str, dz: Array) -> Array | None:
        gradient = given.get(n)
        if gradient is None or not low.needs[n]:
            return None
        shape = low.shapes[n]
        if not gradient.row:
            return dz if shape == dz.shape else sum_to(low, dz, shape)
        saved = [low.saved[t] for t in gradient.takes]
        first = [s for s, t in zip(saved, gradient.takes, strict=True) if t in masks]
        every = [*first, dz, *(s for s, t in zip(saved, gradient.takes, strict=True) if t not in masks)]
        used = cells if gradient.row != "zero" else ()
        if shape == dz.shape:
            return like(low, gradient.row, *every, model=low.saved.get(n, dz), cells=used)
        whole = low.temporary(dz.shape, dz.dtype)
        return sum_to(low, apply(low, gradient.row, whole, *every, cells=[low.cell(c) for c in used]), shape)

    def lower_backward(low: Lowering, dz: Array) -> tuple[Array | None, ...]:
        return tuple(gradient_of(low, n, dz) for n in operands)

    cases, bench = (
        (UNARY_CASES, UNARY_BENCH)
        if unary
        else (BINARY_CASES, BINARY_BENCH)
        if len(operands) == 2
        else (_renamed(TERNARY_CASES, operands), _renamed(TERNARY_BENCH, operands))
    )
    if len(operands) == 2:
        cases, bench = _renamed(cases, operands), _renamed(bench, operands)
    returned = declared.get("result")
    inputs = "x:(*)" if unary else " ".join(f"{n}:(...)" for n in operands)
    return Op(
        name,
        shapes=f"{inputs} -> {result}:({'*' if unary else '...'})",
        rule=None if unary else broadcast,
        reference=(_quiet(forward), backward if given else None),
        lower=(lowered(name, returned, cells=cells), lower_backward if given else None),
        saves=[n for n in (*operands, result) if n in taken],
        promotes=not unary,
        elementwise=returned is None,
        **{"cases": cases, "bench": bench} | declared,
    )


def _renamed(cases: Sequence[dict[str, Any]], operands: Sequence[str]) -> list[dict[str, Any]]:
    return [dict(zip(operands, case.values(), strict=True)) for case in cases]


def _quiet(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that always gives an array."""

    def run(*inputs: Any, **options: Any) -> np.ndarray:
        return np.asarray(forward(*inputs, **options))

    run.__doc__ = forward.__doc__
    return run


def unary(
    name: str,
    doc: str,
    forward: Callable[..., Any],
    gradient: Callable[..., Any] | None = None,
    saves: str = "x",
    *,
    row: str = "",
    **declared: Any,
) -> Op:
    """Declare an op on one operand; `gradient` is a function of ``dy`` and what is saved, its row ``NAME_backward``."""
    if gradient is None:
        gradients = {}
    elif gradient is np.zeros_like:
        gradients = {"x": NOTHING}
    else:
        gradients = {"x": Gradient(gradient, (saves,), row or f"{name}_backward")}
    return pointwise(name, forward, gradients, operands=("x",), doc=doc, **declared)
