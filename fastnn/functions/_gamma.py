"""The gamma function's kin and Hurwitz's zeta function in NumPy, on float64 arrays."""

from __future__ import annotations

import math

import numpy as np

# B(2k) for k from 1: Bernoulli's numbers in the Euler-Maclaurin formula.
_BERNOULLI = [
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330,
]  # fmt: skip
_FROM = 12.0


def _lgamma(x: float) -> float:
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):
        return math.inf
    try:
        return math.lgamma(x)
    except OverflowError:
        return math.inf


_each_lgamma = np.vectorize(_lgamma, otypes=[np.float64])


def lgamma(x: np.ndarray) -> np.ndarray:
    """The logarithm of the gamma function's magnitude; inf at its poles."""
    return np.asarray(_each_lgamma(x) if x.size else x)


def digamma(x: np.ndarray) -> np.ndarray:
    """The slope of `lgamma`: NaN at negative integers, -inf at 0 and inf at -0.

    Arguments below `_FROM` are carried up by ``psi(x) = psi(x + 1) - 1 / x``, where the asymptotic series serves
    (Abramowitz and Stegun, 6.3.5, 6.3.7, 6.3.18).
    """
    negative = x < 0
    a = np.where(negative, 1 - x, x)
    total = np.zeros_like(a)
    for _ in range(int(_FROM)):
        small = a < _FROM
        total -= np.where(small, 1 / a, 0)
        a = np.where(small, a + 1, a)
    total += np.log(a) - 0.5 / a
    for k, number in enumerate(_BERNOULLI, 1):
        total -= number / (2 * k * a ** (2 * k))
    fraction = x - np.rint(x)
    total = np.where(negative, total - np.pi / np.tan(np.pi * fraction), total)
    total = np.where(negative & (fraction == 0), np.nan, total)
    return np.where(x == 0, np.copysign(np.inf, -x), np.where(np.isposinf(x), np.inf, total))


def zeta(s: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Hurwitz's ``sum((q + k)**-s)`` over k from 0, by the Euler-Maclaurin formula.

    inf for s = 1 and where q is 0 or a negative integer; NaN for s below 1 and for powers of negative numbers that are
    not real.
    """
    s, q = np.broadcast_arrays(s, q)
    finite = np.isfinite(q)
    lowest = float(np.min(q, initial=0.0, where=finite))
    total = np.zeros(q.shape)
    a = np.where(finite, q, _FROM)
    for _ in range(int(min(_FROM - lowest, 10_000)) + 1):
        small = a < _FROM
        total = total + np.where(small, a**-s, 0)
        a = np.where(small, a + 1, a)
    total = total + a ** (1 - s) / (s - 1) + 0.5 * a**-s
    factor = s * a ** (-s - 1)
    for k, number in enumerate(_BERNOULLI, 1):
        total = total + number / math.factorial(2 * k) * factor
        factor = factor * (s + 2 * k - 1) * (s + 2 * k) / (a * a)
    pole = (q <= 0) & (q == np.floor(q))
    total = np.where((q < 0) & ~pole & (s != np.floor(s)), np.nan, total)
    total = np.where(np.isposinf(q), 0.0, np.where(np.isnan(q), np.nan, total))
    return np.where(s == 1, np.inf, np.where(s < 1, np.nan, np.where(pole, np.inf, total)))


def polygamma(n: int, x: np.ndarray) -> np.ndarray:
    """The n-th derivative of `digamma`."""
    if n == 0:
        return digamma(x)
    return np.asarray((-1.0) ** (n + 1) * math.factorial(n) * zeta(np.asarray(n + 1.0), x))


def regularised(a: np.ndarray, x: np.ndarray, *, upper: bool) -> np.ndarray:
    """The regularised incomplete gamma function, from 0 to x or from x on.

    A power series up to ``a + 1``, a continued fraction beyond (Press et al., "Numerical Recipes", 6.2).
    """
    a, x = np.broadcast_arrays(a, x)
    near = x < a + 1
    scale = np.exp(a * np.log(x) - x - lgamma(a))
    term = 1 / a
    series = term.copy()
    b, c = x + 1 - a, np.full(x.shape, 1e300)
    d = 1 / b
    fraction = d.copy()
    for k in range(1, 400):
        term = term * x / (a + k)
        series = series + np.where(near, term, 0)
        b = b + 2
        product = -k * (k - a)
        d, c = 1 / (product * d + b), b + product / c
        fraction = fraction * np.where(near, 1, d * c)
    lower, above = scale * series, scale * fraction
    found = np.where(near, 1 - lower, above) if upper else np.where(near, lower, 1 - above)
    zero, one = (1.0, 0.0) if upper else (0.0, 1.0)
    found = np.where(x == 0, np.where(a == 0, np.nan, zero), np.where(np.isposinf(x), one, found))
    found = np.where((a == 0) & (x > 0), one, found)
    return np.where((x < 0) | (a < 0) | np.isnan(x) | np.isnan(a), np.nan, found)
