"""Views under torch's names and arguments: the same memory with another shape or other strides."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided as strided

from fastnn import ops
from fastnn._runtime.memory import empty
from fastnn._runtime.tensor import TensorBase, derived, derived_parts, is_grad_enabled
from fastnn.errors import DTypeError, GraphError, ShapeError
from fastnn.functions.arguments import axis, integer, one_or_several, tensor_of
from fastnn.functions.subscript import basic_view

_reshape, _swapaxes, _transpose = ops.reshape, ops.swapaxes, ops.transpose
_squeeze, _expand_dims, _broadcast_to = ops.squeeze, ops.expand_dims, ops.broadcast_to


# -- shape


def reshape(input: Any, *shape: Any, **named: Any) -> Any:
    """The same elements in C order under another shape (-1: what is left); a view where the strides allow."""
    if named:
        shape = tuple(named["shape"])
    elif len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    return _reshape(input if isinstance(input, TensorBase) else tensor_of(input), shape)


def view(self: Any, *shape: Any) -> Any:
    """As `reshape`, but always a view (ShapeError where the strides allow none); or the bytes as another dtype."""
    if len(shape) == 1:
        (first,) = shape
        if isinstance(first, (tuple, list)):
            shape = tuple(first)
        elif isinstance(first, (type, np.dtype, str)):
            return _as_dtype(self, np.dtype(first))
    return _reshape(self, shape, False)


def _as_dtype(x: Any, dtype: np.dtype[Any]) -> Any:
    if dtype.kind not in "biufc":
        raise DTypeError(f"view: dtype must be of numbers, got {dtype}")
    try:
        array = x.array.view(dtype)
    except ValueError as error:
        raise ShapeError(f"view: shape {x.shape} of {x.dtype} cannot be seen as {dtype}: {error}") from None
    return derived(x.detach(), array, "view", None)


def reshape_as(self: Any, other: Any) -> Any:
    """The elements under the shape of `other`."""
    return _reshape(self, other.shape)


def view_as(self: Any, other: Any) -> Any:
    """A view with the shape of `other`."""
    return _reshape(self, other.shape, False)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The axes from `start_dim` to `end_dim` joined."""
    x = tensor_of(input)
    if start_dim == 0 and end_dim == -1:
        return _reshape(x, (-1,))
    first, last = axis("flatten", start_dim, x.ndim, "start_dim"), axis("flatten", end_dim, x.ndim, "end_dim")
    if first > last:
        raise ShapeError(f"flatten: start_dim must not come after end_dim, got {start_dim} and {end_dim}")
    shape = x.shape or (1,)
    return _reshape(x, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


def ravel(input: Any) -> Any:
    """All elements along one axis, in C order."""
    return _reshape(tensor_of(input), (-1,))


def unflatten(input: Any, dim: int, sizes: Any) -> Any:
    """An axis split into several, one of whose extents may be -1."""
    x = tensor_of(input)
    place = axis("unflatten", dim, x.ndim)
    sizes = tuple(sizes) if isinstance(sizes, (tuple, list)) else (sizes,)
    if not sizes:
        raise ShapeError("unflatten: sizes must hold at least one extent, got ()")
    shape = x.shape or (1,)
    known = math.prod(n for n in sizes if n != -1)
    if -1 in sizes and known and shape[place] % known == 0:
        sizes = tuple(shape[place] // known if n == -1 else n for n in sizes)
    if math.prod(sizes) != shape[place] or min(sizes) < 0:
        raise ShapeError(f"unflatten: sizes must multiply to the extent {shape[place]} of axis {place}, got {sizes}")
    return _reshape(x, (*shape[:place], *sizes, *shape[place + 1 :]))


def squeeze(input: Any, dim: Any = None) -> Any:
    """Axes of length 1 dropped: all, or those of `dim` (an int or several) that have it."""
    return _squeeze(input if isinstance(input, TensorBase) else tensor_of(input), dim)


def unsqueeze(input: Any, dim: int) -> Any:
    """A new axis of length 1."""
    return _expand_dims(input if isinstance(input, TensorBase) else tensor_of(input), integer("unsqueeze: dim", dim))


# -- axes


def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Two axes swapped."""
    return _swapaxes(input if isinstance(input, TensorBase) else tensor_of(input), dim0, dim1)


def swapaxes(input: Any, axis0: int, axis1: int) -> Any:
    """Two axes swapped."""
    return _swapaxes(tensor_of(input), axis0, axis1)


def swapdims(input: Any, dim0: int, dim1: int) -> Any:
    """Two axes swapped."""
    return _swapaxes(tensor_of(input), dim0, dim1)


def permute(input: Any, *dims: Any, **named: Any) -> Any:
    """The axes in another order."""
    order = one_or_several(dims) if not named else tuple(named["dims"])
    return _transpose(input if isinstance(input, TensorBase) else tensor_of(input), order)


def movedim(input: Any, source: Any, destination: Any) -> Any:
    """Axes moved to other places; the others keep their order."""
    return ops.moveaxis(tensor_of(input), source, destination)


def moveaxis(input: Any, source: Any, destination: Any) -> Any:
    """Axes moved to other places; the others keep their order."""
    return ops.moveaxis(tensor_of(input), source, destination)


def t(input: Any) -> Any:
    """The transpose of at most two axes."""
    x = tensor_of(input)
    if x.ndim > 2:
        raise ShapeError(f"t: input must have at most 2 axes, got shape {x.shape}")
    return _transpose(x)


def adjoint(input: Any) -> Any:
    """The last two axes swapped (and conjugated, which changes no real number)."""
    x = tensor_of(input)
    if x.dtype.kind == "c":
        raise DTypeError(f"adjoint: input must hold real numbers, got dtype {x.dtype}")
    return _swapaxes(x, -2, -1)


# -- expansion


def expand(self: Any, *sizes: Any, **named: Any) -> Any:
    """Repeated along axes of length 1, and along new axes in front, without a copy; -1 keeps an extent."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    return _broadcast_to(self, tuple(named["size"]) if "size" in named else sizes)


def expand_as(self: Any, other: Any) -> Any:
    """Expanded to the shape of `other`."""
    return _broadcast_to(self, other.shape)


def broadcast_to(input: Any, size: Any) -> Any:
    """Expanded to a shape."""
    return _broadcast_to(tensor_of(input), tuple(size))


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that arrays of the given shapes broadcast to."""
    wanted = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    if any(n < 0 for s in wanted for n in s):
        raise ShapeError(f"broadcast_shapes: shapes must not have negative extents, got {wanted}")
    try:
        return tuple(np.broadcast_shapes(*wanted))
    except ValueError:
        raise ShapeError(f"broadcast_shapes: shapes must broadcast together, got {wanted}") from None


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """The tensors expanded to the shape that they broadcast to."""
    given = [tensor_of(x) for x in one_or_several(tensors)]
    shape = broadcast_shapes(*(x.shape for x in given))
    return tuple(_broadcast_to(x, shape) for x in given)


def atleast_1d(*tensors: Any) -> Any:
    """Tensors without axes get one."""
    return _each(tensors, lambda x: x if x.ndim else _reshape(x, (1,)))


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with fewer than two axes get new ones in front."""
    return _each(tensors, lambda x: x if x.ndim >= 2 else _reshape(x, (1, x.numel())))


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with fewer than three axes get new ones: (M, N) becomes (M, N, 1) and (N) becomes (1, N, 1)."""

    def three(x: Any) -> Any:
        if x.ndim >= 3:
            return x
        return _reshape(x, (*x.shape, 1) if x.ndim == 2 else (1, x.numel(), 1))

    return _each(tensors, three)


def _each(tensors: tuple[Any, ...], change: Any) -> Any:
    several = len(tensors) != 1 or isinstance(tensors[0], (tuple, list))
    changed = tuple(change(tensor_of(x)) for x in one_or_several(tensors))
    return changed if several else changed[0]


# -- parts


def select(input: Any, dim: int, index: int) -> Any:
    """The slice at `index` along an axis, which is dropped."""
    x = tensor_of(input)
    if not x.ndim:
        raise IndexError("select: input must have at least 1 axis, got shape ()")
    place, index = axis("select", dim, x.ndim), integer("select: index", index)
    extent = x.shape[place]
    if not -extent <= index < extent:
        raise IndexError(f"select: index must lie from {-extent} to {extent - 1} along axis {place}, got {index}")
    return basic_view(x, (*(slice(None),) * place, index, ...), "select")


def narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    """The `length` slices from `start` on along an axis."""
    x = tensor_of(input)
    if not x.ndim:
        raise ShapeError("narrow: input must have at least 1 axis, got shape ()")
    place, start, length = (
        axis("narrow", dim, x.ndim),
        integer("narrow: start", start),
        integer("narrow: length", length),
    )
    extent = x.shape[place]
    if not -extent <= start <= extent:
        raise IndexError(f"narrow: start must lie from {-extent} to {extent} along axis {place}, got {start}")
    first = start + extent if start < 0 else start
    if length < 0 or first + length > extent:
        raise ShapeError(f"narrow: length must lie from 0 to {extent - first} after start {start}, got {length}")
    return basic_view(x, (*(slice(None),) * place, slice(first, first + length)), "narrow")


def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The diagonal of two axes, which becomes the last axis; a positive offset lies above the main one."""
    return ops.diagonal(tensor_of(input), offset, dim1, dim2)


def unfold(self: Any, dimension: int, size: int, step: int) -> Any:
    """All slices of `size` elements along an axis, `step` apart; a slice's elements become the last axis."""
    return ops.sliding_window(self, dimension, size, step)


def as_strided(input: Any, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Any:
    """A view with any shape and strides (in elements) over the memory that the input is part of.

    `storage_offset` counts elements from the start of that memory (default: where the input starts). ShapeError where
    an element would lie outside.
    """
    x = tensor_of(input)
    array = x.array
    size = tuple(integer("as_strided: size", n) for n in size)
    steps = tuple(integer("as_strided: stride", n) for n in stride)
    if len(size) != len(steps) or min(size, default=0) < 0:
        raise ShapeError(f"as_strided: size and stride must go together, got {size} and {steps}")
    root = array
    while isinstance(root.base, np.ndarray) and root.base.dtype == array.dtype:
        root = root.base
    low, high = np.lib.array_utils.byte_bounds(root)
    start, item = array.__array_interface__["data"][0] - low, array.itemsize
    if root.__array_interface__["data"][0] != low:
        raise ShapeError("as_strided: input must lie in memory that steps forwards")
    memory = strided(root, ((high - low) // item if root.size else 0,), (item,))
    offset = start // item if storage_offset is None else integer("as_strided: storage_offset", storage_offset)
    reach = [(n - 1) * s for n, s in zip(size, steps, strict=True)]
    first, last = offset + sum(r for r in reach if r < 0), offset + sum(r for r in reach if r > 0)
    if 0 not in size and (first < 0 or last >= memory.size):
        raise ShapeError(
            f"as_strided: size {size} and stride {steps} from {offset} must stay within the {memory.size} elements of "
            "memory"
        )

    def seen(flat: np.ndarray) -> np.ndarray:
        return strided(flat[min(offset, flat.size) :], size, tuple(s * flat.itemsize for s in steps))

    own_shape, own_steps = array.shape, tuple(s // item for s in array.strides)

    def back(gradient: np.ndarray) -> np.ndarray:
        # into every element of the memory, then from there to those that the input has
        total = np.zeros(memory.size, gradient.dtype)
        np.add.at(total, seen(np.arange(memory.size)), gradient)
        return strided(total[start // item :], own_shape, tuple(s * total.itemsize for s in own_steps)).copy()

    return derived(x, seen(memory), "as_strided", back)


# -- splitting


def _parts(x: Any, place: int, bounds: Sequence[tuple[int, int]], name: str) -> tuple[Any, ...]:
    before = (slice(None),) * place
    arrays = [x.array[(*before, slice(a, b))] for a, b in bounds]
    own, dtype = x.shape, x.dtype

    def back(gradients: list[np.ndarray | None]) -> list[np.ndarray]:
        whole = empty(own, dtype)
        covered = 0
        for (a, b), g in zip(bounds, gradients, strict=True):
            if g is None:
                whole[(*before, slice(a, b))] = 0
            else:
                whole[(*before, slice(a, b))] = g
            covered = b
        whole[(*before, slice(covered, None))] = 0
        return [whole]

    return derived_parts(x, arrays, name, back)


def _has_axes(name: str, x: Any) -> None:
    if not x.ndim:
        raise ShapeError(f"{name}: input must have at least 1 axis, got shape ()")


def split(tensor: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Parts of `split_size` slices along an axis (the last may be shorter), or of the sizes that a list gives."""
    if isinstance(split_size_or_sections, (list, tuple)):
        return split_with_sizes(tensor, split_size_or_sections, dim)
    x = tensor_of(tensor)
    _has_axes("split", x)
    place, size = axis("split", dim, x.ndim), integer("split: split_size", split_size_or_sections)
    extent = x.shape[place]
    if size < 0 or (size == 0 and extent):
        raise ShapeError(f"split: split_size must be positive, got {size}")
    starts = range(0, extent, size) if extent else [0]
    return _parts(x, place, [(a, min(a + size, extent)) for a in starts], "split")


def split_with_sizes(input: Any, split_sizes: Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Parts of the given sizes along an axis, which they must add up to."""
    x = tensor_of(input)
    _has_axes("split_with_sizes", x)
    place = axis("split_with_sizes", dim, x.ndim)
    sizes = [integer("split_with_sizes: split_sizes", n) for n in split_sizes]
    if min(sizes, default=0) < 0 or sum(sizes) != x.shape[place]:
        raise ShapeError(
            f"split_with_sizes: split_sizes must add up to the extent {x.shape[place]} of axis {place}, got {sizes}"
        )
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return _parts(x, place, [(e - n, e) for e, n in zip(ends, sizes, strict=True)], "split_with_sizes")


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """At most `chunks` parts of one size along an axis; the last may be shorter."""
    x = tensor_of(input)
    _has_axes("chunk", x)
    count = integer("chunk: chunks", chunks)
    if count <= 0:
        raise ShapeError(f"chunk: chunks must be positive, got {count}")
    place = axis("chunk", dim, x.ndim)
    extent = x.shape[place]
    if not extent:
        return split_with_sizes(x, [0] * count, place)
    return split(x, -(-extent // count), place)


def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Parts along an axis: as many as a number says, or between the places that a list or vector names."""
    x = tensor_of(input)
    _has_axes("tensor_split", x)
    place = axis("tensor_split", dim, x.ndim)
    extent = x.shape[place]
    where = indices_or_sections
    if isinstance(where, TensorBase):
        where = where.array.tolist()
    if isinstance(where, (list, tuple)):
        ends = [min(max(i + extent if i < 0 else i, 0), extent) for i in map(operator.index, where)]
        bounds = list(zip([0, *ends], [*ends, extent], strict=True))
        return (
            _parts(x, place, [(a, max(a, b)) for a, b in bounds], "tensor_split")
            if ends == sorted(ends)
            else tuple(basic_view(x, (*(slice(None),) * place, slice(a, max(a, b))), "tensor_split") for a, b in bounds)
        )
    count = integer("tensor_split: sections", where)
    if count <= 0:
        raise ShapeError(f"tensor_split: sections must be positive, got {count}")
    size, longer = divmod(extent, count)
    ends = [(i + 1) * size + min(i + 1, longer) for i in range(count)]
    return _parts(x, place, list(zip([0, *ends[:-1]], ends, strict=True)), "tensor_split")


def _evenly(name: str, x: Any, where: Any, place: int) -> tuple[Any, ...]:
    if isinstance(where, int) and (where <= 0 or x.shape[place] % where):
        raise ShapeError(f"{name}: sections must divide the extent {x.shape[place]} of axis {place}, got {where}")
    return tensor_split(x, where, place)


def hsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """`tensor_split` along the second axis (the first of a vector) into equal parts."""
    x = tensor_of(input)
    _has_axes("hsplit", x)
    return _evenly("hsplit", x, indices_or_sections, 0 if x.ndim == 1 else 1)


def vsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """`tensor_split` of at least two axes along the first into equal parts."""
    x = tensor_of(input)
    if x.ndim < 2:
        raise ShapeError(f"vsplit: input must have at least 2 axes, got shape {x.shape}")
    return _evenly("vsplit", x, indices_or_sections, 0)


def dsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """`tensor_split` of at least three axes along the third into equal parts."""
    x = tensor_of(input)
    if x.ndim < 3:
        raise ShapeError(f"dsplit: input must have at least 3 axes, got shape {x.shape}")
    return _evenly("dsplit", x, indices_or_sections, 2)


def unbind(input: Any, dim: int = 0) -> tuple[Any, ...]:
    """The slices along an axis, which is dropped."""
    x = tensor_of(input)
    _has_axes("unbind", x)
    place = axis("unbind", dim, x.ndim)
    before: tuple[Any, ...] = (slice(None),) * place
    own, dtype = x.shape, x.dtype

    def back(gradients: list[np.ndarray | None]) -> list[np.ndarray]:
        whole = empty(own, dtype)
        for i, g in enumerate(gradients):
            whole[(*before, i)] = 0 if g is None else g
        return [whole]

    return derived_parts(x, [x.array[(*before, i, ...)] for i in range(own[place])], "unbind", back)


# -- in place: the Tensor itself gets another shape


def _itself(name: str, self: Any, result: Any) -> Any:
    if is_grad_enabled() and self.requires_grad and self.is_leaf:
        raise GraphError(f"{name}: a leaf Tensor that requires grad cannot be changed in place")
    self._turn_into(result)
    return self


def squeeze_(self: Any, dim: Any = None) -> Any:
    """`squeeze` the Tensor itself."""
    return _itself("squeeze_", self, squeeze(self, dim))


def unsqueeze_(self: Any, dim: int) -> Any:
    """`unsqueeze` the Tensor itself."""
    return _itself("unsqueeze_", self, unsqueeze(self, dim))


def transpose_(self: Any, dim0: int, dim1: int) -> Any:
    """`transpose` the Tensor itself."""
    return _itself("transpose_", self, transpose(self, dim0, dim1))


def swapaxes_(self: Any, axis0: int, axis1: int) -> Any:
    """`swapaxes` of the Tensor itself."""
    return _itself("swapaxes_", self, transpose(self, axis0, axis1))


def swapdims_(self: Any, dim0: int, dim1: int) -> Any:
    """`swapdims` of the Tensor itself."""
    return _itself("swapdims_", self, transpose(self, dim0, dim1))


def t_(self: Any) -> Any:
    """`t` of the Tensor itself."""
    return _itself("t_", self, t(self))


def as_strided_(self: Any, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Any:
    """`as_strided` of the Tensor itself."""
    return _itself("as_strided_", self, as_strided(self, size, stride, storage_offset))


def detach_(self: Any) -> Any:
    """Take the Tensor off the tape: it becomes a leaf without gradient."""
    self._turn_into(self.detach())
    return self


def resize_(self: Any, *sizes: Any) -> Any:
    """Give the Tensor another shape: elements stay in C order, those that are new are not initialised."""
    if self.requires_grad:
        raise GraphError("resize_: a Tensor that requires grad cannot be resized")
    shape = tuple(integer("resize_: sizes", n) for n in one_or_several(sizes))
    if min(shape, default=0) < 0:
        raise ShapeError(f"resize_: sizes must not be negative, got {shape}")
    made = empty(shape, self.dtype)
    kept = min(made.size, self.numel())
    made.reshape(-1)[:kept] = self.array.reshape(-1)[:kept]
    self._set_array(made)
    return self


__all__ = [
    "adjoint",
    "as_strided",
    "as_strided_",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_shapes",
    "broadcast_tensors",
    "broadcast_to",
    "chunk",
    "detach_",
    "diagonal",
    "dsplit",
    "expand",
    "expand_as",
    "flatten",
    "hsplit",
    "moveaxis",
    "movedim",
    "narrow",
    "permute",
    "ravel",
    "reshape",
    "reshape_as",
    "resize_",
    "select",
    "split",
    "split_with_sizes",
    "squeeze",
    "squeeze_",
    "swapaxes",
    "swapaxes_",
    "swapdims",
    "swapdims_",
    "t",
    "t_",
    "tensor_split",
    "transpose",
    "transpose_",
    "unbind",
    "unflatten",
    "unfold",
    "unsqueeze",
    "unsqueeze_",
    "view",
    "view_as",
    "vsplit",
]
