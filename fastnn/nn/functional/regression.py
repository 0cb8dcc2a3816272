"""Losses of numbers under torch's names and arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import ops
from fastnn.errors import DomainError, ShapeError
from fastnn.functions.arguments import together
from fastnn.nn.functional.loss import legacy_reduction, paired, reduced
from fastnn.tensor import Tensor, as_tensor


def _weighted(name: str, each: Any, input: Any, weight: Any) -> tuple[Any, Tensor]:
    """The elements' losses times their weights, and the weights."""
    weights = as_tensor(weight)
    if weights.shape != np.shape(input):
        raise ShapeError(f"{name}: weight must have the shape of input {np.shape(input)}, got {weights.shape}")
    return ops.multiply(each, weights), weights


def _weighted_mean(name: str, op: Any, x: Any, target: Any, input: Any, weight: Any, reduction: str) -> Tensor:
    """The losses weighted; their mean divides by the sum of the weights."""
    each, weights = _weighted(name, op(x, target, "none"), input, weight)
    if reduction == "mean":
        return ops.divide(ops.sum(each), ops.sum(weights))
    return reduced(each, reduction)


def mse_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    """``(input - target)**2``, reduced.

    Parameters
    ----------
    input, target : any shape; if they differ, they are broadcast, with a warning.
    weight : a weight for each element, of the shape of `input`; the mean divides by their sum.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    x, goal = paired("mse_loss", input, target)
    if weight is not None:
        return _weighted_mean("mse_loss", ops.mse_loss, x, goal, input, weight, reduction)
    return ops.mse_loss(x, goal, reduction)


def l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    """``abs(input - target)``, reduced; arguments as for `mse_loss`."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    x, goal = paired("l1_loss", input, target)
    if weight is not None:
        return _weighted_mean("l1_loss", ops.l1_loss, x, goal, input, weight, reduction)
    return ops.l1_loss(x, goal, reduction)


def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """``d**2 / (2 beta)`` where ``d = abs(input - target)`` is below `beta`, else ``d - beta / 2``, reduced.

    A `beta` of 0 gives `l1_loss`; ValueError for a negative one.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    if beta < 0:
        raise DomainError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    x, goal = paired("smooth_l1_loss", input, target)
    return ops.l1_loss(x, goal, reduction) if beta == 0 else ops.smooth_l1_loss(x, goal, reduction, beta)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Tensor:
    """``d**2 / 2`` where ``d = abs(input - target)`` is at most `delta`, else ``delta * (d - delta / 2)``, reduced.

    Parameters
    ----------
    input, target : any shape; if they differ, they are broadcast, with a warning.
    delta : above 0.
    weight : a weight for each element, of the shape of `input`; the mean divides by the number of elements.
    """
    if delta <= 0:
        raise DomainError(f"huber_loss: delta must be above 0, got {delta}")
    x, goal = paired("huber_loss", input, target)
    if weight is not None:
        return reduced(_weighted("huber_loss", ops.huber_loss(x, goal, "none", delta), input, weight)[0], reduction)
    return ops.huber_loss(x, goal, reduction, delta)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log likelihood of counts `target` of a Poisson distribution with mean ``exp(input)``.

    Parameters
    ----------
    input, target : any shapes that broadcast.
    log_input : False where `input` is the mean itself, to which `eps` is added before the logarithm.
    full : whether to add Stirling's approximation of ``log(target!)`` for targets above 1.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(reduction, size_average, reduce)
    x, goal = together("poisson_nll_loss", input, target)
    return ops.poisson_nll_loss(x, goal, reduction, bool(log_input), bool(full), eps)


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """Negative log likelihood of `target` of normal distributions with mean `input` and variance ``max(var, eps)``.

    Parameters
    ----------
    input, target : any shapes that broadcast.
    var : of the shape of `input`, of that without its last axis or with 1 in place of one extent, or a float.
    full : whether to add ``log(2 pi) / 2``.

    Raises
    ------
    ValueError : a negative variance, or another shape of it.
    """
    x, spread = as_tensor(input), as_tensor(var)
    if isinstance(var, float):
        spread = as_tensor(np.asarray(var, x.dtype)).expand(x.shape)
    if (spread.array < 0).any():
        raise ValueError("gaussian_nll_loss: var must not hold negative numbers")
    if spread.shape != x.shape:
        if x.shape[:-1] == spread.shape and x.ndim:
            spread = spread.unsqueeze(-1)
        elif x.ndim != spread.ndim or sum(b for a, b in zip(x.shape, spread.shape, strict=True) if a != b) != 1:
            raise ShapeError(f"gaussian_nll_loss: var must have the shape of input {x.shape}, got {spread.shape}")
    x, goal, spread = together("gaussian_nll_loss", x, target, spread)
    return ops.gaussian_nll_loss(x, goal, spread, reduction, bool(full), eps)


__all__ = ["gaussian_nll_loss", "huber_loss", "l1_loss", "mse_loss", "poisson_nll_loss", "smooth_l1_loss"]
