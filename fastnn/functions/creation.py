"""Tensors from sizes, numbers and ranges, under torch's names and arguments.

All take ``dtype`` (a NumPy dtype), ``device`` (the CPU), ``requires_grad`` and, where torch does, ``out``; ``layout``,
``pin_memory`` and ``memory_format`` are taken and count for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from fastnn import _default_dtype
from fastnn._numpy_views import shape_argument
from fastnn._runtime.capture import frozen
from fastnn._runtime.memory import empty as empty_array
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import ArgumentError, ShapeError
from fastnn.functions._options import (
    KERNEL,
    check_place,
    dtype_argument,
    finished,
    input_argument,
    like,
    number_dtype,
    plain_size,
    size_argument,
    target,
)
from fastnn.tensor import Tensor, _number_dtype, _numbers, _rebuild, as_tensor
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
    return finished(name, frozen(array) if out is None else array, out, requires_grad)


def _plain(shape: tuple[int, ...], value: int | None) -> Tensor:
    """As `_filled`, for calls without options."""
    array = empty_array(shape, _default_dtype.floating)
    if value is not None:
        array.fill(value)
    return _rebuild(Tensor, frozen(array), False)


def _element(name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """A number as an element of a dtype; integers that do not fit raise, as in torch."""
    if type(value) is float and -1e38 < value < 1e38 and dtype in KERNEL:
        return value
    number = _numbers(name, value)
    if number.ndim:
        raise ShapeError(f"{name}: fill_value must be a number, got shape {number.shape}")
    if dtype.kind in "iu" and number.dtype.kind in "iuf":
        own = np.iinfo(dtype)
        whole = number.item()
        if not own.min <= whole <= own.max and not (dtype.kind == "u" and -own.max <= whole < 0):
            raise ArgumentError(f"{name}: fill_value must fit {dtype}, got {value!r}")
    with np.errstate(all="ignore"):
        converted = number.astype(dtype)
    if dtype.kind == "f" and np.isinf(converted) and not np.isinf(number):
        raise ArgumentError(f"{name}: fill_value must fit {dtype}, got {value!r}")
    return converted


def empty(*size: Any, **options: Options) -> Tensor:
    """A Tensor of a size whose elements are not initialised."""
    if not options and (shape := plain_size(size)) is not None:
        return _plain(shape, None)
    size = size_argument("empty", size, options.pop("size", None))
    return _filled("empty", size, None, _default_dtype.floating, **options)


def zeros(*size: Any, **options: Options) -> Tensor:
    """A Tensor of a size, filled with 0."""
    if not options and (shape := plain_size(size)) is not None:
        return _plain(shape, 0)
    size = size_argument("zeros", size, options.pop("size", None))
    return _filled("zeros", size, 0, _default_dtype.floating, **options)


def ones(*size: Any, **options: Options) -> Tensor:
    """A Tensor of a size, filled with 1."""
    if not options and (shape := plain_size(size)) is not None:
        return _plain(shape, 1)
    size = size_argument("ones", size, options.pop("size", None))
    return _filled("ones", size, 1, _default_dtype.floating, **options)


def full(size: Any, fill_value: Any, **options: Options) -> Tensor:
    """A Tensor of a size, filled with a number, whose kind decides the dtype."""
    shape = plain_size((size,))
    if shape is None:
        shape = size_argument("full", (size,))
    return _filled("full", shape, fill_value, number_dtype(fill_value), **options)


def _like(
    name: str, input: Any, value: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    check_place(name, device, layout)
    model = input_argument(name, input)
    array = like(model, dtype_argument(name, dtype, model.dtype))
    if value is not None:
        array[...] = _element(name, value, array.dtype)
    return finished(name, frozen(array), None, requires_grad)


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


def fill(input: Any, value: Any) -> Tensor:
    """A copy of the input with all elements set to `value`, a number or a Tensor without axes."""
    x: Tensor = as_tensor(input)
    return x.clone().fill_(value)


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
    "asarray",
    "empty",
    "empty_like",
    "empty_permuted",
    "empty_strided",
    "fill",
    "full",
    "full_like",
    "new_empty",
    "new_empty_strided",
    "new_full",
    "new_ones",
    "new_tensor",
    "new_zeros",
    "ones",
    "ones_like",
    "scalar_tensor",
    "zeros",
    "zeros_like",
]
