"""Functions that walk the tape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._runtime.capture import frozen
from fastnn._runtime.tape import run_backward
from fastnn.errors import DTypeError, GraphError, ShapeError
from fastnn.tensor import Tensor, from_numpy


def _first_order(create_graph: bool) -> None:
    if create_graph:
        raise NotImplementedError(
            "second derivatives are not available: create_graph must be False (gradients are not recorded themselves)"
        )


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, (Tensor, np.ndarray)) or value is None else tuple(value)


def _tensors(name: str, value: Any) -> tuple[Tensor, ...]:
    found = _as_tuple(value)
    for item in found:
        if not isinstance(item, Tensor):
            raise TypeError(f"{name} must be Tensors, got {type(item).__name__}")
    return found


def _root_gradients(tensors: Sequence[Tensor], gradients: Sequence[Any]) -> list[np.ndarray]:
    """A gradient array for each root: what was given, checked, or 1 for a single element."""
    if len(tensors) != len(gradients):
        raise ShapeError(f"backward: expected {len(tensors)} gradients, one a tensor, got {len(gradients)}")
    ready = []
    for root, given in zip(tensors, gradients, strict=True):
        if not root.requires_grad:
            raise GraphError("backward: the tensor does not require grad and was not made from one that does")
        if given is None:
            if root.numel() != 1:
                raise GraphError(
                    f"backward: a gradient must be given for more than a single number, got shape {root.shape}"
                )
            ready.append(frozen(np.ones(root.shape, root.dtype)))
            continue
        array = given.array if isinstance(given, Tensor) else np.asarray(given)
        if array.shape != root.shape:
            raise ShapeError(f"backward: gradient must have shape {root.shape} to match the tensor, got {array.shape}")
        if array.dtype.kind not in "biuf":
            raise DTypeError(f"backward: gradient must have dtype {root.dtype}, got {array.dtype}")
        ready.append(np.require(array, root.dtype, ["ALIGNED"]))
    return ready


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradients of `tensors` to the ``grad`` of the leaves they came from.

    Parameters
    ----------
    tensors : one Tensor or several.
    grad_tensors : a gradient for each, same shape; None for a single element.
    retain_graph : keep what the graph saved, so that it can be walked again.
    create_graph : must be False; NotImplementedError otherwise.
    """
    _first_order(create_graph)
    roots = _tensors("backward: tensors", tensors)
    gradients = (None,) * len(roots) if grad_tensors is None else _as_tuple(grad_tensors)
    run_backward(list(roots), _root_gradients(roots, gradients), bool(retain_graph))


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of `outputs` with respect to `inputs`; the leaves' ``grad`` stays as it is.

    Returns
    -------
    One Tensor an input. An input that the outputs do not depend on raises GraphError, or gives None with
    `allow_unused`.
    """
    _first_order(create_graph)
    roots, targets = _tensors("grad: outputs", outputs), _tensors("grad: inputs", inputs)
    for i, target in enumerate(targets):
        if not target.requires_grad:
            raise GraphError(f"grad: input {i} does not require grad")
    gradients = (None,) * len(roots) if grad_outputs is None else _as_tuple(grad_outputs)
    found = run_backward(list(roots), _root_gradients(roots, gradients), bool(retain_graph), list(targets))
    if not allow_unused:
        for i, array in enumerate(found):
            if array is None:
                raise GraphError(f"grad: the outputs do not depend on input {i}; pass allow_unused=True to get None")
    return tuple(None if array is None else from_numpy(array) for array in found)


__all__ = ["backward", "grad"]
