"""Broadcasting of parameters, and functions between probabilities and logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _default_dtype, ops
from fastnn.errors import ShapeError
from fastnn.tensor import Tensor, as_tensor, tensor


def parameters(name: str, **given: Any) -> tuple[tuple[Tensor, ...], bool]:
    """Parameters as Tensors of one shape and a floating dtype, and whether all were numbers.

    Numbers take the dtype of the Tensors beside them.
    """
    arrays = [x for x in given.values() if isinstance(x, (Tensor, np.ndarray))]
    kinds = [np.dtype(x.dtype) for x in arrays if np.dtype(x.dtype).kind == "f"]
    dtype = np.result_type(*kinds) if kinds else _default_dtype.floating
    ready = []
    for what, value in given.items():
        if not isinstance(value, (Tensor, np.ndarray, int, float, np.generic)):
            raise TypeError(f"{name}: {what} must be a Tensor or a number, got {type(value).__name__}")
        made = value if isinstance(value, Tensor) else tensor(value, dtype=dtype)
        ready.append(made if made.dtype.kind == "f" else made.to(dtype))
    try:
        shape = np.broadcast_shapes(*(x.shape for x in ready))
    except ValueError:
        words = ", ".join(f"{n} {x.shape}" for n, x in zip(given, ready, strict=True))
        raise ShapeError(f"{name}: parameters must broadcast together, got {words}") from None
    return tuple(x if x.shape == shape else x.expand(shape) for x in ready), not arrays


def clamped(probs: Tensor) -> Tensor:
    """Probabilities kept a rounding error away from 0 and 1; gradients pass where nothing was changed."""
    eps = float(np.finfo(probs.dtype).eps)
    return ops.clip(probs, eps, 1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Logarithms of probabilities; with `is_binary`, of the odds."""
    near = clamped(probs)
    return ops.log(near) - ops.log1p(-near) if is_binary else ops.log(near)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities from logits along the last axis; with `is_binary`, of each alone."""
    return ops.sigmoid(logits) if is_binary else ops.softmax(logits, axis=-1)


def value_argument(name: str, value: Any, like: Tensor) -> Tensor:
    """A value as a Tensor of the parameters' dtype."""
    given: Tensor = as_tensor(value)
    return given if given.dtype == like.dtype else given.to(like.dtype)
