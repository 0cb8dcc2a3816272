"""Windows for spectra under torch's names and arguments: weights that fall towards the ends of a stretch of samples.

A. V. Oppenheim and R. W. Schafer, "Discrete-Time Signal Processing". A periodic window of N samples is the symmetric
one of N + 1 without its last sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import _default_dtype
from fastnn._numpy_views import integer
from fastnn.errors import ArgumentError, DTypeError
from fastnn.functions._options import check_place, dtype_argument, finished
from fastnn.tensor import Tensor


def _window(
    name: str, length: Any, periodic: bool, shape: Callable[[np.ndarray], np.ndarray], options: dict[str, Any]
) -> Tensor:
    """A window whose weights are a function of the place from 0 to 1."""
    known = {"dtype", "layout", "device", "pin_memory", "requires_grad"}
    if options.keys() - known:
        raise TypeError(f"{name}: unexpected arguments {', '.join(sorted(options.keys() - known))}")
    check_place(name, options.get("device"), options.get("layout"))
    dtype = dtype_argument(name, options.get("dtype"), _default_dtype.floating)
    if dtype.kind != "f":
        raise DTypeError(f"{name}: dtype must be a floating one, got {dtype}")
    count = integer(f"{name}: window_length", length)
    if count < 0:
        raise ArgumentError(f"{name}: window_length must not be negative, got {count}")
    weights = np.ones(count) if count < 2 else shape(np.arange(count) / (count if periodic else count - 1))
    return finished(name, weights.astype(dtype), None, options.get("requires_grad", False))


def bartlett_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """A triangle from 0 to 1 and back. `options`: dtype, layout, device, requires_grad."""
    return _window("bartlett_window", window_length, periodic, lambda t: 1 - np.abs(2 * t - 1), options)


def blackman_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """``0.42 - 0.5 cos(2 pi t) + 0.08 cos(4 pi t)``. `options`: dtype, layout, device, requires_grad."""

    def shape(t: np.ndarray) -> np.ndarray:
        return np.asarray(0.42 - 0.5 * np.cos(2 * math.pi * t) + 0.08 * np.cos(4 * math.pi * t))

    return _window("blackman_window", window_length, periodic, shape, options)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **options: Any
) -> Tensor:
    """``alpha - beta cos(2 pi t)``. `options`: dtype, layout, device, requires_grad."""
    return _window("hamming_window", window_length, periodic, lambda t: alpha - beta * np.cos(2 * math.pi * t), options)


def hann_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """``sin(pi t) ** 2``. `options`: dtype, layout, device, requires_grad."""
    return _window("hann_window", window_length, periodic, lambda t: 0.5 - 0.5 * np.cos(2 * math.pi * t), options)


def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, **options: Any) -> Tensor:
    """``i0(beta sqrt(1 - (2 t - 1) ** 2)) / i0(beta)``. `options`: dtype, layout, device, requires_grad."""

    def shape(t: np.ndarray) -> np.ndarray:
        return np.asarray(np.i0(beta * np.sqrt(1 - (2 * t - 1) ** 2)) / np.i0(beta))

    return _window("kaiser_window", window_length, periodic, shape, options)


__all__ = ["bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"]
