"""Losses of probabilities, element by element: binary cross-entropy and the Kullback-Leibler divergence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from fastnn.errors import DomainError
from fastnn.ops.activation import stable_sigmoid
from fastnn.ops.gates import log_sigmoid
from fastnn.ops.lowering import Array, Lowering, join_axes, reads
from fastnn.ops.terms import CASES, loss

# -- binary cross-entropy


def _unit_error(name: str, array: np.ndarray, index: int) -> DomainError:
    place = tuple(int(i) for i in np.unravel_index(index, array.shape))
    return DomainError(
        f"binary_cross_entropy: all elements of {name} must lie from 0 to 1, got {array[place]} at {list(place)}"
    )


def _unit_found(i: int, name: str, status: int, inputs: list[np.ndarray]) -> DomainError:
    return _unit_error(name, inputs[i], status - 1)


def _validate(x: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> None:
    for name, array in (("input", x), ("target", target)):
        bad = ~((array >= 0) & (array <= 1))
        if bad.any():
            raise _unit_error(name, array, int(bad.argmax()))


def _check(low: Lowering, operands: Sequence[Array]) -> None:
    for i, (name, x) in enumerate(zip(("input", "target"), operands, strict=False)):
        if not x.size:
            continue
        shape, (strides,) = join_axes(x.shape, [x.strides])
        if not shape:
            shape, strides = (1,), (1,)
        low.check(
            "terms.check_unit",
            [reads(x), x.size, len(shape), *shape, *strides],
            partial(_unit_found, i, name),
            work=x.size * (0.1 if strides[-1] == 1 else 2.0),
            dtype=x.dtype,
        )


def _times(each: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    return np.asarray(each if weight is None else each * weight)


def _bce(x: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """``-(target * log(input) + (1 - target) * log(1 - input))``, the logarithms at least -100, times `weight`.

    DomainError for an input or a target outside 0 to 1.
    """
    each = (target - 1) * np.maximum(np.log1p(-x), -100) - target * np.maximum(np.log(x), -100)
    return _times(each, weight)


def _bce_input(g: np.ndarray, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    return _times(g * (x - target) / np.maximum((1 - x) * x, 1e-12), weight)


def _bce_target(g: np.ndarray, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    return _times(g * (np.log1p(-x) - np.log(x)), weight)


binary_cross_entropy = loss(
    "binary_cross_entropy",
    _bce,
    {"input": _bce_input, "target": _bce_target},
    row=lambda there: "bce",
    shapes="input:(*) target:(*) weight:(*)?",
    check=_check,
    validate=_validate,
    domain={"input": (0.05, 0.95), "target": (0.0, 1.0), "weight": (0.5, 2.0)},
    cases=CASES,
)

Weights = np.ndarray | None


def _share(target: np.ndarray, pos_weight: Weights) -> np.ndarray | int:
    return 1 if pos_weight is None else np.asarray((pos_weight - 1) * target + 1)


def _bce_logits(x: np.ndarray, target: np.ndarray, pos_weight: Weights, weight: Weights) -> np.ndarray:
    """Binary cross-entropy of ``sigmoid(input)``, without overflow; that of the targets' share times `pos_weight`."""
    return _times((1 - target) * x - _share(target, pos_weight) * log_sigmoid(x), weight)


def _bce_logits_input(
    g: np.ndarray, x: np.ndarray, target: np.ndarray, pos_weight: Weights, weight: Weights
) -> np.ndarray:
    both = target if pos_weight is None else target * pos_weight
    return _times(g * ((1 - target + both) * stable_sigmoid(x) - both), weight)


def _bce_logits_target(
    g: np.ndarray, x: np.ndarray, target: np.ndarray, pos_weight: Weights, weight: Weights
) -> np.ndarray:
    slope = -x if pos_weight is None else -x - (pos_weight - 1) * log_sigmoid(x)
    return _times(g * slope, weight)


binary_cross_entropy_with_logits = loss(
    "binary_cross_entropy_with_logits",
    _bce_logits,
    {"input": _bce_logits_input, "target": _bce_logits_target},
    row=lambda there: "bce_logits_positive" if "pos_weight" in there else "bce_logits",
    shapes="input:(*) target:(*) pos_weight:(*)? weight:(*)?",
    domain={"target": (0.0, 1.0), "weight": (0.5, 2.0), "pos_weight": (0.5, 2.0)},
    cases=[*CASES, {"*": (5, 6), "pos_weight": None}, {"*": (5, 6), "weight": None}],
)


# -- divergence


def _kl_div(x: np.ndarray, target: np.ndarray, *, log_target: bool) -> np.ndarray:
    """``target * (log(target) - input)``, of logarithms ``exp(target) * (target - input)``; 0 log 0 is 0."""
    if log_target:
        return np.asarray(np.exp(target) * (target - x))
    return np.where(target == 0, 0, target * np.log(target)) - target * x


def _kl_div_input(g: np.ndarray, x: np.ndarray, target: np.ndarray, *, log_target: bool) -> np.ndarray:
    return np.asarray(-g * (np.exp(target) if log_target else target))


def _kl_div_target(g: np.ndarray, x: np.ndarray, target: np.ndarray, *, log_target: bool) -> np.ndarray:
    return np.asarray(g * (np.exp(target) * (target - x + 1) if log_target else np.log(target) + 1 - x))


kl_div = loss(
    "kl_div",
    _kl_div,
    {"input": _kl_div_input, "target": _kl_div_target},
    row=lambda there, *, log_target: "kl_div_log" if log_target else "kl_div",
    attributes={"log_target": False},
    domain={"target": (0.05, 1.0)},
    cases=[{**case, "log_target": True} for case in CASES],
)
