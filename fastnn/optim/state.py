"""The state that an optimizer keeps for a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn._runtime.tensor import TensorBase, dense_zeros
from fastnn.tensor import Tensor, from_numpy


def full_state(p: Tensor, value: float = 0.0) -> Tensor:
    """A Tensor of `value` that lies in memory as the parameter does."""
    array = dense_zeros(p.array)
    if value:
        array.fill(value)
    return from_numpy(array)


def scalar_state(value: float) -> Tensor:
    """A count or factor as torch keeps it: float32, without axes."""
    return from_numpy(np.array(float(value), np.float32))


def loaded(p: Tensor, name: str, value: Any, scalars: tuple[str, ...], states: tuple[str, ...]) -> Any:
    """A value of a parameter's state as its optimizer keeps it: Tensors of its own, of the parameter's dtype.

    Raises
    ------
    ValueError : what belongs to each element does not have the parameter's shape, or a scalar has several elements.
    """
    if isinstance(value, Mapping):
        return {key: loaded(p, name, v, (), ()) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(loaded(p, name, v, (), ()) for v in value)
    array = as_array(value)
    if array is None:
        return scalar_state(value) if name in scalars and value is not None else value
    if name in scalars:
        if array.size != 1:
            raise ValueError(f"load_state_dict: {name} must be one number, got shape {array.shape}")
        wide = array.dtype == np.float64
        return from_numpy(np.array(array.item(), np.float64 if wide else np.float32))
    if name in states:
        if array.shape != p.shape:
            raise ValueError(f"load_state_dict: {name} must have the parameter's shape {p.shape}, got {array.shape}")
        own = dense_zeros(p.array)
        np.copyto(own, array, casting="unsafe")
        return from_numpy(own)
    return from_numpy(np.array(array, p.dtype if array.dtype.kind == "f" else array.dtype))


def as_array(value: Any) -> np.ndarray[Any, Any] | None:
    """The array of a tensor of ours or of another library; None if it is none."""
    if isinstance(value, TensorBase):
        return value.array
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "__dlpack__") and not isinstance(value, np.generic):
        return np.asarray(value)
    return None


__all__ = ["as_array", "full_state", "loaded", "scalar_state"]
