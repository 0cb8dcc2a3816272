"""Tensors from sizes, numbers and ranges, under torch's names and arguments.

All take ``dtype`` (a NumPy dtype), ``device`` (the CPU), ``requires_grad`` and, where torch does, ``out``; ``layout``,
``pin_memory`` and ``memory_format`` are taken and count for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from fastnn import _default_dtype
from fastnn._numpy_views import integer, shape_argument
from fastnn._runtime.memory import empty as empty_array
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import ArgumentError, DTypeError, ShapeError
from fastnn.functions._options import (
    check_place,
    dtype_argument,
    finished,
    input_argument,
    like,
    number_dtype,
    size_argument,
    target,
)
from fastnn.tensor import Tensor, _number_dtype, _numbers, _rebuild
from fastnn.tensor import tensor as make_tensor

Options = Any


def _filled(
    name: str, shape: Sequence[int], value: Any, default: Any, *, out: Any = None, dtype: Any = None,
    layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
    memory_format: Any = None, names: Any = None,
) -> Tensor:  # fmt: skip
    """A Tensor of one number (None: not initialised)."""
    check_place(name, device, layout)
    array = target(name, shape, dtype, default, out)
    if value is not None:
        array[...] = _element(name, value, array.dtype)
    return finished(name, array, out, requires_grad)


def _element(name: str, value: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """A number as an element of a dtype; integers that do not fit raise, as in torch."""
    number = _numbers(name, value)
    if number.ndim:
        raise ShapeError(f"{name}: fill_value must be a number, got shape {number.shape}")
    if dtype.kind in "iu" and number.dtype.kind in "iuf":
        own = np.iinfo(dtype)
        whole = number.item()
        if not own.min <= whole <= own.max and not (dtype.kind == "u" and -own.max <= whole < 0):
            raise ArgumentError(f"{name}: fill_value must fit {dtype}, got {value!r}")
    with np.errstate(all="ignore"):
        return number.astype(dtype)


def empty(*size: Any, **options: Options) -> Tensor:
    """A Tensor of a size whose elements are not initialised."""
    size = size_argument("empty", size, options.pop("size", None))
    return _filled("empty", size, None, _default_dtype.floating, **options)


def zeros(*size: Any, **options: Options) -> Tensor:
    """A Tensor of a size, filled with 0."""
    size = size_argument("zeros", size, options.pop("size", None))
    return _filled("zeros", size, 0, _default_dtype.floating, **options)


def ones(*size: Any, **options: Options) -> Tensor:
    """A Tensor of a size, filled with 1."""
    size = size_argument("ones", size, options.pop("size", None))
    return _filled("ones", size, 1, _default_dtype.floating, **options)


def full(size: Any, fill_value: Any, **options: Options) -> Tensor:
    """A Tensor of a size, filled with a number, whose kind decides the dtype."""
    return _filled("full", size_argument("full", (size,)), fill_value, number_dtype(fill_value), **options)


def _like(
    name: str, input: Any, value: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    check_place(name, device, layout)
    model = input_argument(name, input)
    array = like(model, dtype_argument(name, dtype, model.dtype))
    if value is not None:
        array[...] = _element(name, value, array.dtype)
    return finished(name, array, None, requires_grad)


def empty_like(input: Any, **options: Options) -> Tensor:
    """A Tensor of the size, dtype and order of axes of `input` that is not initialised."""
    return _like("empty_like", input, None, **options)


def zeros_like(input: Any, **options: Options) -> Tensor:
    """A Tensor of the size, dtype and order of axes of `input`, filled with 0."""
    return _like("zeros_like", input, 0, **options)


def ones_like(input: Any, **options: Options) -> Tensor:
    """A Tensor of the size, dtype and order of axes of `input`, filled with 1."""
    return _like("ones_like", input, 1, **options)


def full_like(input: Any, fill_value: Any, **options: Options) -> Tensor:
    """A Tensor of the size, dtype and order of axes of `input`, filled with a number."""
    return _like("full_like", input, fill_value, **options)


def new_empty(self: Any, *size: Any, **options: Options) -> Tensor:
    """A Tensor of a size that is not initialised, of this Tensor's dtype."""
    size = size_argument("new_empty", size, options.pop("size", None))
    return _filled("new_empty", size, None, self.dtype, **options)


def new_zeros(self: Any, *size: Any, **options: Options) -> Tensor:
    """A Tensor of a size, filled with 0, of this Tensor's dtype."""
    size = size_argument("new_zeros", size, options.pop("size", None))
    return _filled("new_zeros", size, 0, self.dtype, **options)


def new_ones(self: Any, *size: Any, **options: Options) -> Tensor:
    """A Tensor of a size, filled with 1, of this Tensor's dtype."""
    size = size_argument("new_ones", size, options.pop("size", None))
    return _filled("new_ones", size, 1, self.dtype, **options)


def new_full(self: Any, size: Any, fill_value: Any, **options: Options) -> Tensor:
    """A Tensor of a size, filled with a number, of this Tensor's dtype."""
    return _filled("new_full", size_argument("new_full", (size,)), fill_value, self.dtype, **options)


def new_tensor(
    self: Any, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A Tensor that holds a copy of `data`, of this Tensor's dtype."""
    check_place("new_tensor", device, layout)
    return make_tensor(data, dtype=self.dtype if dtype is None else dtype, requires_grad=requires_grad)


def _strided(name: str, size: Any, stride: Any, dtype: Any, requires_grad: bool) -> Tensor:
    shape = size_argument(name, (size,))
    steps = shape_argument(f"{name}: stride", (stride,), 0)
    if len(shape) != len(steps):
        raise ShapeError(f"{name}: stride must have one number for each of {len(shape)} axes, got {steps}")
    reach = 0 if 0 in shape else 1 + sum((n - 1) * s for n, s in zip(shape, steps, strict=True))
    memory = empty_array((reach,), dtype)
    array = as_strided(memory, shape, [s * memory.itemsize for s in steps])
    return finished(name, array, None, requires_grad)


def empty_strided(
    size: Any, stride: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A Tensor of a size whose elements lie `stride` elements apart and are not initialised."""
    check_place("empty_strided", device, layout)
    wanted = dtype_argument("empty_strided", dtype, _default_dtype.floating)
    return _strided("empty_strided", size, stride, wanted, requires_grad)


def new_empty_strided(
    self: Any, size: Any, stride: Any, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """As `empty_strided`, of this Tensor's dtype."""
    check_place("new_empty_strided", device, layout)
    wanted = dtype_argument("new_empty_strided", dtype, self.dtype)
    return _strided("new_empty_strided", size, stride, wanted, requires_grad)


def empty_permuted(
    size: Any, physical_layout: Sequence[int], *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A Tensor of a size that is not initialised; `physical_layout` lists its axes from the outermost in memory."""
    check_place("empty_permuted", device, layout)
    shape = size_argument("empty_permuted", (size,))
    order = shape_argument("empty_permuted: physical_layout", (physical_layout,), 0)
    if sorted(order) != list(range(len(shape))):
        raise ArgumentError(
            f"empty_permuted: physical_layout must name each of the {len(shape)} axes once, got {tuple(order)}"
        )
    wanted = dtype_argument("empty_permuted", dtype, _default_dtype.floating)
    memory = empty_array(tuple(shape[a] for a in order), wanted)
    return finished("empty_permuted", memory.transpose(np.argsort(order)) if order else memory, None, requires_grad)


# -- ranges


def _number(name: str, what: str, value: Any) -> Any:
    """A Python number, also from a Tensor without axes."""
    number = _numbers(name, value)
    if number.ndim:
        raise ShapeError(f"{name}: {what} must be a number, got shape {number.shape}")
    return number.item()


def _range_length(name: str, start: Any, end: Any, step: Any, integers: bool) -> int:
    if step == 0:
        raise ArgumentError(f"{name}: step must not be zero")
    if not all(math.isfinite(x) for x in (start, end)):
        raise ArgumentError(f"{name}: start and end must be finite, got {start} and {end}")
    if (end - start) * (1 if step > 0 else -1) < 0:
        raise ArgumentError(f"{name}: end must lie beyond start in the direction of step, got {start}, {end}, {step}")
    if integers:
        return int(-((int(start) - int(end)) // int(step))) if int(step) else 0
    return math.ceil((end - start) / step)


def arange(
    *args: Any, start: Any = None, end: Any = None, step: Any = None, out: Any = None, dtype: Any = None,
    layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """``start, start + step, ...`` below `end`: ``arange(end)`` or ``arange(start, end, step=1)``.

    The dtype is int64 if all numbers are integers, else the default dtype.
    """
    check_place("arange", device, layout)
    given = list(args)
    if len(given) > 3:
        raise TypeError(f"arange: takes at most 3 numbers, got {len(given)}")
    if len(given) == 1 and end is None:
        given = [0 if start is None else start, given[0]]
    elif len(given) == 1 and start is None:
        given = [given[0], end]
    elif not given:
        given = [0 if start is None else start, end]
    if len(given) < 2 or given[1] is None:
        raise TypeError("arange: end is missing")
    if len(given) == 2:
        given.append(1 if step is None else step)
    first, last, by = (_number("arange", w, x) for w, x in zip(("start", "end", "step"), given, strict=True))
    whole = all(isinstance(x, int) for x in (first, last, by))
    default = np.dtype(np.int64) if whole else _default_dtype.floating
    wanted = dtype_argument("arange", dtype, out.dtype if isinstance(out, TensorBase) else default)
    if wanted == np.int64:
        first, last, by = int(first), int(last), int(by)
    length = _range_length("arange", first, last, by, wanted == np.int64)
    array = target("arange", (length,), dtype, wanted, out)
    if wanted.kind in "iub":
        array[...] = np.arange(length, dtype=np.int64) * int(by) + int(first)
    else:
        array[...] = np.arange(length, dtype=np.float64) * by + first
    return finished("arange", array, out, requires_grad)


def _spaced(name: str, start: Any, end: Any, steps: Any, dtype: Any, out: Any) -> tuple[np.ndarray, np.ndarray]:
    """Memory for a result, and numbers in float64 (or complex128) that step evenly.

    Each half is counted from its own end. For a dtype of integers both ends are integers.
    """
    count = integer(f"{name}: steps", steps)
    if count < 0:
        raise ArgumentError(f"{name}: steps must be at least 0, got {count}")
    first, last = _number(name, "start", start), _number(name, "end", end)
    mixed = any(isinstance(x, complex) for x in (first, last))
    array = target(name, (count,), dtype, _default_dtype.complex_ if mixed else _default_dtype.floating, out)
    if array.dtype.kind in "iu":
        first, last = int(first), int(last)
    return array, _steps(first, last, count)


def _steps(first: Any, last: Any, count: int) -> np.ndarray:
    if count <= 1:
        return np.full(count, first)
    places = np.arange(count)
    by = (last - first) / (count - 1)
    return np.where(places < count // 2, first + by * places, last - by * (count - 1 - places))


def linspace(
    start: Any, end: Any, steps: Any, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """`steps` numbers from `start` to `end`, both included, evenly spaced."""
    check_place("linspace", device, layout)
    array, values = _spaced("linspace", start, end, steps, dtype, out)
    array[...] = values
    return finished("linspace", array, out, requires_grad)


def logspace(
    start: Any, end: Any, steps: Any, base: float = 10.0, *, out: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """`base` to the power of each of `steps` evenly spaced numbers from `start` to `end`."""
    check_place("logspace", device, layout)
    array, powers = _spaced("logspace", start, end, steps, dtype, out)
    with np.errstate(all="ignore"):
        array[...] = np.power(float(base), powers).astype(array.dtype)
    return finished("logspace", array, out, requires_grad)


# -- matrices and indices


def eye(
    n: Any, m: Any = None, *, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A matrix of n rows and m (default: n) columns with 1 on the diagonal, else 0."""
    check_place("eye", device, layout)
    shape = shape_argument("eye: n and m", (n, n if m is None else m), 0)
    array = target("eye", shape, dtype, _default_dtype.floating, out)
    array[...] = 0
    diagonal = np.arange(min(shape))
    array[diagonal, diagonal] = 1
    return finished("eye", array, out, requires_grad)


def _triangle(name: str, row: Any, col: Any, offset: Any, dtype: Any, upper: bool) -> Tensor:
    shape = shape_argument(f"{name}: row and col", (row, col), 0)
    offset = integer(f"{name}: offset", offset)
    i, j = np.arange(shape[0])[:, None], np.arange(shape[1])
    chosen = j - i >= offset if upper else j - i <= offset
    found = np.stack(np.nonzero(chosen)) if chosen.size else np.empty((2, 0), np.int64)
    return finished(name, found.astype(dtype_argument(name, dtype, np.int64)), None)


def tril_indices(
    row: Any, col: Any, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Row and column numbers (2, count) of a matrix's elements on and below diagonal `offset`, row by row."""
    check_place("tril_indices", device, layout)
    return _triangle("tril_indices", row, col, offset, dtype, False)


def triu_indices(
    row: Any, col: Any, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Row and column numbers (2, count) of a matrix's elements on and above diagonal `offset`, row by row."""
    check_place("triu_indices", device, layout)
    return _triangle("triu_indices", row, col, offset, dtype, True)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Each of some 1-D Tensors as a view over the grid of all; ``indexing="xy"`` swaps the first two axes."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise ArgumentError(f"meshgrid: indexing must be 'ij' or 'xy', got {indexing!r}")
    if not tensors:
        raise ArgumentError("meshgrid: at least one Tensor must be given")
    for place, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise TypeError(f"meshgrid: tensor {place} must be a Tensor, got {type(x).__name__}")
        if x.ndim > 1:
            raise ShapeError(f"meshgrid: tensor {place} must have at most one axis, got shape {x.shape}")
        if x.dtype != tensors[0].dtype:
            raise DTypeError(f"meshgrid: tensor {place} must have dtype {tensors[0].dtype}, got {x.dtype}")
    axes = list(range(len(tensors)))
    if indexing == "xy" and len(tensors) > 1:
        axes[:2] = [1, 0]
    extents = [x.numel() for x in tensors]
    shape = [extents[axes.index(place)] for place in range(len(tensors))]
    grids = []
    for x, axis, extent in zip(tensors, axes, extents, strict=True):
        lead = [1] * len(tensors)
        lead[axis] = extent
        grids.append(x.reshape(lead).expand(shape))
    return tuple(grids)


# -- conversions


def scalar_tensor(
    s: Any, *, dtype: Any = None, device: Any = None, layout: Any = None, pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A Tensor without axes that holds a number, of the default dtype."""
    return _filled("scalar_tensor", (), s, _default_dtype.floating, dtype=dtype, device=device, layout=layout,
                   requires_grad=requires_grad)  # fmt: skip


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """A Tensor of `obj`: a Tensor, an array, what has DLPack, numbers.

    Memory is shared where the dtype allows, unless `copy` is true; ``copy=False`` raises ValueError where it cannot be.
    """
    check_place("asarray", device)
    if isinstance(obj, Tensor):
        if dtype is None or np.dtype(dtype) == obj.dtype:
            if not copy:
                return obj if requires_grad == obj.requires_grad else obj.detach().requires_grad_(requires_grad)
        elif copy is False:
            raise ArgumentError(f"asarray: a Tensor of {obj.dtype} cannot become {np.dtype(dtype)} without a copy")
        made: Tensor = obj.to(obj.dtype if dtype is None else dtype, copy=True)
        return made if requires_grad and obj.requires_grad else made.detach().requires_grad_(requires_grad)
    if hasattr(obj, "__dlpack__") and not isinstance(obj, np.ndarray):
        obj = np.from_dlpack(obj)
    if isinstance(obj, np.ndarray):
        array = _numbers("asarray", obj)
        wanted = array.dtype if dtype is None else _number_dtype("asarray", dtype)
        if wanted != array.dtype and copy is False:
            raise ArgumentError(f"asarray: an array of {array.dtype} cannot become {wanted} without a copy")
        return _rebuild(Tensor, np.array(array, dtype=wanted, copy=True if copy else None), requires_grad)
    if copy is False:
        raise ArgumentError(f"asarray: {type(obj).__name__} cannot become a Tensor without a copy")
    return make_tensor(obj, dtype=dtype, requires_grad=requires_grad)


class _Typed(type):
    """Classes that make Tensors of one dtype, and whose instances are such Tensors."""

    dtype: np.dtype[Any]

    def __call__(cls, *data: Any) -> Tensor:
        if all(isinstance(extent, int) for extent in data):
            return empty(data or (0,), dtype=cls.dtype)
        if len(data) != 1:
            raise TypeError(f"{cls.__name__}: takes numbers in one sequence, or extents, got {len(data)} arguments")
        return make_tensor(data[0], dtype=cls.dtype)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, TensorBase) and instance.dtype == cls.dtype


def _typed(name: str, dtype: str) -> Any:
    doc = f"Make a Tensor of {dtype}: a copy of nested numbers, or uninitialised from separate extents."
    return _Typed(name, (), {"dtype": np.dtype(dtype), "__doc__": doc, "__module__": __name__})


BoolTensor = _typed("BoolTensor", "bool")
ByteTensor = _typed("ByteTensor", "uint8")
CharTensor = _typed("CharTensor", "int8")
ShortTensor = _typed("ShortTensor", "int16")
IntTensor = _typed("IntTensor", "int32")
LongTensor = _typed("LongTensor", "int64")
HalfTensor = _typed("HalfTensor", "float16")
FloatTensor = _typed("FloatTensor", "float32")
DoubleTensor = _typed("DoubleTensor", "float64")


__all__ = [
    "BoolTensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
    "arange",
    "asarray",
    "empty",
    "empty_like",
    "empty_permuted",
    "empty_strided",
    "eye",
    "full",
    "full_like",
    "linspace",
    "logspace",
    "meshgrid",
    "new_empty",
    "new_empty_strided",
    "new_full",
    "new_ones",
    "new_tensor",
    "new_zeros",
    "ones",
    "ones_like",
    "scalar_tensor",
    "tril_indices",
    "triu_indices",
    "zeros",
    "zeros_like",
]
