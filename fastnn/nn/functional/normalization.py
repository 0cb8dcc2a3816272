"""Normalisation under torch's names and arguments."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn import ops
from fastnn.autograd import no_grad
from fastnn.errors import ArgumentError, ShapeError
from fastnn.functions.arguments import floats_of
from fastnn.nn.functional.shape import pad
from fastnn.tensor import Tensor, as_tensor


def normalized(name: str, shape: Any) -> tuple[int, ...]:
    """Extents of the axes that are normalised: an integer or some."""
    try:
        extents = tuple(operator.index(n) for n in (shape if isinstance(shape, Sequence) else (shape,)))
    except TypeError:
        raise TypeError(f"{name}: normalized_shape must be an integer or integers, got {shape!r}") from None
    return extents


def _over_last(name: str, input: Any, normalized_shape: Any) -> tuple[Tensor, int]:
    """The input and how many of its axes are normalised."""
    x, shape = floats_of(name, input), normalized(name, normalized_shape)
    if not shape:
        raise ArgumentError(f"{name}: normalized_shape must have at least one axis, got {shape}")
    if x.shape[-len(shape) :] != shape:
        wanted = ", ".join(map(str, ("*", *shape)))
        raise ShapeError(f"{name}: input must have shape ({wanted}), as normalized_shape says, got {x.shape}")
    return x, len(shape)


def layer_norm(
    input: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """``(x - mean) / sqrt(variance + eps) * weight + bias``, the moments taken over the last axes.

    Ba, Kiros, Hinton, "Layer Normalization", 2016.

    Parameters
    ----------
    input : (*, normalized_shape), float32 or float64.
    normalized_shape : extents of the axes that are normalised, or the last one's.
    weight, bias : of that shape, or None.
    eps : added to the variance, which divides by n.

    Raises
    ------
    ShapeError : shapes do not go together. DTypeError : dtypes do not, or `input` holds integers.
    """
    x, axes = _over_last("layer_norm", input, normalized_shape)
    result: Tensor = ops.layer_norm(x, weight, bias, axes, eps)
    return result


def rms_norm(input: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Tensor:
    """``x / sqrt(mean(x * x) + eps) * weight``, the mean taken over the last axes.

    Zhang, Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019. Arguments and errors as `layer_norm`; `eps`
    None is the machine epsilon of the input's dtype.
    """
    x, axes = _over_last("rms_norm", input, normalized_shape)
    result: Tensor = ops.rms_norm(x, weight, axes, float(np.finfo(x.dtype).eps) if eps is None else eps)
    return result


def _image(name: str, input: Any) -> Tensor:
    x = floats_of(name, input)
    if x.ndim < 2:
        raise ShapeError(f"{name}: input must have at least 2 axes, (N, C, *), got shape {x.shape}")
    return x


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Normalise each sample's groups of channels by their own moments.

    Wu, He, "Group Normalization", ECCV 2018.

    Parameters
    ----------
    input : (N, C, *), channels side by side in memory (channels last) or space.
    num_groups : a divisor of C.
    weight, bias : (C,), or None.
    eps : added to the variance, which divides by n.

    Raises
    ------
    ShapeError : shapes do not go together. ValueError : a group has one value.
    """
    x = _image("group_norm", input)
    if num_groups > 0 and x.shape[1] % num_groups == 0:
        _check_values("group_norm", x, x.shape[0] * x.shape[1] // num_groups * math.prod(x.shape[2:]))
    result: Tensor = ops.group_norm(x, weight, bias, num_groups, eps)
    return result


def _check_values(name: str, x: Tensor, count: int) -> None:
    if count == 1:
        raise ValueError(
            f"{name}: batch statistics need more than 1 value per channel when training, got input of shape {x.shape}"
        )


def _check_running(name: str, x: Tensor, **running: Tensor | None) -> None:
    for what, values in running.items():
        if values is not None and values.shape != (x.shape[1],):
            raise ShapeError(
                f"{name}: {what} must have shape ({x.shape[1]},) to match input {x.shape}, got {values.shape}"
            )


def _move(running: Tensor | None, value: Tensor, momentum: Any) -> None:
    """Move a running statistic towards a batch's, in place."""
    if running is not None:
        ops.lerp(running, value, momentum, out=running)


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel by its moments over samples and space, or by running moments.

    Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
    ICML 2015.

    Parameters
    ----------
    input : (N, C, *), channels side by side in memory (channels last) or space.
    running_mean, running_var : (C,), or None. While `training` they move towards the batch's mean and variance (that
        divides by n - 1), in place; else they serve as the moments.
    weight, bias : (C,), or None.
    training : whether the batch's own moments serve, with a variance that divides by n.
    momentum : how far the running moments move, a number or a Tensor without axes.
    eps : added to the variance.

    Raises
    ------
    ShapeError : shapes do not go together. ValueError : `training` with one value per channel; `eps` is not positive.
    ArgumentError : running moments are missing where they have to serve.
    """
    return _batch_normalised(input, running_mean, running_var, weight, bias, training, momentum, eps, relu=False)


def batch_norm_relu(
    input: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, training: bool, momentum: Any, eps: float
) -> Tensor:
    """``relu(batch_norm(...))`` in the same bits, arguments and errors as there.

    In training both are one op: memory is walked less often, and only the input is kept for the backward pass.
    """
    return _batch_normalised(input, running_mean, running_var, weight, bias, training, momentum, eps, relu=True)


def _batch_normalised(
    input: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, training: bool, momentum: Any, eps: float,
    *, relu: bool,
) -> Tensor:  # fmt: skip
    if eps <= 0:
        raise ValueError(f"batch_norm: eps must be positive, got {eps}")
    x = floats_of("batch_norm", input)
    if x.shape == (0,):
        return x.clone()  # an empty batch, as in torch
    x = _image("batch_norm", x)
    mean, variance = (None if r is None else as_tensor(r) for r in (running_mean, running_var))
    _check_running("batch_norm", x, running_mean=mean, running_var=variance)
    if not training:
        if mean is None or variance is None:
            raise ArgumentError("batch_norm: running_mean and running_var must be given where training is False")
        result: Tensor = ops.batch_norm_inference(x, mean, variance, weight, bias, eps)
        return ops.relu(result) if relu else result
    _check_values("batch_norm", x, x.shape[0] * math.prod(x.shape[2:]))
    y, own_mean, own_variance = (ops.batch_norm_relu if relu else ops.batch_norm)(x, weight, bias, eps)
    if x.numel():
        with no_grad():
            _move(mean, own_mean, momentum)
            _move(variance, own_variance, momentum)
    normal: Tensor = y
    return normal


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each sample's channels by their own moments over space, or by running moments.

    Ulyanov, Vedaldi, Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization", 2016. Arguments
    as for `batch_norm`; running moments move towards the means of the samples' ones.

    Raises
    ------
    ShapeError : shapes do not go together. ValueError : moments of one value.
    ArgumentError : running moments are missing where they have to serve.
    """
    x = _image("instance_norm", input)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ArgumentError(
                "instance_norm: running_mean and running_var must be given where use_input_stats is False"
            )
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    if math.prod(x.shape[2:]) == 1:
        raise ValueError(
            f"instance_norm: more than 1 spatial element is needed when training, got input of shape {x.shape}"
        )
    mean, variance = (None if r is None else as_tensor(r) for r in (running_mean, running_var))
    _check_running("instance_norm", x, running_mean=mean, running_var=variance)
    result: Tensor = ops.group_norm(x, weight, bias, max(x.shape[1], 1), eps)
    if x.numel() and not (mean is None and variance is None):
        space = tuple(range(2, x.ndim))
        with no_grad():
            _move(mean, ops.mean(ops.mean(x, space), 0), momentum)
            _move(variance, ops.mean(ops.var(x, space, 1.0), 0), momentum)
    return result


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """``x / (k + alpha * a) ** beta``, where a is the mean of the squares of `size` neighbouring channels.

    Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NeurIPS 2012.
    Channels beyond the first and the last count as 0.

    Parameters
    ----------
    input : (N, C, *), at least 3 axes.
    size : channels that are looked at: ``size // 2`` before, ``(size - 1) // 2`` after.

    Raises
    ------
    ShapeError : fewer axes. ValueError : `size` is not positive.
    """
    x = floats_of("local_response_norm", input)
    if x.ndim < 3:
        raise ShapeError(f"local_response_norm: input must have at least 3 axes, (N, C, *), got shape {x.shape}")
    if size < 1:
        raise ValueError(f"local_response_norm: size must be positive, got {size}")
    if not x.numel():
        return x
    squares = pad(x * x, [0, 0] * (x.ndim - 2) + [size // 2, (size - 1) // 2])
    scale = (squares.unfold(1, size, 1).mean(-1) * alpha + k) ** beta
    return x / scale
