"""The arguments that all functions which make Tensors share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn import _default_dtype
from fastnn._numpy_views import shape_argument
from fastnn._runtime.capture import blank
from fastnn._runtime.memory import empty as empty_array
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import ArgumentError, DTypeError, ShapeError
from fastnn.ops.op import KERNEL_DTYPES
from fastnn.tensor import Tensor, _number_dtype, _rebuild, check_device

# The dtypes that kernels write.
KERNEL = tuple(np.dtype(name) for name in KERNEL_DTYPES)


def check_place(name: str, device: Any = None, layout: Any = None) -> None:
    """Raise for a device that is not the CPU and for a layout that is not strided."""
    check_device(name, device)
    if layout is not None and not str(layout).endswith("strided"):
        raise ValueError(f"{name}: the only layout is strided, got {layout!r}")


def dtype_argument(name: str, dtype: Any, default: Any) -> np.dtype[Any]:
    """The dtype that a new Tensor gets."""
    return np.dtype(default) if dtype is None else _number_dtype(name, dtype)


def size_argument(name: str, size: tuple[Any, ...], given: Any = None) -> tuple[int, ...]:
    """A shape that comes as separate ints, as one sequence, or by the name ``size``."""
    if given is not None:
        if size:
            raise TypeError(f"{name}: size must be given once, got {size} and {given}")
        size = (given,)
    if len(size) == 1 and isinstance(size[0], TensorBase) and size[0].ndim == 1:
        size = (size[0].array.tolist(),)
    return shape_argument(f"{name}: size", size, 0)


def plain_size(size: tuple[Any, ...]) -> tuple[int, ...] | None:
    """A shape that comes as ints or a tuple of them; None where it needs to be looked at closer."""
    if len(size) == 1 and type(size[0]) is tuple:
        size = size[0]
    for extent in size:
        if type(extent) is not int or extent < 0:
            return None
    return size


def like(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Uninitialised memory for an array of the same shape, with its axes in the same order."""
    if array.flags.c_contiguous:
        return blank(empty_array(array.shape, dtype))
    strides = array.strides
    order = sorted(range(array.ndim), key=lambda axis: (-abs(strides[axis]), axis))
    memory = blank(empty_array(tuple(array.shape[axis] for axis in order), dtype))
    return memory.transpose(np.argsort(order))


def input_argument(name: str, input: Any) -> np.ndarray:
    """The array of a Tensor or array."""
    if isinstance(input, TensorBase):
        array: np.ndarray = input.array
        return array
    if not isinstance(input, np.ndarray):
        raise TypeError(f"{name}: input must be a Tensor, got {type(input).__name__}")
    return input


def target(name: str, shape: Sequence[int], dtype: Any, default: Any, out: Any) -> np.ndarray:
    """Memory for a result: new, or that of `out`, whose shape and dtype must fit."""
    if out is None:
        return blank(empty_array(tuple(shape), dtype_argument(name, dtype, default)))
    if not isinstance(out, TensorBase):
        raise TypeError(f"{name}: out must be a Tensor, got {type(out).__name__}")
    array: np.ndarray = out.array
    if dtype is not None and np.dtype(dtype) != array.dtype:
        raise DTypeError(f"{name}: out must have dtype {np.dtype(dtype)}, got {array.dtype}")
    if array.shape != tuple(shape):
        raise ShapeError(f"{name}: out must have shape {tuple(shape)}, got {array.shape}")
    check_writable(name, "out", array)
    return array


def check_writable(name: str, what: str, array: np.ndarray) -> None:
    """Raise for memory that cannot be written, or where elements share a place."""
    if (
        array.size
        and 0 in array.strides
        and any(not s and n > 1 for s, n in zip(array.strides, array.shape, strict=True))
    ):
        raise ArgumentError(f"{name}: elements of {what} share memory; clone it before writing")
    if not array.flags.writeable:
        raise ArgumentError(f"{name}: {what} is read-only")


def finished(name: str, array: np.ndarray, out: Any, requires_grad: bool = False) -> Tensor:
    """The Tensor to give back: `out`, which was written, or a new one."""
    if out is not None:
        out._touch()
        given: Tensor = out
        return given
    if requires_grad and array.dtype.kind not in "fc":
        raise DTypeError(f"{name}: only Tensors of floats can require gradients, got dtype {array.dtype}")
    return _rebuild(Tensor, array, bool(requires_grad))


def number_dtype(value: Any) -> np.dtype[Any]:
    """The dtype that torch gives to a number."""
    if isinstance(value, (TensorBase, np.ndarray, np.generic)):
        return np.dtype(value.dtype)
    if isinstance(value, bool):
        return np.dtype(np.bool_)
    if isinstance(value, int):
        return np.dtype(np.int64)
    return _default_dtype.complex_ if isinstance(value, complex) else _default_dtype.floating
