"""What losses share: reductions, and inputs that broadcast."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fastnn import ops
from fastnn.errors import ShapeError
from fastnn.functions.arguments import together
from fastnn.tensor import as_tensor


def legacy_reduction(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The reduction; or, with a warning, the one that torch's older two flags ask for."""
    if size_average is None and reduce is None:
        return reduction
    legacy = "none" if reduce is False else "sum" if size_average is False else "mean"
    warnings.warn(f"size_average and reduce are old: use reduction={legacy!r} instead", stacklevel=3)
    return legacy


def reduced(each: Any, reduction: str) -> Any:
    """The mean, the sum, or all of the losses; ValueError for another reduction."""
    if reduction == "none":
        return each
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be one of mean, sum, none, got {reduction!r}")
    return ops.mean(each) if reduction == "mean" else ops.sum(each)


def paired(name: str, input: Any, target: Any) -> tuple[Any, Any]:
    """An input and its target; where they differ in shape, with a warning, broadcast."""
    if getattr(input, "shape", None) == getattr(target, "shape", ()):
        return input, target
    x, goal = as_tensor(input), as_tensor(target)
    if x.shape != goal.shape:
        warnings.warn(
            f"{name}: target has shape {goal.shape}, input {x.shape}; they are broadcast, which is seldom what is "
            "meant: give them the same shape",
            stacklevel=3,
        )
    return together(name, x, goal)  # type: ignore[return-value]


def same_shape(name: str, input: Any, target: Any) -> None:
    """Raise ShapeError unless input and target have the same shape."""
    if np.shape(input) != np.shape(target):
        raise ShapeError(f"{name}: target must have the shape of input {np.shape(input)}, got {np.shape(target)}")


def spread(weight: Any, like: Any) -> Any:
    """A weight of each element, repeated to a shape; None if there is none."""
    if weight is None or np.shape(weight) == np.shape(like):
        return weight
    return as_tensor(weight).expand(np.shape(like))
