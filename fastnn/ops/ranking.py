"""Losses with a margin, element by element."""

from __future__ import annotations

import numpy as np

from fastnn.ops.activation import stable_sigmoid
from fastnn.ops.terms import loss


def _hinge(x: np.ndarray, target: np.ndarray, *, margin: float) -> np.ndarray:
    """`input` where the target is 1, ``max(margin - input, 0)`` where it is -1, their sum elsewhere; reduced."""
    return np.where(target != -1, x, 0) + np.where(target != 1, np.maximum(margin - x, 0), 0)


def _hinge_input(g: np.ndarray, x: np.ndarray, target: np.ndarray, *, margin: float) -> np.ndarray:
    return np.where(target != -1, g, 0) - np.where((target != 1) & (margin - x >= 0), g, 0)


hinge_embedding_loss = loss(
    "hinge_embedding_loss",
    _hinge,
    {"input": _hinge_input},
    row=lambda there: "hinge",
    cells={"margin": 1.0},
    domain={"target": (1.0, 1.0)},
    cases=[{"*": (5, 6), "margin": 0.3}],
)


def _cosine(x: np.ndarray, target: np.ndarray, *, margin: float) -> np.ndarray:
    """Of cosines: ``1 - input`` where the target is 1, ``max(input - margin, 0)`` where it is -1; reduced."""
    return np.where(target == 1, 1 - x, np.where(target == -1, np.maximum(x - margin, 0), 0))


def _cosine_input(g: np.ndarray, x: np.ndarray, target: np.ndarray, *, margin: float) -> np.ndarray:
    return np.where(target == 1, -g, np.where((target == -1) & (x - margin >= 0), g, 0))


cosine_margin_loss = loss(
    "cosine_margin_loss",
    _cosine,
    {"input": _cosine_input},
    row=lambda there: "cosine",
    cells={"margin": 0.0},
    domain={"target": (-1.0, -1.0)},
    cases=[{"*": (5, 6), "margin": 0.3}],
)


def _soft_margin(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``log(1 + exp(-target * input))``, without overflow, reduced."""
    return np.logaddexp(0, -target * x)


soft_margin_loss = loss(
    "soft_margin_loss",
    _soft_margin,
    {
        "input": lambda g, x, target: g * -target * stable_sigmoid(-target * x),
        "target": lambda g, x, target: g * -x * stable_sigmoid(-target * x),
    },
    row=lambda there: "soft_margin",
)


def _ranking(x: np.ndarray, y: np.ndarray, target: np.ndarray, *, margin: float) -> np.ndarray:
    """``max(margin - target * (input1 - input2), 0)``, reduced."""
    return np.maximum(margin - target * (x - y), 0)


def _active(g: np.ndarray, x: np.ndarray, y: np.ndarray, target: np.ndarray, *, margin: float) -> np.ndarray:
    return np.where(margin - target * (x - y) >= 0, g, 0)


margin_ranking_loss = loss(
    "margin_ranking_loss",
    _ranking,
    {
        "input1": lambda g, x, y, target, margin: _active(g, x, y, target, margin=margin) * -target,
        "input2": lambda g, x, y, target, margin: _active(g, x, y, target, margin=margin) * target,
        "target": lambda g, x, y, target, margin: _active(g, x, y, target, margin=margin) * (y - x),
    },
    row=lambda there: "ranking",
    shapes="input1:(*) input2:(*) target:(*)",
    cells={"margin": 0.0},
    cases=[{"*": (5, 6), "margin": 0.7}],
)
