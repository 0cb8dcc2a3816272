"""Affine maps."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy.typing as npt

from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter, uniform
from fastnn.ops import linear
from fastnn.tensor import Tensor


class Linear(Module):
    """``y = x @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : sizes of x's and y's last axis.
    bias : whether to add one.
    dtype : float32 (default) or float64.

    Attributes
    ----------
    weight : (out_features, in_features), from U(-1/sqrt(in_features), 1/sqrt(in_features)). In memory the inputs
        come first, so that neither the forward pass nor the weight's gradient transposes anything.
    bias : (out_features), likewise.

    Shapes: x (*, in_features) -> y (*, out_features).
    """

    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None,
        dtype: npt.DTypeLike | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        try:
            in_features, out_features = operator.index(in_features), operator.index(out_features)
        except TypeError:
            raise TypeError(f"Linear: features must be integers, got {in_features!r} and {out_features!r}") from None
        if in_features < 0 or out_features < 0:
            raise ValueError(f"Linear: features must not be negative, got {in_features} and {out_features}")
        self.in_features = in_features
        self.out_features = out_features
        bound = 1 / math.sqrt(in_features) if in_features else 0.0
        self.weight = uniform((out_features, in_features), bound, dtype, transposed=True)
        if bias:
            self.bias = uniform((out_features,), bound, dtype)
        else:
            self.register_parameter("bias", None)

    def forward(self, input: Any) -> Tensor:
        """Apply the map to the last axis."""
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes, as torch words them."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Identity(Module):
    """Gives its input back; takes and ignores any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        """The input."""
        return input


__all__ = ["Identity", "Linear"]
