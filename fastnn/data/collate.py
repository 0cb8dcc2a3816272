"""Batches from items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastnn.tensor import Tensor, from_numpy


def default_collate(items: Sequence[Any]) -> Any:
    """A batch of items, as torch's: arrays and Tensors are stacked, numbers become a Tensor (floats float64), strings a
    list; tuples, lists and dicts are batched by their parts.

    Raises
    ------
    TypeError : for anything else; ValueError where shapes or lengths differ.
    """
    first = items[0]
    if isinstance(first, (Tensor, np.ndarray, np.generic)):
        arrays = [item.array if isinstance(item, Tensor) else np.asarray(item) for item in items]
        if any(array.shape != arrays[0].shape for array in arrays):
            shapes = ", ".join(map(str, dict.fromkeys(array.shape for array in arrays)))
            raise ValueError(f"a batch needs items of one shape, got {shapes}")
        return from_numpy(np.stack(arrays))
    if isinstance(first, (bool, int, float)):
        return from_numpy(np.array(items))
    if isinstance(first, (str, bytes)):
        return list(items)
    if isinstance(first, Mapping):
        return {key: default_collate([item[key] for item in items]) for key in first}
    if isinstance(first, (tuple, list)):
        if any(len(item) != len(first) for item in items):
            raise ValueError("a batch needs items of as many parts")
        parts = [default_collate(part) for part in zip(*items, strict=True)]
        if hasattr(first, "_fields"):  # a named tuple
            return type(first)(*parts)
        return tuple(parts) if isinstance(first, tuple) else parts
    raise TypeError(f"a batch is made of arrays, numbers, strings, and tuples and dicts of them, got {type(first)}")
