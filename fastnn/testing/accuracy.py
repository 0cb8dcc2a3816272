"""How far functions of elements are from the truth, in units in the last place (ULP).

An error is the distance from the exact value over the spacing of floats at the rounded exact value, subnormal ones
included. The truth for float32 is float64 arithmetic: NumPy's, or for what NumPy lacks our own kernel, which is checked
against `numpy.longdouble` in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Stated(NamedTuple):
    """What is promised of a function, and what its values should be.

    Attributes
    ----------
    float32, float64 : the largest error, in ULP.
    reference : from arguments in wider arithmetic; None where our own float64 kernel is the reference for float32.
    """

    float32: float
    float64: float
    reference: Callable[[np.ndarray], Any] | None


def _logit(x: np.ndarray) -> np.ndarray:
    inner = np.log1p((2 * x - 1) / (1 - x))
    return np.where((x > 0.25) & (x < 0.75), inner, np.log(x) - np.log1p(-x))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, e, 1) / (1 + e))


STATED: dict[str, Stated] = {
    "exp": Stated(0.96, 1.0, np.exp),
    "exp2": Stated(1.0, 1.0, np.exp2),
    "expm1": Stated(1.4, 1.45, np.expm1),
    "log": Stated(0.85, 0.9, np.log),
    "log2": Stated(0.85, 0.9, np.log2),
    "log10": Stated(0.8, 0.8, np.log10),
    "log1p": Stated(1.0, 1.0, np.log1p),
    "sinh": Stated(1.4, 1.45, np.sinh),
    "cosh": Stated(1.4, 1.4, np.cosh),
    "tanh": Stated(1.35, 1.45, np.tanh),
    "asinh": Stated(1.35, 1.4, np.arcsinh),
    "acosh": Stated(1.7, 1.7, np.arccosh),
    "atanh": Stated(1.1, 1.1, np.arctanh),
    "sqrt": Stated(0.5, 0.5, np.sqrt),
    "rsqrt": Stated(1.55, 1.55, lambda x: 1 / np.sqrt(x)),
    "reciprocal": Stated(0.5, 0.5, lambda x: 1 / x),
    "cube": Stated(1.5, 1.5, lambda x: x * x * x),
    "sin": Stated(1.6, 1.6, np.sin),
    "cos": Stated(1.6, 1.6, np.cos),
    "tan": Stated(1.85, 1.7, np.tan),
    "asin": Stated(1.2, 1.25, np.arcsin),
    "acos": Stated(1.3, 1.3, np.arccos),
    "atan": Stated(1.2, 1.4, np.arctan),
    "sigmoid": Stated(1.95, 1.95, _sigmoid),
    "logit": Stated(1.1, 1.1, _logit),
    "erf": Stated(1.9, 1.9, None),
    "erfc": Stated(0.55, 2.0, None),
    "erfinv": Stated(0.6, 2.3, None),
}
# Functions of two arguments, checked by samples.
STATED_BINARY: dict[str, tuple[float, Callable[[np.ndarray, np.ndarray], Any]]] = {
    "power": (1.1, np.power),
    "atan2": (1.6, np.arctan2),
    "hypot": (1.3, np.hypot),
}


def wider(x: np.ndarray) -> np.ndarray:
    """The same numbers in the wider format that references use."""
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def truth(name: str, x: np.ndarray) -> np.ndarray:
    """Exact values, or nearly, of a function at floats, in a wider format."""
    reference = STATED[name].reference
    with np.errstate(all="ignore"):
        if reference is not None:
            return np.asarray(reference(wider(x)))
        if x.dtype != np.float32:
            raise ValueError(f"truth: {name} has a reference for float32 alone, got {x.dtype}")
        from fastnn import ops

        return np.asarray(getattr(ops, name)(wider(x)))


def errors(y: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Errors of results in ULP; infinite where one side is NaN or infinite and the other something else."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(y.dtype)
        found = np.abs(y - exact)
        found /= _unit(rounded, exact.dtype)
    odd = ~(np.isfinite(y) & np.isfinite(rounded))
    if odd.any():
        y, rounded = y[odd], rounded[odd]
        found[odd] = np.where((y == rounded) | ((y != y) & (rounded != rounded)), 0.0, np.inf)
    return found.astype(np.float64, copy=False)


def _unit(x: np.ndarray, dtype: Any) -> np.ndarray:
    """The spacing of floats at x, in a wider format."""
    info = np.finfo(x.dtype)
    if info.bits == 32:
        exponent = np.maximum(x.view(np.uint32) >> 23 & 255, 1).astype(np.uint64)
        return (exponent + np.uint64(1023 - 127 - 23) << np.uint64(52)).view(np.float64)
    _, exponents = np.frexp(x)
    least = info.minexp - info.nmant
    return np.asarray(np.ldexp(dtype.type(1), np.where(x == 0, least, np.maximum(exponents - 1 - info.nmant, least))))


def samples(dtype: Any, count: int = 200_000, seed: int = 0) -> np.ndarray:
    """Floats of all kinds: of every exponent and both signs, and more of those where functions bend."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    integer = np.uint32 if info.bits == 32 else np.uint64
    exponents = np.arange(2 ** (info.bits - info.nmant - 1) - 1, dtype=integer)
    each = max(1, count // len(exponents))
    mantissas = rng.integers(0, 1 << info.nmant, (len(exponents), each), dtype=integer)
    every = ((exponents[:, None] << integer(info.nmant)) | mantissas).ravel().view(dtype)
    limit = 110 if info.bits == 32 else 760
    near = [rng.uniform(-a, a, count).astype(dtype) for a in (limit, limit / 10, 3, 1)]
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 0.5, -0.5, 2, info.tiny, info.max, -info.max], dtype)
    return np.concatenate([every, -every, *near, rng.uniform(0.3, 3, count).astype(dtype), special])
