"""Turns another library's values into fastnn's, and both into plain NumPy values.

Neither library is imported here: values are told apart by what they offer, and `Converter` is given the classes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np


class Unconvertible(Exception):
    """A value that fastnn has no counterpart of: complex, sparse, quantised, bfloat16, another device."""


def same_layout(array: np.ndarray) -> np.ndarray:
    """A copy with the same strides, also zero and overlapping ones, that shares no memory with `array`."""
    if array.size == 0 or array.ndim == 0 or array.flags.c_contiguous:
        return array.copy()
    low, high = np.lib.array_utils.byte_bounds(array)
    start = array.__array_interface__["data"][0]
    # what lies between the elements comes along: a view by strides may look at it
    memory = np.frombuffer((ctypes.c_ubyte * (high - low)).from_address(low), np.uint8).copy()
    return np.ndarray(array.shape, array.dtype, memory.data, start - low, array.strides)


class Converter:
    """Converts arguments; one instance a call, so that a tensor that appears twice stays one tensor.

    Parameters
    ----------
    torch : the module.
    ours : fastnn.
    gradients : whether `requires_grad` is taken over.
    """

    def __init__(self, torch: Any, ours: Any, gradients: bool = False) -> None:
        self.torch = torch
        self.ours = ours
        self.gradients = gradients
        self._seen: dict[int, Any] = {}
        self.pairs: list[tuple[Any, Any]] = []

    def __call__(self, value: Any) -> Any:
        """The counterpart of `value`; Unconvertible where there is none."""
        torch = self.torch
        if isinstance(value, torch.nn.Module):
            raise Unconvertible("a module as argument")
        if isinstance(value, torch.Tensor):
            if id(value) not in self._seen:
                self._seen[id(value)] = made = self._tensor(value)
                self.pairs.append((value, made))
            return self._seen[id(value)]
        if isinstance(value, torch.dtype):
            return dtype_of(value)
        if isinstance(value, complex):
            raise Unconvertible("complex")
        if isinstance(value, torch.Generator):
            raise Unconvertible("a generator")
        if isinstance(value, tuple):
            members = [self(item) for item in value]
            return type(value)(*members) if hasattr(value, "_fields") else tuple(members)
        if isinstance(value, list):
            return [self(item) for item in value]
        if isinstance(value, Mapping):
            return {key: self(item) for key, item in value.items() if not self._beside_the_point(item)}
        if isinstance(value, torch.memory_format):
            raise Unconvertible("memory format")
        if type(value).__module__.startswith("torch") and not isinstance(value, (int, float)):
            raise Unconvertible(type(value).__name__)
        return value

    def _beside_the_point(self, value: Any) -> bool:
        """Devices and layouts that are the only ones there are."""
        torch = self.torch
        return isinstance(value, torch.device) or value is torch.strided

    def _tensor(self, value: Any) -> Any:
        made = self.ours.from_numpy(same_layout(array_of(value)))
        if isinstance(value, self.torch.nn.Parameter):
            made = self.ours.nn.Parameter(made)
        if self.gradients and value.requires_grad:
            made.requires_grad = True
        elif not self.gradients:
            made.requires_grad = False
        return made


def dtype_of(dtype: Any) -> np.dtype[Any]:
    """The NumPy dtype of a torch one."""
    name = str(dtype).rsplit(".", 1)[-1]
    if name.startswith("complex"):
        raise Unconvertible("complex")
    try:
        return np.dtype(name)
    except TypeError:
        raise Unconvertible(name) from None


def array_of(value: Any) -> np.ndarray:
    """The array of a torch tensor, sharing its memory."""
    layout = str(getattr(value, "layout", "torch.strided"))
    if layout != "torch.strided" or value.is_quantized:
        raise Unconvertible("sparse" if "sparse" in layout else "not strided")
    if value.is_complex():
        raise Unconvertible("complex")
    dtype_of(value.dtype)
    return value.detach().numpy(force=True)


def plain(value: Any) -> Any:
    """NumPy arrays in place of any library's tensors and dtypes, within tuples, lists and mappings."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, (np.dtype, type)) or type(value).__name__ == "dtype":
        return f"dtype {dtype_of(value) if type(value).__name__ == 'dtype' else np.dtype(value)}"
    if hasattr(value, "is_quantized"):
        return array_of(value)
    if hasattr(value, "detach") and hasattr(value, "array"):
        return value.detach().array
    if isinstance(value, tuple):
        members = [plain(item) for item in value]
        return Named(fields(type(value)), members) if fields(type(value)) else tuple(members)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value


class Named(tuple):
    """Members of a named tuple, with their names."""

    names: tuple[str, ...]

    def __new__(cls, names: tuple[str, ...], members: Iterable[Any]) -> Named:
        made = super().__new__(cls, members)
        made.names = names
        return made


def fields(kind: type) -> tuple[str, ...]:
    """Names of a named tuple's members, of Python's kind or of torch's."""
    return tuple(getattr(kind, "__match_args__", ()))


def tensors(value: Any, is_tensor: Callable[[Any], bool]) -> Iterator[Any]:
    """The tensors within tuples, lists and mappings, in order."""
    if is_tensor(value):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item, is_tensor)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors(item, is_tensor)
