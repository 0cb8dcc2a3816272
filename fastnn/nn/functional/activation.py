"""Activations under torch's names and arguments. `inplace` overwrites the input, on the tape or past it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import ops
from fastnn._runtime.tensor import is_grad_enabled
from fastnn.errors import GraphError, ShapeError
from fastnn.tensor import Tensor, as_tensor


def applied(op: Any, input: Any, inplace: bool, *given: float) -> Tensor:
    """An op of elements with its hyper-parameters, in place or not."""
    if not inplace:
        return op(input, *given)
    x = as_tensor(input)
    if is_grad_enabled() and x.requires_grad:
        if x.is_leaf:
            raise GraphError("a leaf Tensor that requires grad cannot be changed in place; do it under no_grad()")
        x._become(op(x, *given))
    else:
        op(x.array, *given, out=x.array)
        x._touch()
    return x


# -- straight lines


def relu(input: Any, inplace: bool = False) -> Tensor:
    """``max(input, 0)``. NaN stays NaN."""
    return applied(ops.relu, input, True) if inplace else ops.relu(input)


def relu6(input: Any, inplace: bool = False) -> Tensor:
    """``min(max(input, 0), 6)``."""
    return applied(ops.relu6, input, inplace)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """``min(max(input, min_val), max_val)``; ValueError where `min_val` is above `max_val`."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val must not be above max_val, got {min_val} and {max_val}")
    return applied(ops.hardtanh, input, inplace, min_val, max_val)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """`input` where it is above `threshold`, else `value`."""
    return applied(ops.threshold, input, inplace, threshold, value)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """`input` above zero, ``negative_slope * input`` below."""
    return applied(ops.leaky_relu, input, inplace, negative_slope)


def prelu(input: Any, weight: Any) -> Tensor:
    """`input` above zero, ``weight * input`` below.

    Shapes: input (N, C, *) with weight (C) or (1), any shape with weight () or (1).
    """
    x, slope = as_tensor(input), as_tensor(weight)
    if slope.ndim > 1:
        raise ShapeError(f"prelu: weight must have at most 1 axis, got {slope.shape}")
    if slope.ndim == 1 and slope.numel() != 1:
        channels = x.shape[1] if x.ndim > 1 else 1
        if slope.numel() != channels:
            raise ShapeError(f"prelu: weight must have shape ({channels},) or (1,), got {slope.shape}")
        slope = slope.reshape(-1, *(1 for _ in x.shape[2:]))
    elif slope.ndim > x.ndim:
        slope = slope.reshape(())
    return ops.prelu(x, slope)


def rrelu(
    input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """`input` above zero, a slope times it below: the mean of `lower` and `upper`, or in training a random one.

    In training each element draws its slope evenly from `lower` to `upper`. Xu et al., "Empirical Evaluation of
    Rectified Activations in Convolutional Network", arXiv:1505.00853.
    """
    if lower > upper:
        raise ValueError(f"rrelu: lower must not be above upper, got {lower} and {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    x = as_tensor(input)
    slopes = as_tensor(np.empty(x.shape, x.dtype)).uniform_(lower, upper)
    if not inplace:
        return ops.prelu(x, slopes)
    return applied(lambda y, **out: ops.prelu(y, slopes if isinstance(y, Tensor) else slopes.array, **out), x, True)


def hardsigmoid(input: Any, inplace: bool = False) -> Tensor:
    """``min(max(input + 3, 0), 6) / 6``."""
    return applied(ops.hardsigmoid, input, inplace)


def hardswish(input: Any, inplace: bool = False) -> Tensor:
    """``input * min(max(input + 3, 0), 6) / 6``."""
    return applied(ops.hardswish, input, inplace)


def hardshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """`input`, but 0 from ``-lambd`` to ``lambd``."""
    return ops.hardshrink(input, lambd)


def softshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """`input` moved towards 0 by `lambd`, but not past it; ValueError for a negative `lambd`."""
    if lambd < 0:
        raise ValueError(f"softshrink: lambd must not be negative, got {lambd}")
    return ops.softshrink(input, lambd)


# -- exponentials


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """`input` above zero, ``alpha * (exp(input) - 1)`` below."""
    return applied(ops.elu, input, inplace, alpha)


def selu(input: Any, inplace: bool = False) -> Tensor:
    """1.0507 times `elu` with alpha 1.6733, which keep mean 0 and variance 1."""
    return applied(ops.selu, input, inplace)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """`input` above zero, ``alpha * (exp(input / alpha) - 1)`` below; ValueError for an `alpha` of 0."""
    if alpha == 0:
        raise ValueError("celu: alpha must not be 0")
    return applied(ops.celu, input, inplace, alpha)


def tanh(input: Any) -> Tensor:
    """Hyperbolic tangent."""
    return ops.tanh(input)


def sigmoid(input: Any) -> Tensor:
    """``1 / (1 + exp(-input))``."""
    return ops.sigmoid(input)


def logsigmoid(input: Any) -> Tensor:
    """``log(1 / (1 + exp(-input)))``."""
    return ops.logsigmoid(input)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + exp(beta * input)) / beta``, but `input` where ``beta * input`` is above `threshold`."""
    return ops.softplus(input, beta, threshold)


def softsign(input: Any) -> Tensor:
    """``input / (1 + abs(input))``."""
    return ops.softsign(input)


def tanhshrink(input: Any) -> Tensor:
    """``input - tanh(input)``."""
    return ops.tanhshrink(input)


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """``input`` times the normal distribution up to it, or ``approximate="tanh"``'s form of that.

    Raises
    ------
    ValueError : `approximate` is neither ``"none"`` nor ``"tanh"``.
    """
    return ops.gelu(input, approximate=approximate)


def silu(input: Any, inplace: bool = False) -> Tensor:
    """``input * sigmoid(input)``."""
    return applied(ops.silu, input, inplace)


def mish(input: Any, inplace: bool = False) -> Tensor:
    """``input * tanh(log(1 + exp(input)))``."""
    return applied(ops.mish, input, inplace)


def glu(input: Any, dim: int = -1) -> Tensor:
    """The first half of `input` along `dim` times the sigmoid of the second half."""
    return ops.glu(input, axis=dim)


# -- softmax


def _softmax_dim(name: str, input: Any, dim: int | None) -> int:
    """The axis that was asked for, or with a warning the one that torch takes where none was."""
    if dim is not None:
        return dim
    warnings.warn(f"{name}: dim is missing; say along which axis the probabilities add up to 1", stacklevel=3)
    return 0 if np.ndim(input) in (0, 1, 3) else 1


def _converted(input: Any, dtype: npt.DTypeLike | None) -> Any:
    return input if dtype is None else as_tensor(input).to(dtype)


def softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: npt.DTypeLike | None = None) -> Tensor:
    """``exp(input) / sum(exp(input))`` along `dim`, of `input` converted to `dtype` if that is given."""
    return ops.softmax(_converted(input, dtype), axis=_softmax_dim("softmax", input, dim))


def softmin(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Softmax of ``-input``."""
    return ops.softmax(ops.negative(_converted(input, dtype)), axis=_softmax_dim("softmin", input, dim))


def log_softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Logarithm of the softmax along `dim`, of `input` converted to `dtype` if that is given."""
    return ops.log_softmax(_converted(input, dtype), axis=_softmax_dim("log_softmax", input, dim))


# -- in place, under names of their own


def relu_(input: Any) -> Tensor:
    """As `relu`, in place."""
    return relu(input, True)


def hardtanh_(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """As `hardtanh`, in place."""
    return hardtanh(input, min_val, max_val, True)


def threshold_(input: Any, threshold: float, value: float) -> Tensor:
    """As `threshold`, in place."""
    return applied(ops.threshold, input, True, threshold, value)


def leaky_relu_(input: Any, negative_slope: float = 0.01) -> Tensor:
    """As `leaky_relu`, in place."""
    return leaky_relu(input, negative_slope, True)


def rrelu_(input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """As `rrelu`, in place."""
    return rrelu(input, lower, upper, training, True)


def elu_(input: Any, alpha: float = 1.0) -> Tensor:
    """As `elu`, in place."""
    return elu(input, alpha, True)


def selu_(input: Any) -> Tensor:
    """As `selu`, in place."""
    return selu(input, True)


def celu_(input: Any, alpha: float = 1.0) -> Tensor:
    """As `celu`, in place."""
    return celu(input, alpha, True)


__all__ = [
    "celu",
    "celu_",
    "elu",
    "elu_",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rrelu",
    "rrelu_",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
]
