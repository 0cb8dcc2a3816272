"""Swapping fastnn's estimators in for scikit-learn's in somebody else's program."""

from __future__ import annotations

from typing import Any

from sklearn import neural_network

NAMES = ("BernoulliRBM", "MLPClassifier", "MLPRegressor")
_originals: dict[str, Any] = {}


def patch() -> None:
    """Let `sklearn.neural_network` give fastnn's estimators, to whoever imports them from now on.

    They are subclasses of scikit-learn's own. Where a program asks for what they cannot do, scikit-learn's arithmetic
    serves, and a warning says so once.
    """
    import fastnn.sklearn as own

    for name in NAMES:
        _originals.setdefault(name, getattr(neural_network, name))
        setattr(neural_network, name, getattr(own, name))


def unpatch() -> None:
    """Let `sklearn.neural_network` give scikit-learn's own estimators again."""
    for name, original in _originals.items():
        setattr(neural_network, name, original)
    _originals.clear()


__all__ = ["patch", "unpatch"]
