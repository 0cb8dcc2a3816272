"""What functions of torch's kind ask of their operands, and NumPy functions lifted to Tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._runtime.tensor import TensorBase
from fastnn.errors import DTypeError, ShapeError
from fastnn.ops.op import Op, torch_result_type
from fastnn.tensor import from_numpy


def is_number(value: Any) -> bool:
    """Whether a value is a Python number."""
    return isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic)


def kind_of(value: Any) -> str:
    """NumPy's letter for the kind of an operand: b, i, u, f, c."""
    dtype = getattr(value, "dtype", None)
    if dtype is not None:
        return str(dtype.kind)
    if isinstance(value, bool):
        return "b"
    if isinstance(value, int):
        return "i"
    return "f" if isinstance(value, float) else str(np.asarray(value).dtype.kind)


def array_of(value: Any) -> Any:
    """The array of a Tensor, or of what makes one."""
    return value.array if isinstance(value, TensorBase) else np.asarray(value)


def given(array: Any) -> Any:
    """A Tensor of an array, which is shared."""
    return from_numpy(np.asarray(array))


def integral(name: str, *operands: Any) -> None:
    """Raise DTypeError for operands that are neither integers nor bools."""
    for x in operands:
        if kind_of(x) not in "iub":
            raise DTypeError(f"{name}: operands must hold integers or bools, got {getattr(x, 'dtype', x)}")


def promoted(function: Callable[..., Any], *operands: Any, out: Any = None) -> Any:
    """A NumPy function of operands that were promoted as torch does; arrays in, an array out."""
    tensors = any(isinstance(x, TensorBase) for x in operands)
    raw = [x.array if isinstance(x, TensorBase) else x for x in operands]
    if tensors:
        dtype = torch_result_type([x if is_number(x) else np.asarray(x) for x in raw])
    else:
        dtype = np.result_type(*raw)
    arrays = [Op._number(x, dtype, tensors) if is_number(x) else np.asarray(x, dtype=dtype) for x in raw]
    try:
        with np.errstate(all="ignore"):
            result = np.asarray(function(*arrays))
    except ValueError as error:
        shapes = [np.shape(x) for x in raw]
        raise ShapeError(f"shapes must broadcast together, got {', '.join(map(str, shapes))}") from error
    return delivered(result, out, tensors)


def delivered(result: np.ndarray, out: Any, tensors: bool) -> Any:
    """A result as a Tensor or an array, or in `out`."""
    if out is None:
        return given(result) if tensors else result
    target = array_of(out)
    if target.shape != result.shape:
        raise ShapeError(f"out must have shape {result.shape}, got {target.shape}")
    if not np.can_cast(result.dtype, target.dtype, "same_kind"):
        raise DTypeError(f"out must have a dtype that {result.dtype} fits, got {target.dtype}")
    target[...] = result
    if isinstance(out, TensorBase):
        out._touch()
    return out
