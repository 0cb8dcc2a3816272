"""Special functions under the names of ``torch.special``; `fastnn` has some of them under the same names."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import ops
from fastnn.functions import _distribution, _gamma
from fastnn.functions.gamma import digamma, gammainc, gammaincc, i0, polygamma, through
from fastnn.functions.gamma import lgamma as gammaln
from fastnn.functions.gamma import mvlgamma as multigammaln
from fastnn.functions.operands import promoted
from fastnn.functions.pointwise import _binary, _unary, erf, erfc, erfinv, exp2, expm1, log1p, logit, round, sinc, xlogy
from fastnn.functions.reductions import logsumexp
from fastnn.functions.softmax import log_softmax, softmax

psi = digamma
entr = _unary("entr", "entropy")
expit = _unary("expit", "sigmoid")
xlog1py = _binary("xlog1py")
_TWO_BY_ROOT_PI = 2 / math.sqrt(math.pi)


def ndtr(input: Any, *, out: Any = None) -> Any:
    """The normal distribution (mean 0, variance 1) below the input."""
    return ops.multiply(ops.erfc(ops.multiply(input, -math.sqrt(0.5))), 0.5, out=out)


def log_ndtr(input: Any, *, out: Any = None) -> Any:
    """The logarithm of `ndtr`."""

    def slope(x: np.ndarray) -> np.ndarray:
        return np.asarray(_TWO_BY_ROOT_PI * math.sqrt(0.5) / _distribution.erfcx(-x * math.sqrt(0.5)))

    return through("log_ndtr", _distribution.log_ndtr, slope, input, out)


def ndtri(input: Any, *, out: Any = None) -> Any:
    """The inverse of `ndtr`; NaN outside [0, 1]."""

    def slope(p: np.ndarray) -> np.ndarray:
        return np.asarray(math.sqrt(2 * math.pi) * np.exp(_distribution.ndtri(p) ** 2 / 2))

    return through("ndtri", _distribution.ndtri, slope, input, out)


def erfcx(input: Any, *, out: Any = None) -> Any:
    """``exp(x**2) * erfc(x)``."""
    return through("erfcx", _distribution.erfcx, lambda x: 2 * x * _distribution.erfcx(x) - _TWO_BY_ROOT_PI, input, out)


def i0e(input: Any, *, out: Any = None) -> Any:
    """``exp(-|x|) * i0(x)``."""

    def slope(x: np.ndarray) -> np.ndarray:
        return _distribution.bessel_scaled(1, x) - np.sign(x) * _distribution.bessel_scaled(0, x)

    return through("i0e", lambda x: _distribution.bessel_scaled(0, x), slope, input, out)


def _first_order(bessel: Callable[[int, np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """The derivative of the function of order 1: that of order 0 less it over x."""
    return bessel(0, x) - np.where(x == 0, 0.5, bessel(1, x) / np.where(x == 0, 1, x))


def i1(input: Any, *, out: Any = None) -> Any:
    """The modified Bessel function of the first kind of order 1."""
    return through(
        "i1",
        lambda x: _distribution.bessel(1, x),
        lambda x: _first_order(_distribution.bessel, x),
        input,
        out,
    )


def i1e(input: Any, *, out: Any = None) -> Any:
    """``exp(-|x|) * i1(x)``."""

    def slope(x: np.ndarray) -> np.ndarray:
        own = _distribution.bessel_scaled
        return _first_order(own, x) - np.sign(x) * own(1, x)

    return through("i1e", lambda x: _distribution.bessel_scaled(1, x), slope, input, out)


def zeta(input: Any, other: Any, *, out: Any = None) -> Any:
    """Hurwitz's zeta function: the sum of ``(other + k)**-input`` over k from 0."""

    def function(s: np.ndarray, q: np.ndarray) -> np.ndarray:
        dtype = s.dtype if s.dtype.kind == "f" else np.dtype(np.float32)
        return np.asarray(_gamma.zeta(s.astype(np.float64), q.astype(np.float64)), dtype)

    return promoted(function, input, other, out=out)


def _polynomial(name: str, start: Callable[..., Any], step: Callable[..., Any], shifted: bool = False) -> Any:
    """A family of orthogonal polynomials of x by degree n, from the first two and ``step(k, x, p[k], p[k - 1])``."""

    def values(x: np.ndarray, n: np.ndarray) -> np.ndarray:
        dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
        x, degree = np.broadcast_arrays(x.astype(np.float64), n.astype(np.int64))
        x = 2 * x - 1 if shifted else x
        before, now = np.ones(x.shape), np.asarray(start(x))
        found = np.where(degree == 0, before, np.where(degree == 1, now, 0.0))
        for k in range(1, int(degree.max(initial=0))):
            before, now = now, step(k, x, now, before)
            found = np.where(degree == k + 1, now, found)
        return np.asarray(found, dtype)

    def function(input: Any, n: Any, *, out: Any = None) -> Any:
        return promoted(values, input, n, out=out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The {name.replace('_', ' ')} of degree `n`; 0 for negative degrees."
    return function


def _chebyshev(k: int, x: Any, now: Any, before: Any) -> Any:
    return 2 * x * now - before


_KINDS: dict[str, Callable[..., Any]] = {
    "t": lambda x: x,
    "u": lambda x: 2 * x,
    "v": lambda x: 2 * x - 1,
    "w": lambda x: 2 * x + 1,
}
chebyshev_polynomial_t, chebyshev_polynomial_u, chebyshev_polynomial_v, chebyshev_polynomial_w = (
    _polynomial(f"chebyshev_polynomial_{kind}", start, _chebyshev) for kind, start in _KINDS.items()
)
(
    shifted_chebyshev_polynomial_t,
    shifted_chebyshev_polynomial_u,
    shifted_chebyshev_polynomial_v,
    shifted_chebyshev_polynomial_w,
) = (_polynomial(f"shifted_chebyshev_polynomial_{kind}", start, _chebyshev, True) for kind, start in _KINDS.items())
hermite_polynomial_h = _polynomial(
    "hermite_polynomial_h", lambda x: 2 * x, lambda k, x, now, before: 2 * x * now - 2 * k * before
)
hermite_polynomial_he = _polynomial(
    "hermite_polynomial_he", lambda x: x, lambda k, x, now, before: x * now - k * before
)
laguerre_polynomial_l = _polynomial(
    "laguerre_polynomial_l", lambda x: 1 - x, lambda k, x, now, before: ((2 * k + 1 - x) * now - k * before) / (k + 1)
)
legendre_polynomial_p = _polynomial(
    "legendre_polynomial_p", lambda x: x, lambda k, x, now, before: ((2 * k + 1) * x * now - k * before) / (k + 1)
)

__all__ = [
    "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w", "digamma",
    "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc", "gammaincc", "gammaln",
    "hermite_polynomial_h", "hermite_polynomial_he", "i0", "i0e", "i1", "i1e", "laguerre_polynomial_l",
    "legendre_polynomial_p", "log1p", "log_ndtr", "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri",
    "polygamma", "psi", "round", "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u",
    "shifted_chebyshev_polynomial_v", "shifted_chebyshev_polynomial_w", "sinc", "softmax", "xlog1py", "xlogy", "zeta",
]  # fmt: skip
