"""Ops under torch's names and arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import ops
from fastnn.errors import ShapeError
from fastnn.tensor import Tensor, as_tensor


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """``input @ weight.T + bias``.

    Shapes: input (*, K), weight (M, K) or (K), bias (M) or () -> (*, M) or (*).
    """
    if getattr(weight, "ndim", 2) == 1:
        product = ops.matmul(input, weight)
        return product if bias is None else product + bias
    return ops.linear(input, weight, bias)


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Tensor:
    """``sum over i and j of input1[..., i] * weight[o, i, j] * input2[..., j]``, plus bias.

    Shapes: input1 (*, I), input2 (*, J), weight (O, I, J), bias (O) -> (*, O).
    """
    if input1.shape[:-1] != input2.shape[:-1] or not (input1.ndim and input2.ndim):
        raise ShapeError(
            f"bilinear: input2 must have shape (*, J) to match input1 {tuple(input1.shape)}, got {tuple(input2.shape)}"
        )
    if tuple(weight.shape[1:]) != (input1.shape[-1], input2.shape[-1]):
        raise ShapeError(
            f"bilinear: weight must have shape (O, {input1.shape[-1]}, {input2.shape[-1]}) to match input1 and input2, "
            f"got {tuple(weight.shape)}"
        )
    y = ops.einsum("...i,...j,oij->...o", input1, input2, weight)
    return y if bias is None else ops.add(y, bias)


def relu(input: Any, inplace: bool = False) -> Tensor:
    """``max(input, 0)``. NaN stays NaN."""
    return as_tensor(input).relu_() if inplace else ops.relu(input)


def tanh(input: Any) -> Tensor:
    """Hyperbolic tangent."""
    return ops.tanh(input)


def sigmoid(input: Any) -> Tensor:
    """``1 / (1 + exp(-input))``."""
    return ops.sigmoid(input)


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """``input`` times the normal distribution up to it, or ``approximate="tanh"``'s form of that.

    Raises
    ------
    ValueError : `approximate` is neither ``"none"`` nor ``"tanh"``.
    """
    return ops.gelu(input, approximate=approximate)


def silu(input: Any, inplace: bool = False) -> Tensor:
    """``input * sigmoid(input)``."""
    return as_tensor(input)._map_("silu") if inplace else ops.silu(input)


def _softmax_dim(name: str, dim: int | None) -> int:
    if dim is None:
        raise TypeError(f"{name}: dim is missing; say along which axis the probabilities add up to 1")
    return dim


def softmax(input: Any, dim: int | None = None) -> Tensor:
    """``exp(input) / sum(exp(input))`` along `dim`."""
    return ops.softmax(input, axis=_softmax_dim("softmax", dim))


def log_softmax(input: Any, dim: int | None = None) -> Tensor:
    """Logarithm of the softmax along `dim`."""
    return ops.log_softmax(input, axis=_softmax_dim("log_softmax", dim))


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


__all__ = [
    "bilinear",
    "cross_entropy",
    "gelu",
    "linear",
    "log_softmax",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]
