"""NumPy behind views and broadcasting: reading shapes, axes and indices, and carrying gradients back through them."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from fastnn._runtime.memory import empty
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import ShapeError


def integer(name: str, value: Any) -> int:
    """An int; TypeError, naming what it is, for anything that is no integer."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None


def shape_argument(name: str, args: tuple[Any, ...], lowest: int = -1) -> tuple[int, ...]:
    """Shapes (or axes) come as separate ints or as one sequence; none may be below `lowest`."""
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = tuple(args[0])
    numbers = tuple(integer(name, a) for a in args)
    if min(numbers, default=0) < lowest:
        raise ShapeError(f"{name} must be at least {lowest}, got {numbers}")
    return numbers


def axis_argument(op: str, dim: int, ndim: int) -> int:
    """An axis counted from 0; IndexError, as in torch, where there is none such."""
    dim = integer(f"{op}: dim", dim)
    if not -max(ndim, 1) <= dim < max(ndim, 1):
        raise IndexError(f"{op}: dim must lie from {-max(ndim, 1)} to {max(ndim, 1) - 1}, got {dim}")
    return dim % max(ndim, 1)


def dim_argument(dim: Any) -> Any:
    """Torch's `dim` as NumPy's axis: no axes at all mean every axis there."""
    return (tuple(dim) or None) if isinstance(dim, (tuple, list)) else dim


def index_argument(index: Any) -> Any:
    """An index as NumPy takes it; lists, arrays and Tensors are copied, so that later changes do not reach backward."""
    if isinstance(index, tuple):
        return tuple(index_argument(i) for i in index)
    if isinstance(index, TensorBase):
        index = index.array
    if isinstance(index, (list, np.ndarray)):
        array = np.array(index)
        if array.size == 0 and isinstance(index, list):
            array = array.astype(np.int64)
        return array if array.ndim or array.dtype == np.bool_ else array[()]
    return index


def _is_integer(part: Any) -> bool:
    return isinstance(part, (int, np.integer)) and not isinstance(part, (bool, np.bool_))


def index_steps(index: Any, ndim: int) -> list[tuple[Any, bool]]:
    """An index as one or two NumPy indices, each with whether it gives a view.

    A basic index ends in ``...``, so that an element is a view too. Integers beside arrays are applied first, as
    torch does; NumPy would broadcast them with the arrays and may move the axes.
    """
    parts = index if isinstance(index, tuple) else (index,)
    basic = [_is_integer(p) or isinstance(p, slice) or p is None or p is Ellipsis for p in parts]
    if all(basic):
        return [(parts if any(p is Ellipsis for p in parts) else (*parts, Ellipsis), True)]
    if not any(_is_integer(p) for p in parts):
        return [(index, False)]
    taken = sum(_axes(p) for p in parts)
    first: list[Any] = []
    second: list[Any] = []
    for part in parts:
        if part is Ellipsis:
            first += [slice(None)] * (ndim - taken)
            second += [slice(None)] * (ndim - taken)
        elif _is_integer(part):
            first.append(part)
        else:
            first += [slice(None)] * _axes(part)
            second.append(part)
    return [((*first, Ellipsis), True), (tuple(second), False)]


def _axes(part: Any) -> int:
    """How many axes a part of an index takes."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype == np.bool_ else 1


def scatter(gradient: np.ndarray, steps: list[tuple[Any, bool]], shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """The gradient of what was indexed: `gradient` at its place, added up where an element was taken twice."""
    result = empty(shape, dtype)
    result.fill(0)
    place = result
    for index, view in steps[:-1]:
        assert view
        place = place[index]
    index, view = steps[-1]
    if view:
        place[index] = gradient
    else:
        np.add.at(place, index, gradient)
    return result


def sum_to(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an operand of the given shape: summed over the axes along which broadcasting repeated it."""
    lead = gradient.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        lead + i for i, extent in enumerate(shape) if extent == 1 and gradient.shape[lead + i] != 1
    )
    return np.asarray(gradient.sum(axis=axes)).reshape(shape) if axes else gradient
