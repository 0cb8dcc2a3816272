"""How torch's functions take arguments: Tensors or what can become one, axes, `out`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._numpy_views import integer
from fastnn._runtime.tensor import TensorBase, is_grad_enabled
from fastnn.errors import DTypeError, GraphError, ShapeError
from fastnn.functions import fits
from fastnn.ops.views import axis_of
from fastnn.tensor import Tensor, as_tensor

__all__ = ["axis", "floats_of", "input_of", "integer", "into", "one_or_several", "scalar", "tensor_of", "together"]


def tensor_of(value: Any) -> Any:
    """A Tensor of an argument; one is taken as it is."""
    return value if isinstance(value, TensorBase) else as_tensor(value)


def input_of(name: str, input: Any) -> Tensor:
    """The input as a Tensor; TypeError for what holds no numbers."""
    if isinstance(input, Tensor):
        return input
    if isinstance(input, (str, bytes)) or input is None:
        raise TypeError(f"{name}: input must be a Tensor, got {type(input).__name__}")
    return as_tensor(input)


def floats_of(name: str, input: Any, dtype: Any = None) -> Tensor:
    """The input converted to `dtype`, if given; DTypeError unless it is a floating one then."""
    x = input_of(name, input)
    if dtype is not None and x.dtype != dtype:
        x = x.to(dtype=dtype)
    if x.dtype.kind != "f":
        raise DTypeError(f"{name}: the dtype must be a floating one, got {x.dtype}")
    return x


def together(name: str, *inputs: Any) -> tuple[Tensor, ...]:
    """The inputs as Tensors that broadcast to one shape; ShapeError where they do not."""
    tensors = tuple(as_tensor(x) for x in inputs)
    shapes = [t.shape for t in tensors]
    if all(shape == shapes[0] for shape in shapes):
        return tensors
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        words = ", ".join(map(str, shapes))
        raise ShapeError(f"{name}: shapes of the inputs must broadcast together, got {words}") from None
    return tuple(t if t.shape == shape else t.expand(shape) for t in tensors)


def axis(name: str, dim: Any, ndim: int, what: str = "dim") -> int:
    """An axis counted from 0; IndexError where there is none such."""
    return axis_of(name, dim, ndim, what)


def one_or_several(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Numbers that came one by one or as one sequence."""
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        return tuple(args[0])
    return args


def into(name: str, result: Any, out: Any) -> Any:
    """The result, or `out` filled with it; an `out` without elements takes the result's shape, as in torch."""
    if out is None:
        return result
    wanted = any(isinstance(x, TensorBase) and x.requires_grad for x in (result, out))
    if wanted and is_grad_enabled():
        raise GraphError(f"{name}: out cannot be given where gradients are recorded; do it under no_grad()")
    target = out.array if isinstance(out, TensorBase) else out
    value = result.array if isinstance(result, TensorBase) else np.asarray(result)
    if not isinstance(target, np.ndarray):
        raise TypeError(f"{name}: out must be a Tensor, got {type(out).__name__}")
    if not fits(value.dtype, target.dtype):
        raise DTypeError(f"{name}: out must have a dtype that {value.dtype} fits, got {target.dtype}")
    if target.shape != value.shape:
        if target.size or not isinstance(out, Tensor):
            raise ShapeError(f"{name}: out must have shape {value.shape}, got {target.shape}")
        out._set_array(np.array(value, target.dtype))
        return out
    np.copyto(target, value, casting="unsafe")
    if isinstance(out, Tensor):
        out._touch()
    return out


def scalar(name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """A number as an array without axes of a dtype that it fits; a Tensor without axes stays on the tape."""
    if isinstance(value, TensorBase):
        if value.ndim:
            raise ShapeError(f"{name}: value must be a number or have no axes, got shape {value.shape}")
        if not fits(value.dtype, dtype):
            raise DTypeError(f"{name}: value must have a dtype that fits {dtype}, got {value.dtype}")
        return value if value.dtype == dtype else as_tensor(value).to(dtype)
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "biufc":
        raise TypeError(f"{name}: value must be a number, got {value!r}")
    if number.dtype.kind == "c" and dtype.kind != "c":
        raise DTypeError(f"{name}: value must fit {dtype}, got {value!r}")
    if dtype.kind in "iu" and number.dtype.kind == "f" and not np.isfinite(number):
        raise DTypeError(f"{name}: value must fit {dtype}, got {value!r}")
    with np.errstate(all="ignore"):
        return number.astype(dtype)
