"""Losses of numbers: how far an input lies from a target, and likelihoods of counts and of normal distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.ops.op import Op
from fastnn.ops.terms import CASES, loss


def _difference(
    name: str, row: str, forward: Callable[..., Any], slope: Callable[..., Any], cells: dict[str, float] | None = None
) -> Op:
    """A loss of ``input - target``, by its derivative."""
    return loss(
        name,
        forward,
        {
            "input": lambda g, x, target, **given: g * slope(x - target, **given),
            "target": lambda g, x, target, **given: g * -slope(x - target, **given),
        },
        row=lambda there: row,
        cells=cells,
    )


def _mse(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``(input - target)**2``, reduced."""
    return np.square(x - target)


def _l1(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``abs(input - target)``, reduced."""
    return np.abs(x - target)


def _sign(d: np.ndarray) -> np.ndarray:
    """-1, 0 or 1; 0 for NaN."""
    return np.where(d > 0, 1, np.where(d < 0, -1, 0)).astype(d.dtype)


def _smooth_l1(x: np.ndarray, target: np.ndarray, *, beta: float) -> np.ndarray:
    """``d**2 / (2 beta)`` where ``d = abs(input - target)`` is below `beta`, else ``d - beta / 2``, reduced.

    Girshick, "Fast R-CNN", arXiv:1504.08083.
    """
    d = np.abs(x - target)
    return np.where(d < beta, 0.5 * d * d / beta, d - 0.5 * beta)


def _smooth_l1_slope(d: np.ndarray, *, beta: float) -> np.ndarray:
    return np.where(np.abs(d) < beta, d / beta, _sign(d))


def _huber(x: np.ndarray, target: np.ndarray, *, delta: float) -> np.ndarray:
    """``d**2 / 2`` where ``d = abs(input - target)`` is at most `delta`, else ``delta * (d - delta / 2)``, reduced.

    Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35 (1964).
    """
    d = np.abs(x - target)
    return np.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta))


def _huber_slope(d: np.ndarray, *, delta: float) -> np.ndarray:
    return np.where(np.abs(d) < delta, d, delta * _sign(d))


mse_loss = _difference("mse_loss", "mse", _mse, lambda d: 2 * d)
l1_loss = _difference("l1_loss", "l1", _l1, _sign)
smooth_l1_loss = _difference("smooth_l1_loss", "smooth_l1", _smooth_l1, _smooth_l1_slope, {"beta": 1.0})
huber_loss = _difference("huber_loss", "huber", _huber, _huber_slope, {"delta": 1.0})


# -- likelihoods


def _large(target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    large = target > 1
    return large, np.where(large, target, 1)


def _poisson(x: np.ndarray, target: np.ndarray, *, log_input: bool, full: bool, eps: float) -> np.ndarray:
    """Negative log likelihood of counts `target` of a Poisson distribution with mean `input`, or ``exp(input)``.

    ``exp(input) - target * input`` with `log_input`, else ``input - target * log(input + eps)``; with `full`,
    Stirling's approximation of ``log(target!)`` is added for targets above 1.
    """
    each = np.exp(x) - target * x if log_input else x - target * np.log(x + eps)
    if full:
        large, t = _large(target)
        each = each + np.where(large, t * np.log(t) - t + 0.5 * np.log(2 * math.pi * t), 0)
    return np.asarray(each)


def _poisson_input(
    g: np.ndarray, x: np.ndarray, target: np.ndarray, *, log_input: bool, full: bool, eps: float
) -> np.ndarray:
    return np.asarray(g * (np.exp(x) - target if log_input else 1 - target / (x + eps)))


def _poisson_target(
    g: np.ndarray, x: np.ndarray, target: np.ndarray, *, log_input: bool, full: bool, eps: float
) -> np.ndarray:
    slope = -x if log_input else -np.log(x + eps)
    if full:
        large, t = _large(target)
        slope = slope + np.where(large, np.log(t) + 0.5 / t, 0)
    return np.asarray(g * slope)


def _poisson_row(there: Any, *, log_input: bool, full: bool) -> str:
    return f"poisson{'_log' if log_input else ''}{'_full' if full else ''}"


poisson_nll_loss = loss(
    "poisson_nll_loss",
    _poisson,
    {"input": _poisson_input, "target": _poisson_target},
    row=_poisson_row,
    attributes={"log_input": True, "full": False},
    cells={"eps": 1e-8},
    domain={"input": (0.1, 2.0), "target": (0.1, 3.0)},
    cases=[{"*": (5, 6), "log_input": a, "full": b} for a in (False, True) for b in (False, True)],
)


def _gaussian(x: np.ndarray, target: np.ndarray, var: np.ndarray, *, full: bool, eps: float) -> np.ndarray:
    """Negative log likelihood of `target` of normal distributions with mean `input` and variance `var`.

    ``(log(v) + (input - target)**2 / v) / 2`` with ``v = max(var, eps)``; with `full`, ``log(2 pi) / 2`` is added.
    """
    v = np.maximum(var, eps)
    each = 0.5 * (np.log(v) + np.square(x - target) / v)
    return np.asarray(each + 0.5 * math.log(2 * math.pi) if full else each)


def _gaussian_input(
    g: np.ndarray, x: np.ndarray, target: np.ndarray, var: np.ndarray, *, full: bool, eps: float
) -> np.ndarray:
    return np.asarray(g * (x - target) / np.maximum(var, eps))


def _gaussian_var(
    g: np.ndarray, x: np.ndarray, target: np.ndarray, var: np.ndarray, *, full: bool, eps: float
) -> np.ndarray:
    v = np.maximum(var, eps)
    return np.asarray(0.5 * g * (1 - np.square(x - target) / v) / v)


gaussian_nll_loss = loss(
    "gaussian_nll_loss",
    _gaussian,
    {"input": _gaussian_input, "target": lambda *args, **given: -_gaussian_input(*args, **given), "var": _gaussian_var},
    row=lambda there, *, full: "gaussian_full" if full else "gaussian",
    shapes="input:(*) target:(*) var:(*)",
    attributes={"full": False},
    cells={"eps": 1e-6},
    domain={"var": (0.1, 2.0)},
    cases=[{**case, "full": True} for case in CASES],
)
