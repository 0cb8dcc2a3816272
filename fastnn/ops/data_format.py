"""Convolutions of a given number of axes, with the channels where the caller has them."""

from __future__ import annotations

from typing import Any

from fastnn.errors import ShapeError
from fastnn.ops.convolution import conv
from fastnn.ops.convolution.geometry import same_padding
from fastnn.ops.views import moveaxis

FORMATS = ("channels_first", "channels_last")


def _conv(
    axes: int, x: Any, w: Any, b: Any, stride: Any, padding: Any, dilation: Any, groups: int, data_format: str
) -> Any:
    name = f"conv{axes}d"
    if data_format not in FORMATS:
        raise ValueError(f"{name}: data_format must be one of {', '.join(FORMATS)}, got {data_format!r}")
    for what, array in (("x", x), ("w", w)):
        if not hasattr(array, "ndim"):
            raise TypeError(f"{name}: {what} must be an array or a Tensor, got {type(array).__name__}")
        if array.ndim != axes + 2:
            raise ShapeError(f"{name}: {what} must have {axes + 2} axes, got shape {tuple(array.shape)}")
    if isinstance(padding, str):
        padding = same_padding(name, padding, tuple(w.shape[2:]), stride, dilation)
    last = data_format == "channels_last"
    y = conv(moveaxis(x, -1, 1) if last else x, w, b, stride, padding, dilation, groups)
    return moveaxis(y, 1, -1) if last else y


def conv1d(
    x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    data_format: str = "channels_first",
) -> Any:  # fmt: skip
    """Convolve (N, C, L), or (N, L, C) with ``data_format="channels_last"``; arrays give arrays, Tensors Tensors.

    Parameters
    ----------
    x : in either format. Channels lie last inside, so that an array (N, L, C) is taken where it lies, and the result
        in that format has no gaps.
    w : (O, C / groups, taps), whatever the format.
    b : (O,) or None.
    stride, dilation : a number, or one for each axis.
    padding : zeros on both sides, a number, or one or a pair for each axis; ``"valid"`` or ``"same"``.
    groups : into how many groups the channels fall, each with weights of its own.
    data_format : ``"channels_first"`` or ``"channels_last"``, of `x` and of the result.

    Raises
    ------
    ValueError : an unknown format. TypeError, ShapeError : operands that do not go together.
    """
    return _conv(1, x, w, b, stride, padding, dilation, groups, data_format)


def conv2d(
    x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    data_format: str = "channels_first",
) -> Any:  # fmt: skip
    """As `conv1d`, for (N, C, H, W) or (N, H, W, C), with a weight (O, C / groups, taps, taps)."""
    return _conv(2, x, w, b, stride, padding, dilation, groups, data_format)


def conv3d(
    x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    data_format: str = "channels_first",
) -> Any:  # fmt: skip
    """As `conv1d`, for (N, C, D, H, W) or (N, D, H, W, C), with a weight (O, C / groups, taps, taps, taps)."""
    return _conv(3, x, w, b, stride, padding, dilation, groups, data_format)


__all__ = ["conv1d", "conv2d", "conv3d"]
