"""Dropout under the names that torch has beside those in ``nn.functional``; ``NAME_`` overwrites its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.nn.functional.dropout import drop
from fastnn.tensor import Tensor


def _named(name: str, *, features: bool = False, alpha: bool = False, inplace: bool = False) -> Callable[..., Tensor]:
    def function(input: Any, p: float, train: bool) -> Tensor:
        return drop(name, input, p, train, inplace, features=features, alpha=alpha)

    function.__name__ = function.__qualname__ = name
    plain = "dropout" if not features or alpha else "dropout2d"
    plain = f"{'feature_' if features and alpha else ''}{'alpha_' if alpha else ''}{plain}"
    function.__doc__ = f"As `nn.functional.{plain}`{', in place' if inplace else ''}; p and train must be given."
    return function


dropout, dropout_ = _named("dropout"), _named("dropout_", inplace=True)
alpha_dropout, alpha_dropout_ = _named("alpha_dropout", alpha=True), _named("alpha_dropout_", alpha=True, inplace=True)
feature_dropout = _named("feature_dropout", features=True)
feature_dropout_ = _named("feature_dropout_", features=True, inplace=True)
feature_alpha_dropout = _named("feature_alpha_dropout", features=True, alpha=True)
feature_alpha_dropout_ = _named("feature_alpha_dropout_", features=True, alpha=True, inplace=True)

__all__ = [
    "alpha_dropout",
    "alpha_dropout_",
    "dropout",
    "dropout_",
    "feature_alpha_dropout",
    "feature_alpha_dropout_",
    "feature_dropout",
    "feature_dropout_",
]
