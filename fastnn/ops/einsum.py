"""Sums of products by subscripts: any number of operands, two at a time, as matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastnn._runtime.tensor import TensorBase, derived
from fastnn.errors import DTypeError, ShapeError
from fastnn.ops.arithmetic import copy
from fastnn.ops.contraction import contract, extents, flops_of_gradients, gradient, numbered, numpy_gradient
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.reduction import sum as sum_op

if TYPE_CHECKING:
    from fastnn.ops.path import Single, Step

MOST_PLANS = 1024


# -- two operands: an op


def _terms(equation: str) -> tuple[str, str, str]:
    """The labels of two operands and the result, from ``"ij,jk->ik"`` as `parse` leaves it."""
    inputs, _, out = equation.partition("->")
    x, _, y = inputs.partition(",")
    return x, y, out


def _shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x, y = shapes["x"], shapes["y"]
    assert x is not None
    assert y is not None
    from fastnn.ops.subscripts import sizes

    *inputs, out = _terms(attrs["equation"])
    for i, (term, shape) in enumerate(zip(inputs, (x, y), strict=True)):
        if len(term) != len(shape):
            raise ShapeError(f"{name}: operand {i} must have {len(term)} axes to match {term!r}, got {shape}")
    found = sizes(inputs, [x, y])
    return [tuple(found[label] for label in out)]


def _forward(x: np.ndarray, y: np.ndarray, *, equation: str) -> np.ndarray:
    """Product of two arrays, summed over the subscripts that the result does not have."""
    one, two, out = numbered(*_terms(equation))
    return np.asarray(np.einsum(x, one, y, two, out, optimize=x.dtype.kind in "fc"))


def _backward(ctx: Saved, dz: np.ndarray) -> tuple[np.ndarray | None, ...]:
    x, y = ctx.saved["x"], ctx.saved["y"]
    one, two, out = _terms(ctx.attrs["equation"])
    return (
        numpy_gradient(x.shape, one, (dz, out), (y, two)) if ctx.needs["x"] else None,
        numpy_gradient(y.shape, two, (dz, out), (x, one)) if ctx.needs["y"] else None,
    )


def _flops(equation: str, x: Shape, y: Shape, **_: Any) -> float:
    one, two, _out = _terms(equation)
    return 2.0 * math.prod(extents((x, one), (y, two)).values())


def _lower(low: Lowering, x: Array, y: Array) -> Array:
    one, two, out = _terms(low.attrs["equation"])
    return contract(low, (x, one), (y, two), out, free=True)


def _lower_backward(low: Lowering, dz: Array) -> tuple[Array | None, ...]:
    x, y = low.saved["x"], low.saved["y"]
    one, two, out = _terms(low.attrs["equation"])
    return (
        gradient(low, (x, one), (dz, out), (y, two)) if low.needs["x"] else None,
        gradient(low, (y, two), (dz, out), (x, one)) if low.needs["y"] else None,
    )


pair = Op(
    name="einsum",
    shapes="x:(...) y:(...) -> z:(...)",
    rule=_shape,
    attributes={"equation": ""},
    reference=(_forward, _backward),
    lower=(_lower, _lower_backward),
    saves=("x", "y"),
    uses={"x": ("y",), "y": ("x",)},
    flops=_flops,
    backward_flops=flops_of_gradients(_flops, "x", "y"),
    cases=[
        {"equation": "ij,jk->ik", "x": (7, 33), "y": (33, 17)},
        {"equation": "ij,kj->ki", "x": (7, 5), "y": (9, 5)},
        {"equation": "bij,bjk->bik", "x": (3, 4, 5), "y": (3, 5, 6)},
        {"equation": "bij,bjk->ikb", "x": (3, 4, 5), "y": (3, 5, 6)},
        {"equation": "bij,bjk->bik", "x": (3, 4, 5), "y": (1, 5, 6)},
        {"equation": "bqhd,bkhd->bhqk", "x": (2, 4, 3, 5), "y": (2, 6, 3, 5)},
        {"equation": "aibj,jci->cab", "x": (2, 3, 4, 5), "y": (5, 6, 3)},
        {"equation": "ai,ib->", "x": (2, 3), "y": (3, 4)},
        {"equation": "ij,ij->", "x": (4, 5), "y": (4, 5)},
        {"equation": "ij,ij->ij", "x": (4, 5), "y": (4, 1)},
        {"equation": "bi,bi->b", "x": (4, 5), "y": (4, 5)},
        {"equation": "ii,ij->j", "x": (4, 4), "y": (4, 5)},
        {"equation": "iij,jk->k", "x": (3, 3, 4), "y": (4, 5)},
        {"equation": "i,j->ji", "x": (3,), "y": (4,)},
        {"equation": "ia,jb->ij", "x": (3, 2), "y": (4, 2)},
        {"equation": ",ij->ji", "x": (), "y": (3, 4)},
        {"equation": "ij,jk->ik", "x": (3, 0), "y": (0, 4)},
        {"equation": "ij,jk->ik", "x": (0, 3), "y": (3, 4)},
    ],
    bench=[
        {"equation": "ij,jk->ik", "x": (128, 128), "y": (128, 128)},
        {"equation": "bqhd,bkhd->bhqk", "x": (4, 64, 8, 32), "y": (4, 64, 8, 32)},
    ],
)


# -- one operand: a view, then perhaps a sum


def _diagonal(array: np.ndarray, plan: Single) -> np.ndarray:
    """The view of a plan."""
    return np.einsum(array, plan.term, plan.view) if plan.term else array[...]


def _single(x: Any, plan: Single, into: Any) -> Any:
    """The einsum of one operand: a view where nothing is summed."""
    array = x.array if isinstance(x, TensorBase) else np.asarray(x)
    summed = plan.summed != ()
    if summed and array.dtype.kind != "f":
        total = np.asarray(np.einsum(array, plan.term, plan.result))
        result = derived(x, total, "einsum", lambda g: g, False) if isinstance(x, TensorBase) else total
        return result if into is None else copy(result, out=into)
    if summed and plan.term == plan.view:
        return sum_op(x, axis=plan.summed, out=into)
    result = _diagonal(array, plan)
    if isinstance(x, TensorBase):
        shape, dtype = array.shape, array.dtype

        def back(g: np.ndarray) -> np.ndarray:
            gradient = np.zeros(shape, dtype)
            _diagonal(gradient, plan)[...] = g
            return gradient

        result = derived(x, result, "einsum", back)
    if summed:
        return sum_op(result, axis=plan.summed, out=into)
    return result if into is None else copy(result, out=into)


# -- a call: what to do is found once for the same equation and shapes

# By equation, how to optimize, and shapes: the equation of `pair`, the steps of more operands, or what becomes of one.
_plans: dict[Any, str | tuple[Step, ...] | Single] = {}
# Equations of two operands without "...", which need no shapes: what `pair` takes.
_written: dict[str, str] = {}


def einsum(*operands: Any, out: Any = None, optimize: Any = True) -> Any:
    """Sum of products of the operands' elements over the subscripts that the result does not have.

    Parameters
    ----------
    operands : subscripts, then the operands: ``einsum("ij,jk->ik", x, y)``; or each operand followed by a list of its
        subscripts, integers from 0 to 51 or ``Ellipsis``, and perhaps the result's: ``einsum(x, [0, 1], y, [1, 2])``.
        A subscript that repeats within an operand takes a diagonal. Extents of a subscript agree or are 1, which
        broadcasts. ``...`` stands for any axes, broadcast from the last. Without ``->`` the result has the axes of
        ``...`` and the subscripts that occur once, in alphabetical order, capitals first.
    out : array or Tensor for the result.
    optimize : how to find the order of contractions of three or more operands: True (the best of all for up to four
        operands, else greedy), False (from left to right), ``"greedy"``, ``"optimal"``, or a path as `np.einsum_path`
        gives it. A path is searched once for the same shapes.

    Returns
    -------
    An array for arrays (for one operand of which nothing is summed, a view as in NumPy), a Tensor for Tensors. It may
    lie in memory in another order of axes than C.

    Raises
    ------
    ShapeError : naming the subscript and the operand that do not fit.
    DTypeError : Tensors of different dtypes, and operands that are no numbers.
    """
    head = operands[0] if operands else None
    if type(head) is str:
        if len(operands) == 3:
            plain = _written.get(head)
            if plain is not None:
                return pair(operands[1], operands[2], plain, out=out)
        try:
            plan = _plans.get((head, optimize, *[x.shape for x in operands[1:]]))
        except (AttributeError, TypeError):  # numbers and lists; a path that is a list
            plan = None
        if plan is not None:
            return _run(plan, operands[1:], out)
    return _general(operands, out, optimize)


def _general(operands: tuple[Any, ...], out: Any, optimize: Any) -> Any:
    """Any call of einsum."""
    from fastnn.ops import path, subscripts  # only now: most programs never need them

    if operands and isinstance(operands[0], str):
        equation, arrays = operands[0], list(operands[1:])
        if len(arrays) == 1 and isinstance(arrays[0], (list, tuple)) and "," in equation:
            arrays = list(arrays[0])
    else:
        equation, arrays = subscripts.from_lists(operands)
    if not arrays:
        raise TypeError("einsum: operands are missing")
    arrays = [x if isinstance(x, (TensorBase, np.ndarray)) else np.asarray(x) for x in arrays]
    for i, x in enumerate(arrays):
        if x.dtype.kind not in "biufc":
            raise DTypeError(f"einsum: operand {i} must hold numbers, got dtype {x.dtype}")
    shapes = [x.shape for x in arrays]
    if isinstance(optimize, (list, tuple)):
        optimize = tuple(tuple(part) if isinstance(part, (list, tuple)) else part for part in optimize)
    key = (equation, optimize, *shapes)
    plan = _plans.get(key)
    if plan is None:
        plan = path.plan(equation, shapes, optimize)
        if len(_plans) >= MOST_PLANS:
            _plans.clear()
            _written.clear()
        _plans[key] = plan
        if isinstance(plan, str) and "." not in equation:
            _written[equation] = plan
    return _run(plan, arrays, out)


def _run(plan: str | tuple[Step, ...] | Single, operands: Sequence[Any], out: Any) -> Any:
    """Follow a plan."""
    if isinstance(plan, str):
        return pair(operands[0], operands[1], plan, out=out)
    if len(operands) == 1:
        return _single(operands[0], cast("Single", plan), out)
    return _several(cast("tuple[Step, ...]", plan), list(operands), out)


def _several(steps: tuple[Step, ...], arrays: list[Any], out: Any) -> Any:
    """The einsum of three or more operands."""
    dtype = arrays[0].dtype
    if any(x.dtype is not dtype for x in arrays) and not any(isinstance(x, TensorBase) for x in arrays):
        # as in NumPy, the dtype of all of them is that of each step
        dtype = np.result_type(*arrays)
        arrays = [np.asarray(x, dtype) for x in arrays]
    *first, last = steps
    for step in first:
        arrays.append(pair(arrays[step.first], arrays[step.second], step.equation))
        arrays[step.first] = arrays[step.second] = None
    return pair(arrays[last.first], arrays[last.second], last.equation, out=out)
