"""Gamma functions, Bessel functions and the parts of floats under torch's names.

They are computed by NumPy in float64, whatever the dtype, and rounded.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import ops
from fastnn._numpy_views import sum_to
from fastnn._runtime.tensor import TensorBase, derived
from fastnn.functions import _distribution, _gamma
from fastnn.functions.operands import array_of, delivered, given, kind_of, promoted

Function = Callable[..., np.ndarray]


def through(name: str, function: Function, slope: Function | None, input: Any, out: Any = None) -> Any:
    """A NumPy function of float64 applied to a Tensor or an array; `slope` gives its derivative."""
    array = array_of(input)
    dtype = array.dtype
    if dtype.kind != "f":
        dtype = np.dtype(np.float32 if isinstance(input, TensorBase) else np.float64)
    wide = array.astype(np.float64)
    with np.errstate(all="ignore"):
        result = np.asarray(function(wide)).astype(dtype)
    if out is not None or not isinstance(input, TensorBase):
        return delivered(result, out, isinstance(input, TensorBase))
    if slope is None or not input.requires_grad:
        return given(result)

    def backward(gradient: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(gradient * slope(wide), dtype)

    return derived(input, result, name, backward, False)


def lgamma(input: Any, *, out: Any = None) -> Any:
    """The logarithm of the gamma function's magnitude."""
    return through("lgamma", _gamma.lgamma, _gamma.digamma, input, out)


def digamma(input: Any, *, out: Any = None) -> Any:
    """The derivative of `lgamma`."""
    return through("digamma", _gamma.digamma, lambda x: _gamma.polygamma(1, x), input, out)


def polygamma(n: int, input: Any, *, out: Any = None) -> Any:
    """The `n`-th derivative of `digamma`."""
    if n < 0:
        raise ValueError(f"polygamma: n must not be negative, got {n}")
    return through("polygamma", lambda x: _gamma.polygamma(n, x), lambda x: _gamma.polygamma(n + 1, x), input, out)


def mvlgamma(input: Any, p: int, *, out: Any = None) -> Any:
    """The logarithm of the multivariate gamma function of dimension `p`."""
    if p < 1:
        raise ValueError(f"mvlgamma: p must be at least 1, got {p}")
    x = input if kind_of(input) == "f" else ops.multiply(input, 1.0)
    total: Any = p * (p - 1) / 4 * math.log(math.pi)
    for k in range(p):
        total = ops.add(lgamma(ops.subtract(x, k / 2)), total)
    return total if out is None else ops.copy(total, out=out)


def _incomplete(name: str, upper: bool) -> Callable[..., Any]:
    sign = -1.0 if upper else 1.0

    def function(input: Any, other: Any, *, out: Any = None) -> Any:
        a, x = (np.asarray(array_of(v), np.float64) for v in (input, other))
        result = promoted(lambda p, q: np.asarray(_gamma.regularised(
            p.astype(np.float64), q.astype(np.float64), upper=upper), p.dtype), input, other, out=out)  # fmt: skip
        if out is not None or not getattr(other, "requires_grad", False):
            return result

        def backward(gradient: np.ndarray) -> np.ndarray:
            with np.errstate(all="ignore"):
                slope = np.exp((a - 1) * np.log(x) - x - _gamma.lgamma(a))
            return np.asarray(sum_to(np.asarray(gradient * sign * slope), x.shape), other.dtype)

        return derived(other, result.array, name, backward, False)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"The regularised {'upper' if upper else 'lower'} incomplete gamma function; gradients for `other`."
    )
    return function


igamma = gammainc = _incomplete("igamma", False)
igammac = gammaincc = _incomplete("igammac", True)


def i0(input: Any, *, out: Any = None) -> Any:
    """The modified Bessel function of the first kind of order 0."""
    return through("i0", lambda x: _distribution.bessel(0, x), lambda x: _distribution.bessel(1, x), input, out)


_Frexp = namedtuple("_Frexp", "mantissa exponent")


def frexp(input: Any, *, out: Any = None) -> Any:
    """Mantissas in [1/2, 1) and exponents (int32), whose ``mantissa * 2**exponent`` is the input."""
    array = array_of(input)
    mantissa, exponent = (np.asarray(part) for part in np.frexp(array))
    exponent = exponent.astype(np.int32)
    if out is not None:
        return _Frexp(delivered(mantissa, out[0], True), delivered(exponent, out[1], True))
    if getattr(input, "requires_grad", False):
        first = derived(input, mantissa, "frexp", lambda g: np.ldexp(g, -exponent), False)
    else:
        first = given(mantissa)
    return _Frexp(first, given(exponent))


__all__ = [
    "digamma",
    "frexp",
    "i0",
    "igamma",
    "igammac",
    "lgamma",
    "mvlgamma",
    "polygamma",
]
