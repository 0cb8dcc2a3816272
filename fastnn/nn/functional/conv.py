"""Convolutions under torch's names and arguments."""

from __future__ import annotations

from typing import Any

from fastnn import ops
from fastnn.errors import ShapeError
from fastnn.ops.convolution.geometry import same_padding
from fastnn.tensor import Tensor, as_tensor


def batched(name: str, input: Any, axes: int) -> tuple[Tensor, bool]:
    """The input (N, C, ...), and whether it came without N."""
    x = as_tensor(input)
    if x.ndim not in (axes + 1, axes + 2):
        raise ShapeError(f"{name}: input must have {axes + 1} or {axes + 2} axes, got shape {x.shape}")
    return (x, False) if x.ndim == axes + 2 else (x.reshape((1, *x.shape)), True)


def unbatched(y: Tensor, single: bool) -> Tensor:
    """A result without N, where the input came so."""
    return y.reshape(y.shape[1:]) if single else y


def _conv(
    axes: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:  # fmt: skip
    name = f"conv{axes}d"
    x, single = batched(name, input, axes)
    w = as_tensor(weight)
    if w.ndim != axes + 2:
        raise ShapeError(f"{name}: weight must have {axes + 2} axes, got shape {w.shape}")
    if isinstance(padding, str):
        padding = same_padding(name, padding, w.shape[2:], stride, dilation)
    return unbatched(ops.conv(x, w, bias, stride, padding, dilation, groups), single)


def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Tensor:
    """Convolve (N, C, L) or (C, L) with a weight (O, C / groups, taps).

    Parameters
    ----------
    bias : (O,) or None.
    stride, dilation : a number, or one for each axis.
    padding : zeros on both sides, a number or one for each axis; ``"valid"`` for none, ``"same"`` for as many as keep
        the extents (stride 1 only; where their number is odd, one more at the end).
    groups : into how many groups the channels fall, each with weights of its own.

    Returns
    -------
    (N, O, L') or (O, L'); in memory the channels come last.
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Tensor:
    """Convolve (N, C, H, W) or (C, H, W) with a weight (O, C / groups, taps, taps); see `conv1d`."""
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Tensor:
    """Convolve (N, C, D, H, W) or (C, D, H, W) with a weight (O, C / groups, taps, taps, taps); see `conv1d`."""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    axes: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int,
    dilation: Any,
) -> Tensor:  # fmt: skip
    name = f"conv_transpose{axes}d"
    x, single = batched(name, input, axes)
    w = as_tensor(weight)
    if w.ndim != axes + 2:
        raise ShapeError(f"{name}: weight must have {axes + 2} axes, got shape {w.shape}")
    return unbatched(ops.conv_transpose(x, w, bias, stride, padding, dilation, groups, output_padding), single)


def conv_transpose1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """The transpose of a convolution: (N, C, L) or (C, L) with a weight (C, O / groups, taps).

    Parameters
    ----------
    bias, stride, dilation, groups : as for `conv1d`.
    padding : what the convolution would add to its input, and the result is shorter by.
    output_padding : elements more at the end of each axis; less than stride or dilation.
    """
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """As `conv_transpose1d`, for (N, C, H, W) or (C, H, W)."""
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """As `conv_transpose1d`, for (N, C, D, H, W) or (C, D, H, W)."""
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
