"""Losses of classes and probabilities under torch's names and arguments."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fastnn import ops
from fastnn.errors import ShapeError
from fastnn.functions.arguments import together
from fastnn.nn.functional.loss import legacy_reduction, reduced, same_shape, spread
from fastnn.tensor import Tensor, as_tensor


def _is_floating(target: Any) -> bool:
    return np.dtype(getattr(target, "dtype", np.int64)).kind == "f"


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
    """Cross-entropy of softmax(`input`) against class labels or against probabilities of classes.

    Parameters
    ----------
    input : logits, (N, C) or (C), or (N, C, d1, ...).
    target : class labels from 0 to C - 1, integers of shape (N), (), or (N, d1, ...); or probabilities, floats of the
        shape of `input`.
    weight : a weight for each class, (C).
    ignore_index : label that counts neither in the loss nor in its mean.
    reduction : ``"mean"`` (over the weights of the labels, or the number of places), ``"sum"`` or ``"none"``.
    label_smoothing : from 0 to 1, the share of the target that is spread evenly over all classes.

    Raises
    ------
    IndexError : a label outside 0 to C - 1 that is not `ignore_index`.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    ndim = input.ndim if isinstance(input, (Tensor, np.ndarray)) else np.ndim(input)
    if ndim == 0:
        raise ShapeError("cross_entropy: input must have at least 1 axis, (N, C) or (C), got ()")
    if _is_floating(target) and np.shape(target) == np.shape(input):
        return _soft_cross_entropy(input, target, weight, reduction, ignore_index, label_smoothing)
    if ndim == 2:
        return ops.cross_entropy(input, target, weight, reduction, ignore_index, label_smoothing)
    input, target = as_tensor(input), as_tensor(target)
    if ndim == 1:
        loss = ops.cross_entropy(
            input.reshape(1, -1), target.reshape(1), weight, reduction, ignore_index, label_smoothing
        )
        return loss.reshape(()) if reduction == "none" else loss
    places = (input.shape[0], *input.shape[2:])
    if target.shape != places:
        raise ShapeError(
            f"cross_entropy: target must have shape {places} to match input {input.shape}, got {target.shape}"
        )
    depth = int(np.prod(places[1:]))
    if input.stride(1) == 1 and places[1:] != (1,):
        # the classes lie side by side, as in images whose channels come last: places are rows
        rows = input.permute(0, *range(2, ndim), 1).reshape(places[0] * depth, input.shape[1])
        loss = ops.cross_entropy(rows, target.reshape(-1), weight, reduction, ignore_index, label_smoothing)
        return loss.reshape(places) if reduction == "none" else loss
    loss = ops.map_cross_entropy(
        input.reshape(*input.shape[:2], depth),
        target.reshape(places[0], depth),
        weight,
        reduction,
        ignore_index,
        label_smoothing,
    )
    return loss.reshape(places) if reduction == "none" else loss


def _soft_cross_entropy(
    input: Any, target: Any, weight: Any, reduction: str, ignore_index: int, label_smoothing: float
) -> Tensor:
    if ignore_index >= 0:
        raise ValueError(f"cross_entropy: ignore_index is for labels, not for probabilities, got {ignore_index}")
    x, goal = as_tensor(input), as_tensor(target)
    places: tuple[int, ...] = ()
    if x.ndim == 2:
        return ops.soft_cross_entropy(x, goal, weight, reduction, label_smoothing)
    if x.ndim == 1:
        x, goal = x.reshape(1, -1), goal.reshape(1, -1)
    else:
        order = (0, *range(2, x.ndim), 1)
        x, goal = x.permute(*order), goal.permute(*order)
        places = x.shape[:-1]
        x, goal = (t.reshape(int(np.prod(places)), t.shape[-1]) for t in (x, goal))
    loss = ops.soft_cross_entropy(x, goal, weight, reduction, label_smoothing)
    return loss.reshape(places) if reduction == "none" else loss


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log likelihood of class labels, from log-probabilities.

    Parameters
    ----------
    input : log-probabilities, (N, C) or (C), or (N, C, d1, ...).
    target : class labels from 0 to C - 1, of shape (N), (), or (N, d1, ...).
    weight, ignore_index, reduction : as for `cross_entropy`.

    Raises
    ------
    IndexError : a label outside 0 to C - 1 that is not `ignore_index`.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    if np.ndim(input) == 2:
        return ops.nll_loss(input, target, weight, reduction, ignore_index)
    x, labels = as_tensor(input), as_tensor(target)
    if x.ndim == 0:
        raise ShapeError("nll_loss: input must have at least 1 axis, (N, C) or (C), got ()")
    places = (*x.shape[:1], *x.shape[2:]) if x.ndim > 1 else ()
    if labels.shape != places and not (x.ndim == 1 and labels.shape == (1,)):
        raise ShapeError(f"nll_loss: target must have shape {places} to match input {x.shape}, got {labels.shape}")
    samples, depth = (x.shape[0], int(np.prod(x.shape[2:]))) if x.ndim > 1 else (1, 1)
    loss = ops.nll_loss(
        x.reshape(samples, x.shape[1] if x.ndim > 1 else x.shape[0], depth),
        labels.reshape(samples, depth),
        weight,
        reduction,
        ignore_index,
    )
    return loss.reshape(places) if reduction == "none" else loss


def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy of probabilities against targets, both from 0 to 1; logarithms are at least -100.

    Parameters
    ----------
    input, target : any shape, the same.
    weight : a weight for each element, broadcast.

    Raises
    ------
    ValueError : shapes that differ, or an element outside 0 to 1.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    same_shape("binary_cross_entropy", input, target)
    return ops.binary_cross_entropy(input, target, spread(weight, target), reduction)


def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """Cross-entropy of ``sigmoid(input)`` against targets from 0 to 1, without overflow.

    Parameters
    ----------
    input, target : any shape, the same.
    weight : a weight for each element, broadcast.
    pos_weight : a weight for the target's share of each element, broadcast.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    same_shape("binary_cross_entropy_with_logits", input, target)
    return ops.binary_cross_entropy_with_logits(
        input, target, spread(pos_weight, target), spread(weight, target), reduction
    )


def kl_div(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Kullback-Leibler divergence of `target` from `input`, which holds logarithms of probabilities.

    Parameters
    ----------
    input, target : any shapes that broadcast.
    reduction : ``"batchmean"`` (the sum over the first extent), ``"mean"`` (over all elements), ``"sum"``, ``"none"``.
    log_target : whether `target` holds logarithms too.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    elif reduction == "mean":
        warnings.warn(
            "kl_div: reduction='mean' divides by all elements; 'batchmean', by the batch alone, is the divergence",
            stacklevel=2,
        )
    x, goal = together("kl_div", input, target)
    batch = reduction == "batchmean"
    loss = ops.kl_div(x, goal, "sum" if batch else reduction, bool(log_target))
    return ops.divide(loss, np.shape(input)[0]) if batch and np.ndim(input) else loss


def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy of ``sigmoid(input)`` against targets from 0 to 1, its mean over the classes, then reduced.

    Shapes: input and target (N, C) or (C), weight broadcast -> (), or (N) or () without a reduction.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    x, goal = together("multilabel_soft_margin_loss", input, target)
    each = ops.binary_cross_entropy_with_logits(x, goal, None, None, "none")
    if weight is not None:
        each = ops.multiply(each, as_tensor(weight))
    return reduced(ops.mean(each, axis=-1), reduction)


__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "kl_div",
    "multilabel_soft_margin_loss",
    "nll_loss",
]
