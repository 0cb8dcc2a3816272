"""Affine maps."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy.typing as npt

from fastnn.nn.functional import bilinear
from fastnn.nn.init import uniform_
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter, unset
from fastnn.ops import linear
from fastnn.tensor import Tensor


def _sizes(layer: str, *features: Any) -> list[int]:
    """Numbers of features, checked."""
    words = " and ".join(map(repr, features))
    try:
        sizes = [operator.index(n) for n in features]
    except TypeError:
        raise TypeError(f"{layer}: features must be integers, got {words}") from None
    if min(sizes) < 0:
        raise ValueError(f"{layer}: features must not be negative, got {words}")
    return sizes


def _draw(bound: float, *parameters: Parameter | None) -> None:
    for parameter in parameters:
        if parameter is not None:
            uniform_(parameter, -bound, bound)


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
        in_features, out_features = _sizes("Linear", in_features, out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = unset((out_features, in_features), dtype, transposed=True)
        if bias:
            self.bias = unset((out_features,), dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
        _draw(bound, self.weight, self.bias)

    def forward(self, input: Any) -> Tensor:
        """Apply the map to the last axis."""
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes, as torch words them."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """``y[o] = sum over i and j of x1[i] * weight[o, i, j] * x2[j], plus bias[o]``.

    Parameters
    ----------
    in1_features, in2_features, out_features : sizes of the last axes of x1, x2 and y.
    bias : whether to add one.
    dtype : float32 (default) or float64.

    Attributes
    ----------
    weight : (out_features, in1_features, in2_features), from U(-1/sqrt(in1_features), 1/sqrt(in1_features)).
    bias : (out_features), likewise.

    Shapes: x1 (*, in1_features), x2 (*, in2_features) -> y (*, out_features).
    """

    bias: Parameter | None

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, device: Any = None,
        dtype: npt.DTypeLike | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes = _sizes("Bilinear", in1_features, in2_features, out_features)
        if sizes[0] == 0:
            raise ValueError("Bilinear: in1_features must be positive, got 0")
        self.in1_features, self.in2_features, self.out_features = sizes
        self.weight = unset((sizes[2], sizes[0], sizes[1]), dtype)
        if bias:
            self.bias = unset((sizes[2],), dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        _draw(1 / math.sqrt(self.in1_features), self.weight, self.bias)

    def forward(self, input1: Any, input2: Any) -> Tensor:
        """Apply the map to the last axes."""
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes, as torch words them."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Identity(Module):
    """Gives its input back; takes and ignores any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        """The input."""
        return input


__all__ = ["Bilinear", "Identity", "Linear"]
