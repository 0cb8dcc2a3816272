"""Losses with a margin under torch's names and arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import ops
from fastnn.errors import DomainError, ShapeError
from fastnn.functions.arguments import together
from fastnn.nn.functional.distance import pairwise_distance
from fastnn.nn.functional.loss import legacy_reduction
from fastnn.tensor import Tensor, as_tensor


def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`input` where the target is 1, ``max(margin - input, 0)`` where it is -1; reduced."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    x, goal = together("hinge_embedding_loss", input, target)
    return ops.hinge_embedding_loss(x, goal, reduction, margin)


def soft_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``log(1 + exp(-target * input))``, reduced, for targets 1 and -1."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    x, goal = together("soft_margin_loss", input, target)
    return ops.soft_margin_loss(x, goal, reduction)


def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``max(margin - target * (input1 - input2), 0)``, reduced: a target of 1 wants `input1` above `input2`."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    tensors = [as_tensor(x) for x in (input1, input2, target)]
    if len({t.ndim for t in tensors}) > 1:
        words = ", ".join(str(t.shape) for t in tensors)
        raise ShapeError(f"margin_ranking_loss: inputs and target must have as many axes, got {words}")
    return ops.margin_ranking_loss(*together("margin_ranking_loss", *tensors), reduction, margin)


def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """One less the cosine of two vectors where the target is 1, ``max(cosine - margin, 0)`` where it is -1; reduced.

    Shapes: input1, input2 (N, D) and target (N), or (D), (D) and ().
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    one, two, goal = as_tensor(input1), as_tensor(input2), as_tensor(target)
    if goal.ndim > 1:
        raise ShapeError(f"cosine_embedding_loss: target must have at most 1 axis, got {goal.shape}")
    if one.ndim != goal.ndim + 1 or two.ndim != goal.ndim + 1:
        raise ShapeError(
            f"cosine_embedding_loss: inputs must have {goal.ndim + 1} axes to match target {goal.shape}, "
            f"got {one.shape} and {two.shape}"
        )
    cosines = ops.cosine_similarity(*together("cosine_embedding_loss", one, two), True, 1e-12)
    return ops.cosine_margin_loss(*together("cosine_embedding_loss", cosines, goal), reduction, margin)


def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``weight[t] / C * sum over other classes of max(margin - input[t] + input, 0)**p``, reduced.

    Parameters
    ----------
    input : (N, C) or (C).
    target : labels t from 0 to C - 1, (N) or ().
    p : 1 or 2.
    weight : a weight for each class, (C).

    Raises
    ------
    IndexError : a label outside 0 to C - 1.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    x, labels = as_tensor(input), as_tensor(target)
    if x.ndim == 2:
        return ops.multi_margin_loss(x, labels, weight, reduction, p, margin)
    if x.ndim > 2 or labels.numel() != 1:
        raise ShapeError(f"multi_margin_loss: input must have shape (N, C) or (C), got {x.shape}")
    loss = ops.multi_margin_loss(x.reshape(1, -1), labels.reshape(1), weight, reduction, p, margin)
    return loss.reshape(labels.shape) if reduction == "none" else loss


def multilabel_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``1 / C * sum over labels t and other classes j of max(1 - input[t] + input[j], 0)``, reduced.

    Parameters
    ----------
    input : (N, C) or (C).
    target : labels from 0 to C - 1, of the shape of `input`; a row's end before its first -1.

    Raises
    ------
    IndexError : a label outside -1 to C - 1.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    x, labels = as_tensor(input), as_tensor(target)
    if x.shape != labels.shape or x.ndim > 2:
        raise ShapeError(
            "multilabel_margin_loss: target must have the shape of input, (N, C) or (C), "
            f"got {x.shape} and {labels.shape}"
        )
    if x.ndim == 2:
        return ops.multilabel_margin_loss(x, labels, reduction)
    loss = ops.multilabel_margin_loss(x.reshape(1, -1), labels.reshape(1, -1), reduction)
    return loss.reshape(()) if reduction == "none" else loss


def _triplet(
    name: str,
    distance: Callable[[Any, Any], Any],
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    """``max(margin + distance(anchor, positive) - distance(anchor, negative), 0)``, reduced."""
    if margin <= 0:
        raise DomainError(f"{name}: margin must be above 0, got {margin}")
    tensors = [as_tensor(x) for x in (anchor, positive, negative)]
    if len({t.ndim for t in tensors}) > 1:
        words = ", ".join(str(t.shape) for t in tensors)
        raise ShapeError(f"{name}: anchor, positive and negative must have as many axes, got {words}")
    anchor, positive, negative = tensors
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = ops.minimum(far, distance(positive, negative))
    far, near = together(name, far, near)
    ones = as_tensor(np.broadcast_to(np.ones((), near.dtype), near.shape))
    return ops.margin_ranking_loss(far, near, ones, reduction, margin)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """How much closer than by `margin` the negative lies to the anchor than the positive does; reduced.

    Parameters
    ----------
    anchor, positive, negative : (*, D), broadcast.
    margin : above 0.
    p, eps : of `pairwise_distance`.
    swap : whether the negative's distance from the positive counts where it is the smaller one. Balntas et al.,
        "Learning local feature descriptors with triplets and shallow convolutional neural networks", BMVC 2016.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)

    def distance(x: Any, y: Any) -> Any:
        return pairwise_distance(x, y, p, eps)

    return _triplet("triplet_margin_loss", distance, anchor, positive, negative, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """As `triplet_margin_loss`, with any distance: a function of two Tensors; by default `pairwise_distance`."""
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplet("triplet_margin_with_distance_loss", distance, anchor, positive, negative, margin, swap, reduction)


__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]
