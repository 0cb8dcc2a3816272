"""Taking and putting by indices and masks, under torch's names and arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn import ops
from fastnn._runtime.capture import frozen
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import ArgumentError, DTypeError, ShapeError
from fastnn.functions._options import size_argument
from fastnn.functions.arguments import axis, into, scalar, tensor_of
from fastnn.functions.subscript import get, read
from fastnn.tensor import from_numpy

_gather, _take = ops.gather, ops.take

REDUCTIONS = {"sum": "add", "prod": "multiply", "mean": "mean", "amax": "amax", "amin": "amin"}


def _index(name: str, index: Any) -> Any:
    """An index argument; int32 and int64 are taken as they are."""
    found = tensor_of(index)
    kind = found.dtype.kind
    if kind == "f" and found.numel() == 0:
        return from_numpy(np.zeros(found.shape, np.int64))
    if kind not in "iu":
        raise DTypeError(f"{name}: index must hold integers, got dtype {found.dtype}")
    return found if found.dtype in (np.int32, np.int64) else found.to(np.int64)


def _same_dtype(name: str, argument: str, x: Any, other: Any) -> None:
    if other.dtype != x.dtype:
        raise DTypeError(f"{name}: {argument} must have dtype {x.dtype} to match input, got {other.dtype}")


# -- taking


def index_select(input: Any, dim: int, index: Any, *, out: Any = None) -> Any:
    """The slices along an axis that a vector of indices names."""
    x = input if isinstance(input, TensorBase) else tensor_of(input)
    indices = _index("index_select", index)
    if indices.ndim > 1:
        raise IndexError(f"index_select: index must have at most 1 axis, got shape {indices.shape}")
    if not indices.ndim:
        indices = ops.reshape(indices, (1,))
    if not x.ndim:
        axis("index_select", dim, 0)
        return into("index_select", ops.reshape(_take(ops.reshape(x, (1,)), indices, 0, False), ()), out)
    made = _take(x, indices, dim, False)
    return made if out is None else into("index_select", made, out)


def gather(input: Any, dim: int, index: Any, *, sparse_grad: bool = False, out: Any = None) -> Any:
    """The elements that an index for each place names along an axis; see `fastnn.ops.gather`."""
    if sparse_grad:
        raise ValueError("gather: sparse_grad must be False, there are no sparse gradients")
    made = _gather(tensor_of(input), _index("gather", index), dim)
    return made if out is None else into("gather", made, out)


def take(input: Any, index: Any, *, out: Any = None) -> Any:
    """The elements that indices into the flattened input name; negative ones count from the end."""
    return into("take", _take(tensor_of(input), _index("take", index)), out)


def take_along_dim(input: Any, indices: Any, dim: int | None = None, *, out: Any = None) -> Any:
    """As `gather`, with operands that broadcast; without an axis both are flattened."""
    x, index = tensor_of(input), _index("take_along_dim", indices)
    if dim is None:
        made = _take(x, ops.reshape(index, (-1,)))
    else:
        made = ops.take_along_axis(x, index, dim)
    return into("take_along_dim", made, out)


def masked_select(input: Any, mask: Any, *, out: Any = None) -> Any:
    """The elements, in C order, where a mask is true; input and mask broadcast."""
    x, where = tensor_of(input), _mask("masked_select", mask)
    try:
        shape = np.broadcast_shapes(x.shape, where.shape)
    except ValueError:
        raise ShapeError(f"masked_select: mask must broadcast with input {x.shape}, got shape {where.shape}") from None
    places = np.flatnonzero(np.broadcast_to(where.array, shape))
    if x.shape != shape:
        x = ops.broadcast_to(x, shape)
    return into("masked_select", _take(x, places), out)


def _mask(name: str, mask: Any) -> Any:
    found = tensor_of(mask)
    if found.dtype.kind != "b":
        raise DTypeError(f"{name}: mask must hold bools, got dtype {found.dtype}")
    return found


def nonzero(input: Any, *, out: Any = None, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not 0: a matrix (count, axes), or a vector for each axis."""
    x = tensor_of(input)
    if as_tuple:
        if out is not None:
            raise ArgumentError("nonzero: out must be None where as_tuple is True, got one")
        return tuple(from_numpy(i) for i in np.nonzero(np.atleast_1d(x.array)))
    found = np.argwhere(x.array) if x.ndim else np.zeros((int(bool(x.array)), 0), np.int64)
    return into("nonzero", from_numpy(np.ascontiguousarray(found)), out)


def argwhere(input: Any) -> Any:
    """The indices of the elements that are not 0, a matrix (count, axes)."""
    return nonzero(input)


def unravel_index(indices: Any, shape: Any) -> tuple[Any, ...]:
    """For each index into flattened elements of a shape, its index along every axis: a tuple of int64 Tensors."""
    places = _index("unravel_index", indices).array
    extents = size_argument("unravel_index", (shape,) if isinstance(shape, (int, TensorBase)) else tuple(shape))
    if places.size and not (places.min() >= 0 and places.max() < math.prod(extents)):
        raise ArgumentError(
            f"unravel_index: indices must lie from 0 to {math.prod(extents) - 1}, got {places.min()} to {places.max()}"
        )
    found: list[Any] = []
    for extent in reversed(extents):
        found.append(from_numpy(np.asarray(places % max(extent, 1), np.int64)))
        places = places // max(extent, 1)
    return tuple(reversed(found))


# -- putting


def _source(name: str, x: Any, indices: Any, value: Any) -> Any:
    """A number for every index, as an array that repeats it."""
    number = scalar(name, value, x.dtype)
    if isinstance(number, TensorBase):
        return ops.broadcast_to(number, indices.shape)
    return from_numpy(np.broadcast_to(number, indices.shape))


def scatter(
    input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None, out: Any = None
) -> Any:
    """A copy with ``y[index[i, j], j] = src[i, j]`` for axis 0, and so on.

    Parameters
    ----------
    src : a Tensor, or a number (which may also be given as `value`).
    reduce : ``"add"`` or ``"multiply"``, to combine with what was there.
    """
    x, indices = tensor_of(input), _index("scatter", index)
    given = value if src is None else src
    if given is None:
        raise TypeError("scatter: src is missing")
    if reduce not in (None, "add", "multiply"):
        raise ValueError(f"scatter: reduce must be 'add' or 'multiply', got {reduce!r}")
    if isinstance(given, TensorBase) and src is not None:
        _same_dtype("scatter", "src", x, given)
    else:
        given = _source("scatter", x, indices, given)
    if reduce == "multiply":
        return into("scatter", ops.scatter_reduce(x, indices, given, dim, reduce), out)
    return into("scatter", ops.scatter(x, indices, given, dim, reduce or "set"), out)


def scatter_add(input: Any, dim: int, index: Any, src: Any, *, out: Any = None) -> Any:
    """A copy with ``y[index[i, j], j] += src[i, j]`` for axis 0, and so on."""
    x, source = tensor_of(input), tensor_of(src)
    _same_dtype("scatter_add", "src", x, source)
    return into("scatter_add", ops.scatter(x, _index("scatter_add", index), source, dim, "add"), out)


def scatter_reduce(
    input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True, out: Any = None
) -> Any:
    """A copy in which elements that go to one place are reduced.

    Parameters
    ----------
    reduce : ``"sum"``, ``"prod"``, ``"mean"``, ``"amax"`` or ``"amin"``.
    include_self : whether what was there counts too.
    """
    x, source = tensor_of(input), tensor_of(src)
    _same_dtype("scatter_reduce", "src", x, source)
    how = _reduction("scatter_reduce", reduce)
    indices = _index("scatter_reduce", index)
    return into("scatter_reduce", ops.scatter_reduce(x, indices, source, dim, how, bool(include_self)), out)


def _reduction(name: str, reduce: str) -> str:
    if reduce not in REDUCTIONS:
        raise ValueError(f"{name}: reduce must be one of {', '.join(REDUCTIONS)}, got {reduce!r}")
    return REDUCTIONS[reduce]


def _rows(name: str, x: Any, dim: int, index: Any, source: Any, how: str, include: bool = True) -> Any:
    """`index_put` with torch's shapes: numbers count as vectors of one element."""
    indices = _index(name, index)
    if indices.ndim > 1:
        raise IndexError(f"{name}: index must have at most 1 axis, got shape {indices.shape}")
    own = x.shape
    if not indices.ndim:
        indices = ops.reshape(indices, (1,))
    place = axis(name, dim, x.ndim)
    if not own:
        x = ops.reshape(x, (1,), True)  # a copy, as what the gradient needs must outlive a change in place
    wanted = (*x.shape[:place], indices.shape[0], *x.shape[place + 1 :])
    if source.ndim != len(wanted) and source.numel() == int(np.prod(wanted)):
        source = ops.reshape(source, wanted)
    if source.shape != wanted:
        raise ShapeError(f"{name}: source must have shape {wanted}, got {source.shape}")
    low = indices.array
    bad = (low < 0) | (low >= x.shape[place])
    if bad.any():
        at = int(bad.argmax())
        raise IndexError(f"{name}: index must hold indices from 0 to {x.shape[place] - 1}, got {low[at]} at {at}")
    if how in ("set", "add"):
        made = ops.index_put(x, indices, source, place, how)
    else:
        made = ops.index_reduce(x, indices, source, place, how, include)
    return made if own else ops.reshape(made, ())


def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    """A copy with `alpha` times the slices of `source` added at the indices along an axis."""
    x, given = tensor_of(input), tensor_of(source)
    _same_dtype("index_add", "source", x, given)
    if alpha != 1:
        given = (given * alpha).to(x.dtype)
    return into("index_add", _rows("index_add", x, dim, index, given, "add"), out)


def index_copy(input: Any, dim: int, index: Any, source: Any, *, out: Any = None) -> Any:
    """A copy with the slices of `source` in the place of those at the indices along an axis."""
    x, given = tensor_of(input), tensor_of(source)
    _same_dtype("index_copy", "source", x, given)
    return into("index_copy", _rows("index_copy", x, dim, index, given, "set"), out)


def index_reduce(
    input: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True, out: Any = None
) -> Any:
    """A copy with the slices of `source` reduced at the indices along an axis, as in `scatter_reduce`."""
    x, given = tensor_of(input), tensor_of(source)
    _same_dtype("index_reduce", "source", x, given)
    if reduce == "sum":
        raise ValueError("index_reduce: reduce must be one of prod, mean, amax, amin, got 'sum'")
    how = _reduction("index_reduce", reduce)
    return into("index_reduce", _rows("index_reduce", x, dim, index, given, how, bool(include_self)), out)


def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """A copy with a number in the slices at the indices along an axis; negative ones count from the end."""
    x, indices = tensor_of(input), _index("index_fill", index)
    if indices.ndim > 1:
        raise IndexError(f"index_fill: index must have at most 1 axis, got shape {indices.shape}")
    if not indices.ndim:
        indices = ops.reshape(indices, (1,))
    place, own = axis("index_fill", dim, x.ndim), x.shape
    if not own:
        x = ops.reshape(x, (1,))
    number = scalar("index_fill", value, x.dtype)
    if isinstance(number, TensorBase) and number.requires_grad:
        # each place counts once in the number's gradient
        indices = from_numpy(np.unique(indices.array % max(x.shape[place], 1)) if _within(indices, x.shape[place]) else
                             indices.array)  # fmt: skip
    shape = (*x.shape[:place], indices.shape[0], *x.shape[place + 1 :])
    if isinstance(number, TensorBase):
        number = ops.broadcast_to(number, shape)
    else:
        number = np.broadcast_to(number, shape)
    return ops.reshape(ops.index_put(x, indices, number, place), own)


def _within(indices: Any, extent: int) -> bool:
    """Whether all indices are in range; the op says which is not."""
    return bool(((indices.array >= -extent) & (indices.array < extent)).all())


def put(input: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    """A copy with the elements of `source` put (or added) at indices into the flattened input."""
    x, given, indices = tensor_of(input), tensor_of(source), _index("put", index)
    _same_dtype("put", "source", x, given)
    if given.numel() != indices.numel():
        raise ShapeError(f"put: source must hold {indices.numel()} elements, got shape {given.shape}")
    flat = (ops.reshape(v, (-1,)) for v in (x, indices, given))
    return ops.reshape(ops.index_put(*flat, 0, "add" if accumulate else "set"), x.shape)


def index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """A copy with ``y[indices] = values``, or added there; `indices` is a tuple of Tensors (or None)."""
    x, given = tensor_of(input), tensor_of(values)
    _same_dtype("index_put", "values", x, given)
    found = read(tuple(slice(None) if i is None else i for i in indices), x.shape)
    if not found.axes:
        raise IndexError("index_put: indices must hold at least one Tensor")
    # where each element that the index names lies in the flattened input
    places = frozen(np.arange(x.numel()).reshape(x.shape))
    target = get(from_numpy(places), tuple(slice(None) if i is None else i for i in indices))
    if given.shape != target.shape:
        lead = given.ndim - target.ndim
        if lead > 0 and all(n == 1 for n in given.shape[:lead]):
            given = ops.reshape(given, given.shape[lead:])
        given = ops.broadcast_to(given, target.shape)
    flat = ops.reshape(target, (-1,))
    made = ops.index_put(ops.reshape(x, (-1,)), flat, ops.reshape(given, (-1,)), 0, "add" if accumulate else "set")
    return ops.reshape(made, x.shape)


def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """A copy with a number where a mask is true; input and mask broadcast."""
    x = input if isinstance(input, TensorBase) else tensor_of(input)
    return ops.masked_fill(x, _mask("masked_fill", mask), scalar("masked_fill", value, x.dtype))


def masked_scatter(input: Any, mask: Any, source: Any) -> Any:
    """A copy with the elements of `source`, in order, where a mask is true; input and mask broadcast."""
    x, where, given = tensor_of(input), _mask("masked_scatter", mask), tensor_of(source)
    _same_dtype("masked_scatter", "source", x, given)
    shape = np.broadcast_shapes(x.shape, where.shape)
    places = np.flatnonzero(np.broadcast_to(where.array, shape))
    if given.numel() < places.size:
        raise ShapeError(f"masked_scatter: source must hold at least {places.size} elements, got shape {given.shape}")
    flat = ops.reshape(ops.broadcast_to(x, shape) if x.shape != shape else x, (-1,))
    values = ops.reshape(given, (-1,))[: places.size]
    return ops.reshape(ops.index_put(flat, places, values), shape)


__all__ = [
    "argwhere",
    "gather",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_reduce",
    "index_select",
    "masked_fill",
    "masked_scatter",
    "masked_select",
    "nonzero",
    "put",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "take",
    "take_along_dim",
    "unravel_index",
]
