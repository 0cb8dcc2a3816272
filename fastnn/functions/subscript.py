"""``x[index]`` and ``x[index] = value``: NumPy's and torch's indexing, on the tape.

An index is read as a basic one (integers, slices, None, ...), which gives a view, and after it at most one advanced
one: integer arrays along some axes of that view. Masks become integer arrays. Integers beside arrays belong to the
basic index, as in torch; NumPy would broadcast them with the arrays and may move the axes.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastnn import ops
from fastnn._numpy_views import sum_to
from fastnn._runtime.capture import active, computed, frozen, reading
from fastnn._runtime.memory import empty
from fastnn._runtime.tensor import TensorBase, copy_array, derived, is_grad_enabled, meets_itself, recorded
from fastnn.errors import GraphError, ShapeError

_BASIC = frozenset([int, slice, type(None), type(Ellipsis)])


class Index(NamedTuple):
    """An index that was read.

    Attributes
    ----------
    basic : what gives a view.
    axes : of the view, those that are indexed by arrays.
    arrays : int64, one for each of these axes; they broadcast together.
    """

    basic: tuple[Any, ...]
    axes: tuple[int, ...] = ()
    arrays: tuple[np.ndarray, ...] = ()


def _array_of(value: Any) -> np.ndarray:
    """The array of a Tensor, which who records the call hears of; other arrays as they are."""
    if not isinstance(value, TensorBase):
        return value
    recorder = active()
    if recorder is not None:
        recorder.met(value)
    return value.array


def _plain(part: Any) -> Any:
    """A part of an index as int, slice, None, ..., bool, or an array of integers or bools."""
    if isinstance(part, TensorBase):
        array = _array_of(part)
        if array.ndim == 0:
            reading("a Tensor without axes as an index")
        if array.dtype == np.uint8:
            array = array.astype(np.bool_)  # as in torch
    elif isinstance(part, (list, tuple)):
        if any(isinstance(x, TensorBase) for x in part):
            reading("a list of Tensors as an index")
        array = np.asarray([x.array if isinstance(x, TensorBase) else x for x in part])
        if array.size == 0:
            array = array.astype(np.int64)
        frozen(array)
    elif isinstance(part, np.ndarray):
        array = part
    elif isinstance(part, np.bool_):
        return bool(part)
    elif part is None or part is Ellipsis or isinstance(part, (bool, slice)):
        return part
    elif hasattr(part, "__index__"):
        return part.__index__()
    else:
        raise IndexError(f"an index must be made of integers, slices, None, ... and arrays, got {part!r}")
    if array.dtype.kind not in "biu":
        raise IndexError(f"an index must hold integers or bools, got dtype {array.dtype}")
    if array.ndim == 0:
        return bool(array) if array.dtype.kind == "b" else int(array)
    return array


def _axes(part: Any) -> int:
    """How many axes a part of an index takes."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype.kind == "b" else 1


def _as_int64(array: np.ndarray) -> np.ndarray:
    return array.astype(np.int64)


def read(index: Any, shape: tuple[int, ...]) -> Index:
    """Read an index into an array of a shape. Raises IndexError."""
    parts = list(index) if isinstance(index, tuple) else [index]
    parts = [p if type(p) in _BASIC else _plain(p) for p in parts]
    taken = sum(map(_axes, parts))
    if taken > len(shape):
        raise IndexError(f"an index must take at most the {len(shape)} axes of shape {shape}, got {taken} of {index!r}")
    ellipses = [i for i, p in enumerate(parts) if p is Ellipsis]
    if len(ellipses) > 1:
        raise IndexError(f"an index must hold ... at most once, got {index!r}")
    rest = [slice(None)] * (len(shape) - taken)
    at = ellipses[0] if ellipses else len(parts)
    parts[at : at + 1] = rest
    basic: list[Any] = []
    axes: list[int] = []
    arrays: list[np.ndarray] = []
    seen = made = 0  # axes of the array, axes of the view
    for part in parts:
        if isinstance(part, bool):
            basic.append(None)
            axes.append(made)
            arrays.append(frozen(np.zeros(int(part), np.int64)))
            made += 1
        elif part is None or isinstance(part, slice):
            basic.append(part)
            made += 1
            seen += part is not None
        elif isinstance(part, np.ndarray):
            own = part.ndim if part.dtype.kind == "b" else 1
            if part.dtype.kind == "b":
                reading("a mask as an index")
            if part.dtype.kind == "b" and part.shape != shape[seen : seen + own]:
                raise IndexError(f"a mask must have shape {shape[seen : seen + own]}, got {part.shape}")
            found = part.nonzero() if part.dtype.kind == "b" else (computed(_as_int64, part),)
            for array in found:
                basic.append(slice(None))
                axes.append(made)
                arrays.append(array)
                made += 1
            seen += own
        else:
            extent = shape[seen]
            if not -extent <= part < extent:
                raise IndexError(f"index {part} is out of bounds for axis {seen} with size {extent} of shape {shape}")
            basic.append(part)
            seen += 1
    return Index((*basic, ...), tuple(axes), tuple(arrays))


def basic_view(x: Any, index: tuple[Any, ...], name: str = "getitem") -> Any:
    """A basic index's view; the gradient is 0 elsewhere."""
    own, dtype = x.shape, x.dtype

    def back(gradient: np.ndarray) -> np.ndarray:
        whole = empty(own, dtype)
        whole.fill(0)
        whole[index] = gradient
        return whole

    return derived(x, x.array[index], name, back)


def _trivial(basic: tuple[Any, ...]) -> bool:
    return all(type(p) is slice and p == slice(None) for p in basic[:-1])


def get(x: Any, index: Any) -> Any:
    """``x[index]``: a view for a basic index, else a copy."""
    kind = type(index)
    if kind is int or kind is slice or (kind is tuple and all(type(p) in _BASIC for p in index)):
        basic = index if kind is tuple else (index,)
        try:
            return basic_view(x, basic if Ellipsis in basic else (*basic, Ellipsis))
        except (IndexError, TypeError) as error:
            raise IndexError(f"index {index!r} does not fit shape {x.shape}: {error}") from None
    found = read(index, x.shape)
    y = x if _trivial(found.basic) else basic_view(x, found.basic)
    return _taken(y, found) if found.axes else y if y is not x else basic_view(x, (Ellipsis,))


def _common(axes: tuple[int, ...], shape: tuple[int, ...], given: Any) -> tuple[np.ndarray, ...]:
    """The index arrays of axes broadcast together and counted from 0. Raises IndexError."""
    try:
        arrays = np.broadcast_arrays(*given)
    except ValueError:
        shapes = ", ".join(str(a.shape) for a in given)
        raise IndexError(f"arrays of an index must broadcast together, got shapes {shapes}") from None
    counted = []
    for axis, array in zip(axes, arrays, strict=True):
        extent = shape[axis]
        bad = (array < -extent) | (array >= extent)
        if bad.any():
            place = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), array.shape))
            raise IndexError(
                f"index {array[place]} at {place[0] if len(place) == 1 else place} is out of bounds for axis {axis} "
                f"with size {extent}"
            )
        counted.append(np.where(array < 0, array + extent, array))
    return tuple(counted)


def _adjacent(axes: tuple[int, ...]) -> bool:
    return axes == tuple(range(axes[0], axes[0] + len(axes)))


def _taken(y: Any, found: Index) -> Any:
    """A copy of what the index arrays name."""
    axes = found.axes
    if len(axes) == 1 and y.dtype.kind == "f":
        return ops.take(y, found.arrays[0], axes[0])
    arrays = found.arrays
    if y.dtype.kind != "f":
        return derived(y.detach(), computed(partial(_picked, axes), _array_of(y), *arrays), "getitem", None, False)
    flat = computed(partial(_flat, axes, y.shape), *arrays)
    place = axes[0]
    if not _adjacent(axes):
        place = 0
        y = ops.transpose(y, (*axes, *(a for a in range(y.ndim) if a not in axes)))
    extents = y.shape[place : place + len(axes)]
    joined = ops.reshape(y, (*y.shape[:place], math.prod(extents), *y.shape[place + len(axes) :]))
    return ops.take(joined, flat, place)


def _flat(axes: tuple[int, ...], shape: tuple[int, ...], *given: np.ndarray) -> np.ndarray:
    """Indices into the axes as one, in C order."""
    arrays = _common(axes, shape, given)
    flat = np.zeros(arrays[0].shape, np.int64)
    for axis, array in zip(axes, arrays, strict=True):
        flat = flat * shape[axis] + array
    return flat


def _numpy_index(axes: tuple[int, ...], shape: tuple[int, ...], given: Any) -> Any:
    """The index of arrays along axes of a shape, for NumPy. Raises IndexError."""
    if not axes:
        return ...
    _common(axes, shape, given)
    parts: list[Any] = [slice(None)] * len(shape)
    for axis, array in zip(axes, given, strict=True):
        parts[axis] = array
    return tuple(parts)


def _picked(axes: tuple[int, ...], array: np.ndarray, *given: np.ndarray) -> np.ndarray:
    """What arrays along axes name; always an array."""
    return np.array(array[_numpy_index(axes, array.shape, given)])


# -- assignment


def put(x: Any, index: Any, value: Any) -> None:
    """``x[index] = value``; recorded where a gradient may be asked for."""
    found = read(index, x.shape)
    wants = isinstance(value, TensorBase) and value.requires_grad
    if x.dtype.kind != "f" or not (is_grad_enabled() and (x.requires_grad or wants)):
        _assign(x, found, value, x.shape)
        x._touch()
        return
    if x.requires_grad and x.is_leaf:
        _numpy_index(found.axes, x.array[found.basic].shape, found.arrays)
        raise GraphError("a leaf Tensor that requires grad cannot be changed in place; do it under no_grad()")
    place = x if _trivial(found.basic) else basic_view(x, found.basic)
    place._become(_with(place, found._replace(basic=(...,)), value, wants, x.shape))


def _assign(x: Any, found: Index, value: Any, shape: tuple[int, ...]) -> None:
    """Put a value to an index of a Tensor's array; `shape` is for errors."""
    arrays = found.arrays
    recorder = active()
    if recorder is not None and meets_itself(x.array):
        recorder.refuse("a part of a Tensor whose elements share memory was set, which cannot be replayed: clone it")
    try:
        if recorder is None:
            _put(found, x.array, value.array if isinstance(value, TensorBase) else value, arrays)
        else:
            known = isinstance(value, (TensorBase, np.ndarray))
            given = _array_of(value) if known else frozen(np.asarray(value))
            copy_array(x.array, computed(partial(_assigned, found._replace(arrays=())), _array_of(x), given, *arrays))
    except ValueError as error:
        if not x.array.flags.writeable:
            raise
        raise ShapeError(f"assignment to part of shape {shape}: {error}") from None


def _put(found: Index, whole: np.ndarray, value: Any, arrays: Any) -> None:
    place = whole[found.basic]
    place[_numpy_index(found.axes, place.shape, arrays)] = value


def _assigned(found: Index, whole: np.ndarray, value: np.ndarray, *arrays: np.ndarray) -> np.ndarray:
    """A copy with a value put to an index."""
    made = np.array(whole)
    _put(found, made, value, arrays)
    return made


def _with(place: Any, found: Index, value: Any, wants: bool, shape: tuple[int, ...]) -> Any:
    """A copy of a Tensor with a value put to an index, on the tape."""
    made = place.detach().clone()
    _assign(made, found, value, shape)
    sources = [v for v, on in ((place, place.requires_grad), (value, wants)) if on]
    passes, axes, arrays = place.requires_grad, found.axes, found.arrays
    given = partial(_given, axes, value.shape, value.dtype) if wants else None

    def back(gradients: list[Any]) -> list[Any]:
        back_to = [computed(partial(_rest, axes), gradients[0], *arrays)] if passes else []
        if given is not None:
            back_to.append(computed(given, gradients[0], *arrays))
        return back_to

    return recorded("setitem", sources, [made], back)[0]


def _rest(axes: tuple[int, ...], gradient: np.ndarray, *arrays: np.ndarray) -> np.ndarray:
    """The gradient of what was there before."""
    rest = np.array(gradient)
    rest[_numpy_index(axes, rest.shape, arrays)] = 0
    return rest


def _given(axes: tuple[int, ...], shape: tuple[int, ...], dtype: Any, gradient: np.ndarray, *arrays: Any) -> np.ndarray:
    """The gradient of what was put."""
    given = np.array(gradient[_numpy_index(axes, gradient.shape, arrays)])
    own = shape[max(0, len(shape) - given.ndim) :]  # leading axes of length 1 may be more than there are
    return sum_to(given, own).reshape(shape).astype(dtype, copy=False)
