"""Pooling under torch's names and arguments."""

from __future__ import annotations

import math
from typing import Any

from fastnn import functions, ops
from fastnn._numpy_views import integer
from fastnn.errors import ShapeError
from fastnn.functions.creation import zeros
from fastnn.nn.functional.conv import batched, unbatched
from fastnn.tensor import Tensor


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (tuple, list)) else value


def _stride(stride: Any) -> Any:
    """None for the window's extent, which an empty sequence means too."""
    return None if stride is None or (isinstance(stride, (tuple, list)) and not stride) else _plain(stride)


def _max(
    axes: int, input: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    return_indices: bool,
) -> Any:  # fmt: skip
    x, single = batched(f"max_pool{axes}d", input, axes)
    options = _plain(kernel_size), _stride(stride), _plain(padding), _plain(dilation), bool(ceil_mode)
    if return_indices:
        return _with_places(ops.max_pool_at(x, *options), single)
    return unbatched(ops.max_pool(x, *options), single)


def _with_places(found: tuple[Tensor, Tensor], single: bool) -> tuple[Tensor, Tensor]:
    y, places = found
    return unbatched(y, single), unbatched(places, single)


def max_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window of (N, C, L) or (C, L).

    Parameters
    ----------
    kernel_size, stride, dilation : of the windows, a number or one for each axis; by default they lie side by side.
    padding : on both sides, at most half a window; what is there is never the largest.
    ceil_mode : whether the last window may reach over the end.
    return_indices : give the places of the elements too, counted over all places of an image.
    """
    return _max(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """As `max_pool1d`, for (N, C, H, W) or (C, H, W)."""
    return _max(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """As `max_pool1d`, for (N, C, D, H, W) or (C, D, H, W)."""
    return _max(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _avg(
    axes: int, input: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool,
    divisor: Any,
) -> Tensor:  # fmt: skip
    x, single = batched(f"avg_pool{axes}d", input, axes)
    made = ops.avg_pool(
        x, _plain(kernel_size), _stride(stride), _plain(padding), bool(ceil_mode), bool(count_include_pad), divisor
    )
    return unbatched(made, single)


def avg_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """The mean of each window of (N, C, L) or (C, L); see `max_pool1d`.

    `count_include_pad` : whether the zeros of the padding count.
    """
    return _avg(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """As `avg_pool1d`, for (N, C, H, W) or (C, H, W); `divisor_override` takes the place of the number of elements."""
    return _avg(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """As `avg_pool2d`, for (N, C, D, H, W) or (C, D, H, W)."""
    return _avg(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _adaptive_max(axes: int, input: Any, output_size: Any, return_indices: bool) -> Any:
    x, single = batched(f"adaptive_max_pool{axes}d", input, axes)
    if return_indices:
        return _with_places(ops.adaptive_max_pool_at(x, _plain(output_size)), single)
    return unbatched(ops.adaptive_max_pool(x, _plain(output_size)), single)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of `output_size` windows of (N, C, L) or (C, L)."""
    return _adaptive_max(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """As `adaptive_max_pool1d`, for two axes; None keeps an axis' extent."""
    return _adaptive_max(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """As `adaptive_max_pool1d`, for three axes; None keeps an axis' extent."""
    return _adaptive_max(3, input, output_size, return_indices)


def _adaptive_avg(axes: int, input: Any, output_size: Any) -> Tensor:
    x, single = batched(f"adaptive_avg_pool{axes}d", input, axes)
    return unbatched(ops.adaptive_avg_pool(x, _plain(output_size)), single)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Tensor:
    """The means of `output_size` windows of (N, C, L) or (C, L)."""
    return _adaptive_avg(1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Tensor:
    """As `adaptive_avg_pool1d`, for two axes; None keeps an axis' extent."""
    return _adaptive_avg(2, input, output_size)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Tensor:
    """As `adaptive_avg_pool1d`, for three axes; None keeps an axis' extent."""
    return _adaptive_avg(3, input, output_size)


def _lp(axes: int, input: Any, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Tensor:
    x, single = batched(f"lp_pool{axes}d", input, axes)
    # as torch: a window that reaches over the end counts as if all of it were there
    means = ops.avg_pool(ops.power(x, float(norm_type)), _plain(kernel_size), _stride(stride), 0, bool(ceil_mode))
    taps = math.prod(kernel_size) if isinstance(kernel_size, (tuple, list)) else kernel_size**axes
    return unbatched(ops.power(ops.multiply(means, float(taps)), 1.0 / norm_type), single)


def lp_pool1d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:  # fmt: skip
    """The norm of order `norm_type` of each window of (N, C, L) or (C, L)."""
    return _lp(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:  # fmt: skip
    """As `lp_pool1d`, for two axes."""
    return _lp(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:  # fmt: skip
    """As `lp_pool1d`, for three axes."""
    return _lp(3, input, norm_type, kernel_size, stride, ceil_mode)


def _unpool(
    axes: int, input: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Tensor:  # fmt: skip
    name = f"max_unpool{axes}d"
    x, single = batched(name, input, axes)
    places, _ = batched(name, indices, axes)
    if places.shape != x.shape:
        raise ShapeError(f"{name}: indices must have the shape of input {x.shape}, got {places.shape}")

    def each(what: str, given: Any) -> list[int]:
        values = list(given) if isinstance(given, (tuple, list)) else [given] * axes
        if len(values) != axes:
            raise ShapeError(f"{name}: {what} must be a number or {axes} numbers, got {given}")
        return [integer(f"{name}: {what}", v) for v in values]

    kernel, pads = each("kernel_size", kernel_size), each("padding", padding)
    steps = kernel if _stride(stride) is None else each("stride", stride)
    usual = [(n - 1) * s - 2 * p + k for n, s, p, k in zip(x.shape[2:], steps, pads, kernel, strict=True)]
    wanted = usual if output_size is None else [integer(f"{name}: output_size", n) for n in output_size][-axes:]
    if len(wanted) != axes or any(abs(w - u) >= s for w, u, s in zip(wanted, usual, steps, strict=True)):
        raise ShapeError(f"{name}: output_size must be about {usual}, got {output_size}")
    flat = (*x.shape[:2], math.prod(wanted))
    spread = functions.find("scatter")(
        zeros(flat, dtype=x.dtype), -1, places.reshape((*x.shape[:2], -1)), x.reshape((*x.shape[:2], -1))
    )
    return unbatched(spread.reshape((*x.shape[:2], *wanted)), single)


def max_unpool1d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:  # fmt: skip
    """Put elements back to where `max_pool1d` found them, among zeros.

    Parameters
    ----------
    indices : as `max_pool1d` gave them. IndexError for one that is out of range.
    kernel_size, stride, padding : of that pooling.
    output_size : extents of the result, where those that follow from the windows are not meant.
    """
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:  # fmt: skip
    """As `max_unpool1d`, for two axes."""
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:  # fmt: skip
    """As `max_unpool1d`, for three axes."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)


__all__ = [
    f"{kind}{axes}d"
    for kind in ("adaptive_avg_pool", "adaptive_max_pool", "avg_pool", "lp_pool", "max_pool", "max_unpool")
    for axes in (1, 2, 3)
]
