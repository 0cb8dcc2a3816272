"""Losses under torch's names and arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import ops
from fastnn.errors import ShapeError
from fastnn.tensor import Tensor, as_tensor


def legacy_reduction(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The reduction that torch's older two flags ask for."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of softmax(`input`) against class labels.

    Parameters
    ----------
    input : logits, (N, C) or (C), or (N, C, d1, ...).
    target : class labels from 0 to C - 1, int64, of shape (N), (), or (N, d1, ...).
    weight : a weight for each class, (C).
    ignore_index : label that counts neither in the loss nor in its mean.
    reduction : ``"mean"`` (over the weights of the labels), ``"sum"`` or ``"none"``.
    label_smoothing : from 0 to 1, the share of the target that is spread evenly over all classes.

    Raises
    ------
    IndexError : a label outside 0 to C - 1 that is not `ignore_index`.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    ndim = input.ndim if isinstance(input, (Tensor, np.ndarray)) else np.ndim(input)
    if ndim == 2:
        return ops.cross_entropy(input, target, weight, reduction, ignore_index, label_smoothing)
    if ndim == 1:
        input, target = as_tensor(input), as_tensor(target)
        loss = ops.cross_entropy(
            input.reshape(1, -1), target.reshape(1), weight, reduction, ignore_index, label_smoothing
        )
        return loss.reshape(()) if reduction == "none" else loss
    if ndim == 0:
        raise ShapeError(f"cross_entropy: input must have at least 1 axis, (N, C) or (C), got {input.shape}")
    input, target = as_tensor(input), as_tensor(target)
    # classes last, positions joined
    moved = input.permute(0, *range(2, ndim), 1)
    if tuple(target.shape) != moved.shape[:-1]:
        raise ShapeError(
            f"cross_entropy: target must have shape {moved.shape[:-1]} to match input {input.shape}, got {target.shape}"
        )
    loss = ops.cross_entropy(
        moved.reshape(target.numel(), moved.shape[-1]),
        target.reshape(-1),
        weight,
        reduction,
        ignore_index,
        label_smoothing,
    )
    return loss.reshape(target.shape) if reduction == "none" else loss
