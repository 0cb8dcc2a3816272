"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastnn._runtime.tensor import is_grad_enabled, recorded
from fastnn.errors import ShapeError
from fastnn.tensor import Tensor, from_numpy

_GROUP = 16  # tensors that one step of the tape can join


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of `parameters` in one vector, each in C order; gradients flow back to them."""
    tensors = [parameters] if isinstance(parameters, Tensor) else [*parameters]
    if not tensors:
        raise ValueError("parameters_to_vector: expected parameters, got none")
    while len(tensors) > 1 or tensors[0].ndim != 1:
        tensors = [_joined(tensors[i : i + _GROUP]) for i in range(0, len(tensors), _GROUP)]
    return tensors[0]


def _joined(tensors: list[Tensor]) -> Tensor:
    ends = np.cumsum([0] + [tensor.numel() for tensor in tensors])

    trained = [i for i, tensor in enumerate(tensors) if tensor.requires_grad]

    def apart(gradients: list[Any]) -> list[np.ndarray]:
        return [gradients[0][ends[i] : ends[i + 1]].reshape(tensors[i].shape).astype(tensors[i].dtype) for i in trained]

    vector = from_numpy(np.concatenate([tensor.array.reshape(-1) for tensor in tensors]))
    if not trained or not is_grad_enabled():
        return vector
    joined: Tensor = recorded("parameters_to_vector", [tensors[i] for i in trained], [vector], apart)[0]
    return joined


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
