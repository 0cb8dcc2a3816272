"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastnn import functions
from fastnn.errors import ShapeError
from fastnn.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of `parameters` in one vector, each in C order; gradients flow back to them."""
    tensors = [parameters] if isinstance(parameters, Tensor) else [*parameters]
    if not tensors:
        raise ValueError("parameters_to_vector: expected parameters, got none")
    vector: Tensor = functions.find("cat")([tensor.reshape(-1) for tensor in tensors])
    return vector


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the elements of `vec` into `parameters`, in the order of `parameters_to_vector`.

    The parameters keep their memory (torch makes them views of `vec`).
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: vec must be a Tensor, got {type(vec).__name__}")
    targets: list[Any] = [parameters] if isinstance(parameters, Tensor) else [*parameters]
    count = sum(target.numel() for target in targets)
    if vec.ndim != 1 or vec.numel() < count:
        raise ShapeError(f"vector_to_parameters: vec must have shape ({count}) to match parameters, got {vec.shape}")
    place = 0
    for target in targets:
        np.copyto(target.array, vec.array[place : place + target.numel()].reshape(target.shape), casting="unsafe")
        target._touch()
        place += target.numel()


__all__ = ["parameters_to_vector", "vector_to_parameters"]
