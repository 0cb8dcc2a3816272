"""The normal distribution and modified Bessel functions in NumPy, on float64 arrays."""

from __future__ import annotations

import math

import numpy as np

from fastnn.ops.activation import _each_erfc

_ROOT_HALF = math.sqrt(0.5)


def erfcx(x: np.ndarray) -> np.ndarray:
    """``exp(x**2) * erfc(x)``: by its factors up to 2, by a continued fraction beyond (A. and S., 7.1.14)."""
    near = np.minimum(x, 2.0)
    # The square's rounding error counts where it is large.
    high = near.astype(np.float32).astype(np.float64)
    square = np.exp(high * high) * np.exp((near - high) * (near + high))
    far = np.maximum(x, 2.0)
    fraction = far.copy()
    for k in range(120, 0, -1):
        fraction = far + (k / 2) / fraction
    return np.where(x < 2, square * _each_erfc(near), 1 / (math.sqrt(math.pi) * fraction))


def log_ndtr(x: np.ndarray) -> np.ndarray:
    """The logarithm of the normal distribution below x."""
    below = np.minimum(x, -1.0)
    tail = np.log(erfcx(-below * _ROOT_HALF) / 2) - below * below / 2
    return np.where(x < -1, tail, np.log1p(-_each_erfc(np.maximum(x, -1.0) * _ROOT_HALF) / 2))


def ndtri(p: np.ndarray) -> np.ndarray:
    """What `ndtr` makes p of, by Newton's method for its logarithm on the side where that is small."""
    upper = p > 0.5
    q = np.where(upper, 1 - p, p)
    inside = (q > 0) & (q <= 0.5)
    goal = np.log(np.where(inside, q, 0.25))
    y = -np.sqrt(np.maximum(-2 * goal - np.log(np.maximum(-4 * math.pi * goal, 1.0)), 0.0))
    for _ in range(8):
        value = log_ndtr(y)
        y = y - (value - goal) * np.exp(value + y * y / 2) * math.sqrt(2 * math.pi)
    y = np.where(inside, y, np.where(q == 0, -np.inf, np.nan))
    return np.where(upper, -y, y)


def bessel_scaled(order: int, x: np.ndarray) -> np.ndarray:
    """``exp(-|x|)`` times the modified Bessel function of the first kind of order 0 or 1 (A. and S., 9.6.10, 9.7.1)."""
    a = np.abs(x)
    near, far = np.minimum(a, 25.0), np.maximum(a, 25.0)
    term = np.ones_like(near) if order == 0 else near / 2
    series = term.copy()
    for k in range(1, 80):
        term = term * (near * near / 4) / (k * (k + order))
        series = series + term
    term = np.ones_like(far)
    asymptotic = term.copy()
    for k in range(1, 25):
        term = term * -(4 * order * order - (2 * k - 1) ** 2) / (8 * k * far)
        asymptotic = asymptotic + term
    found = np.where(a < 25, series * np.exp(-near), asymptotic / np.sqrt(2 * math.pi * far))
    return np.where(x < 0, -found, found) if order else found


def bessel(order: int, x: np.ndarray) -> np.ndarray:
    """The modified Bessel function of the first kind of order 0 or 1."""
    half = np.exp(np.abs(x) / 2)
    return np.asarray(bessel_scaled(order, x) * half * half)
