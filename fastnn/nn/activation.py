"""Activations as modules, with torch's arguments. They work element by element unless they say otherwise."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastnn.errors import ShapeError
from fastnn.nn import functional as F
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter
from fastnn.tensor import Tensor


class Activation(Module):
    """A function of a Tensor and of hyper-parameters, which are attributes of the same names."""

    _function: ClassVar[Callable[..., Tensor]]
    _options: ClassVar[tuple[str, ...]] = ()

    def forward(self, input: Any) -> Tensor:
        """Apply to any shape."""
        return type(self)._function(input, *[getattr(self, name) for name in self._options])

    def extra_repr(self) -> str:
        """The hyper-parameters; `inplace` where it is set."""
        shown = [n for n in self._options if n != "inplace" or getattr(self, n)]
        return ", ".join(f"{n}={getattr(self, n)!r}" for n in shown)


class InPlace(Activation):
    """An activation whose only option is to overwrite its input."""

    _options = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class ReLU(InPlace):
    """``max(x, 0)``."""

    _function = F.relu


class ReLU6(InPlace):
    """``min(max(x, 0), 6)``."""

    _function = F.relu6


class SELU(InPlace):
    """1.0507 times `ELU` with alpha 1.6733, which keep mean 0 and variance 1."""

    _function = F.selu


class SiLU(InPlace):
    """``x * sigmoid(x)``."""

    _function = F.silu


class Mish(InPlace):
    """``x * tanh(log(1 + exp(x)))``."""

    _function = F.mish


class Hardswish(InPlace):
    """``x * min(max(x + 3, 0), 6) / 6``."""

    _function = F.hardswish

    def extra_repr(self) -> str:
        """Nothing."""
        return ""


class Hardsigmoid(InPlace):
    """``min(max(x + 3, 0), 6) / 6``."""

    _function = F.hardsigmoid

    def extra_repr(self) -> str:
        """Nothing."""
        return ""


class Tanh(Activation):
    """Hyperbolic tangent."""

    _function = F.tanh


class Sigmoid(Activation):
    """``1 / (1 + exp(-x))``."""

    _function = F.sigmoid


class LogSigmoid(Activation):
    """``log(1 / (1 + exp(-x)))``."""

    _function = F.logsigmoid


class Softsign(Activation):
    """``x / (1 + abs(x))``."""

    _function = F.softsign


class Tanhshrink(Activation):
    """``x - tanh(x)``."""

    _function = F.tanhshrink


class GELU(Activation):
    """``x`` times the normal distribution up to x, or its tanh form."""

    _function = F.gelu
    _options = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate


class ELU(Activation):
    """``x`` above zero, ``alpha * (exp(x) - 1)`` below."""

    _function = F.elu
    _options = ("alpha", "inplace")

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace


class CELU(ELU):
    """``x`` above zero, ``alpha * (exp(x / alpha) - 1)`` below."""

    _function = F.celu


class LeakyReLU(Activation):
    """``x`` above zero, ``negative_slope * x`` below."""

    _function = F.leaky_relu
    _options = ("negative_slope", "inplace")

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace


class RReLU(Activation):
    """``x`` above zero, a slope times x below: random in training, the mean of `lower` and `upper` otherwise."""

    _function = F.rrelu
    _options = ("lower", "upper", "inplace")

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        """Apply to any shape."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class PReLU(Activation):
    """``x`` above zero, ``weight * x`` below; a weight for all, or one for each channel of (N, C, *).

    Parameters
    ----------
    num_parameters : 1, or the number of channels.
    init : what the weights start from.

    Attributes
    ----------
    weight : (num_parameters), trained.
    """

    _options = ("num_parameters",)

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: npt.DTypeLike | None = None
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(np.full(num_parameters, init, np.float32 if dtype is None else dtype))

    def reset_parameters(self) -> None:
        """Set all weights to `init`."""
        self.weight.detach().fill_(self.init)

    def forward(self, input: Any) -> Tensor:
        """Apply to (N, C, *), or to any shape with one weight."""
        return F.prelu(input, self.weight)


class Hardtanh(Activation):
    """``min(max(x, min_val), max_val)``; `min_value` and `max_value` are older names of the two."""

    _function = F.hardtanh
    _options = ("min_val", "max_val", "inplace")

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        if min_value is not None or max_value is not None:
            warnings.warn("Hardtanh: min_value and max_value are now min_val and max_val", FutureWarning, stacklevel=2)
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if not self.max_val > self.min_val:
            raise ValueError(f"Hardtanh: max_val must be above min_val, got {self.max_val} and {self.min_val}")


class Threshold(Activation):
    """``x`` where it is above `threshold`, else `value`."""

    _function = F.threshold
    _options = ("threshold", "value", "inplace")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace


class Softplus(Activation):
    """``log(1 + exp(beta * x)) / beta``, but x where ``beta * x`` is above `threshold`."""

    _function = F.softplus
    _options = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold


class Hardshrink(Activation):
    """``x``, but 0 from ``-lambd`` to ``lambd``."""

    _function = F.hardshrink
    _options = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        """The bound."""
        return str(self.lambd)


class Softshrink(Hardshrink):
    """``x`` moved towards 0 by `lambd`, but not past it."""

    _function = F.softshrink


# -- along an axis


class GLU(Activation):
    """The first half along `dim` times the sigmoid of the second."""

    _function = F.glu
    _options = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class Softmax(Activation):
    """``exp(x) / sum(exp(x))`` along `dim`."""

    _function = F.softmax
    _options = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim


class LogSoftmax(Softmax):
    """Logarithm of the softmax along `dim`."""

    _function = F.log_softmax


class Softmin(Softmax):
    """Softmax of ``-x`` along `dim`."""

    _function = F.softmin


class Softmax2d(Module):
    """Softmax over the channels of each place of an image, (N, C, H, W) or (C, H, W)."""

    def forward(self, input: Any) -> Tensor:
        """Apply along the third axis from the end."""
        if np.ndim(input) not in (3, 4):
            raise ShapeError(f"Softmax2d: input must have 3 or 4 axes, (N, C, H, W) or (C, H, W), got {input.shape}")
        return F.softmax(input, -3)


__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]
