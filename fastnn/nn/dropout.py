"""Dropout as modules: at work while the module is in training mode, the identity otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from fastnn.nn import functional as F
from fastnn.nn.functional.dropout import check_probability
from fastnn.nn.module import Module
from fastnn.tensor import Tensor


class _Dropout(Module):
    """What these modules share.

    Parameters
    ----------
    p : probability with which an element (or channel) falls.
    inplace : whether the input is overwritten.
    """

    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_probability(type(self).__name__, p)
        self.p = p
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        """Apply in training mode; otherwise give the input."""
        return type(self).function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Zero each element with probability p, multiply the others by ``1 / (1 - p)``: see `functional.dropout`."""

    function = staticmethod(F.dropout)


class Dropout1d(_Dropout):
    """Zero whole channels of (N, C, L) or (C, L): see `functional.dropout1d`."""

    function = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """Zero whole channels of (N, C, H, W): see `functional.dropout2d`."""

    function = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """Zero whole channels of (N, C, D, H, W): see `functional.dropout3d`."""

    function = staticmethod(F.dropout3d)


class AlphaDropout(_Dropout):
    """Dropout that keeps the mean 0 and variance 1 of selu's results: see `functional.alpha_dropout`."""

    function = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """As `AlphaDropout`, for whole channels: see `functional.feature_alpha_dropout`."""

    function = staticmethod(F.feature_alpha_dropout)
