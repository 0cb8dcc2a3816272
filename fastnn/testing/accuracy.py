"""How far functions of elements are from the truth, in units in the last place (ULP).

An error is the distance from the exact value over the spacing of floats at the rounded exact value, subnormal ones
included. The truth is wider arithmetic: NumPy's or, where that has no such function or is too slow, our own float64
kernel for float32, which is checked against `numpy.longdouble` in turn.
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


class StatedSlope(NamedTuple):
    """What is promised of a derivative.

    Attributes
    ----------
    bound : the largest error, in units of the format's epsilon times the sum of the magnitudes of the terms.
    terms : whose sum the derivative is, from arguments in wider arithmetic.
    weight : what the unit is multiplied with, from the same; 1 if None.
    """

    bound: float
    terms: Callable[[np.ndarray], tuple[Any, ...]]
    weight: Callable[[np.ndarray], Any] | None = None


# Beyond this magnitude functions that have a limit, or x as one, are there.
_FAR = 1e4


def _logit(x: np.ndarray) -> np.ndarray:
    inner = np.log1p((2 * x - 1) / (1 - x))
    return np.where((x > 0.25) & (x < 0.75), inner, np.log(x) - np.log1p(-x))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, e, 1) / (1 + e))


def _pi(x: np.ndarray) -> Any:
    return 4 * np.arctan(x.dtype.type(1))


def _number(x: np.ndarray, digits: str) -> Any:
    """A decimal number in the format of x."""
    return x.dtype.type(np.longdouble(digits))


def _bell(a: np.ndarray, factor: float = 0.5) -> np.ndarray:
    """``exp(-factor * a**2)``, with a square that is exact where it counts."""
    high = a.astype(np.float32).astype(a.dtype)
    return np.asarray(np.exp(-factor * high * high) * np.exp(-factor * (a - high) * (a + high)))


def _normal(a: np.ndarray, bell: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The normal distribution from 0 to a >= 0, and beyond a: a power series, or a continued fraction."""
    density = (_bell(a) if bell is None else bell) / np.sqrt(2 * _pi(a))
    small = a < 2
    near, far = a[small], a[~small]
    term, series = near.copy(), near.copy()
    for k in range(3, 100, 2):
        term *= near * near / k
        series += term
    fraction = far.copy()
    for k in range(160, 0, -1):
        fraction = far + k / fraction
    inner, tail = np.empty_like(a), np.empty_like(a)
    inner[small], tail[~small] = density[small] * series, density[~small] / fraction
    tail[small], inner[~small] = 0.5 - inner[small], 0.5 - tail[~small]
    return inner, tail


def _erf_parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twice the normal distribution from 0 to ``sqrt(2) |x|``, and beyond: erf and erfc of ``|x|``."""
    a = np.minimum(np.abs(x), 40)
    inner, tail = _normal(a * np.sqrt(x.dtype.type(2)), _bell(a, 1.0))
    return 2 * inner, 2 * tail


def _erf(x: np.ndarray) -> np.ndarray:
    return np.copysign(_erf_parts(x)[0], x)


def _erfc(x: np.ndarray) -> np.ndarray:
    inner, tail = _erf_parts(x)
    return np.where(x > 0, tail, 1 + inner)


def _less(x: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """What is missing from x above zero, and is all there is below."""
    return np.where(x > 0, x - missing, np.copysign(missing, x))


def _gelu(x: np.ndarray) -> np.ndarray:
    a = np.minimum(np.abs(x), 45)
    return _less(x, a * _normal(a)[1])


def _cubic(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twice the argument of the tanh in gelu's form, and its derivative."""
    scale, cubic = 2 * np.sqrt(2 / _pi(a)), a.dtype.type(44715) / 1_000_000
    return scale * (a + cubic * a**3), scale * (1 + 3 * cubic * a**2)


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    a = np.minimum(np.abs(x), _FAR)
    return _less(x, a * _sigmoid(-_cubic(a)[0]))


def _silu(x: np.ndarray) -> np.ndarray:
    a = np.minimum(np.abs(x), _FAR)
    return _less(x, a * _sigmoid(-a))


def _mish_gate(x: np.ndarray) -> np.ndarray:
    """``tanh(log(1 + exp(x)))``."""
    e = np.exp(-np.abs(x))
    below = e * (e + 2) / (e * e + 2 * e + 2)
    return np.where(x < 0, below, (1 + 2 * e) / (1 + 2 * e + 2 * e * e))


def _expm1_below(x: np.ndarray) -> Any:
    return np.expm1(np.where(x > 0, 0, x))


def _selu(x: np.ndarray) -> np.ndarray:
    scale, alpha = _selu_constants(x)
    return np.where(x > 0, scale * x, scale * alpha * _expm1_below(x))


def _selu_constants(x: np.ndarray) -> tuple[Any, Any]:
    return _number(x, "1.0507009873554804934193349"), _number(x, "1.6732632423543772848170430")


def _log_of_sum(x: np.ndarray) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.where(x > 20, x, _log_of_sum(x))


# (x - tanh(x)) / x**3 as a series of x**2, from its end.
_TANHSHRINK = (
    (8374643517010684, 1298054391195577640625),
    (-58870668456604, 3698160658676859375),
    (113927491862, 2900518163668125),
    (-18888466084, 194896477400625),
    (443861162, 1856156927625),
    (-6404582, 10854718875),
    (929569, 638512875),
    (-21844, 6081075),
    (1382, 155925),
    (-62, 2835),
    (17, 315),
    (-2, 15),
    (1, 3),
)


def _tanhshrink(x: np.ndarray) -> np.ndarray:
    z = np.minimum(x * x, 0.0625)
    series = x.dtype.type(0)
    for above, below in _TANHSHRINK:
        series = series * z + x.dtype.type(above) / x.dtype.type(below)
    return np.where((np.abs(x) < 0.25) & (x != 0), series * x**3, x - np.tanh(x))


def _hard(x: np.ndarray) -> Any:
    return np.clip(x + 3, 0, 6)


def _entropy(x: np.ndarray) -> np.ndarray:
    return np.where(x == 0, 0, np.where(x < 0, -np.inf, -x * np.log(x)))


STATED: dict[str, Stated] = {
    "exp": Stated(0.9, 1.0, np.exp),
    "exp2": Stated(1.0, 1.0, np.exp2),
    "expm1": Stated(1.1, 1.45, np.expm1),
    "log": Stated(0.85, 0.9, np.log),
    "log2": Stated(0.85, 0.9, np.log2),
    "log10": Stated(0.8, 0.8, np.log10),
    "log1p": Stated(1.0, 1.0, np.log1p),
    "sinh": Stated(1.4, 1.45, np.sinh),
    "cosh": Stated(1.4, 1.4, np.cosh),
    "tanh": Stated(1.35, 1.45, np.tanh),
    "asinh": Stated(1.35, 1.4, np.arcsinh),
    "acosh": Stated(1.85, 1.7, np.arccosh),
    "atanh": Stated(1.1, 1.1, np.arctanh),
    "sqrt": Stated(0.5, 0.5, np.sqrt),
    "rsqrt": Stated(1.55, 1.55, lambda x: 1 / np.sqrt(x)),
    "reciprocal": Stated(0.5, 0.5, lambda x: 1 / x),
    "cube": Stated(1.05, 1.05, lambda x: x * x * x),
    "sin": Stated(1.6, 1.6, np.sin),
    "cos": Stated(1.6, 1.6, np.cos),
    "tan": Stated(1.85, 1.7, np.tan),
    "asin": Stated(1.2, 1.25, np.arcsin),
    "acos": Stated(1.3, 1.3, np.arccos),
    "atan": Stated(1.2, 1.4, np.arctan),
    "sigmoid": Stated(2.0, 1.95, _sigmoid),
    "logit": Stated(1.1, 1.1, _logit),
    "erf": Stated(1.9, 2.0, _erf),
    "erfc": Stated(0.55, 2.0, _erfc),
    "erfinv": Stated(0.6, 2.3, None),
    "entropy": Stated(1.7, 1.7, _entropy),
    "gelu": Stated(2.0, 4.5, _gelu),
    "gelu_tanh": Stated(2.0, 2.1, _gelu_tanh),
    "silu": Stated(1.9, 2.0, _silu),
    "mish": Stated(1.85, 2.0, lambda x: np.maximum(x, -_FAR) * _mish_gate(x)),
    "elu": Stated(1.0, 1.2, lambda x: np.where(x > 0, x, _expm1_below(x))),
    "celu": Stated(1.0, 1.2, lambda x: np.where(x > 0, x, _expm1_below(x))),
    "selu": Stated(1.2, 1.3, _selu),
    "softplus": Stated(1.7, 1.7, _softplus),
    "logsigmoid": Stated(1.7, 1.7, lambda x: -_log_of_sum(-x)),
    "tanhshrink": Stated(2.0, 1.9, _tanhshrink),
    "softsign": Stated(1.5, 1.5, lambda x: x / (1 + np.abs(x))),
    "hardsigmoid": Stated(1.1, 1.1, lambda x: _hard(x) / 6),
    "hardswish": Stated(2.0, 2.0, lambda x: x * (_hard(x) / 6)),
}
# Functions of two arguments, checked by samples.
STATED_BINARY: dict[str, tuple[float, Callable[[np.ndarray, np.ndarray], Any]]] = {
    "power": (1.1, np.power),
    "atan2": (1.6, np.arctan2),
    "hypot": (1.3, np.hypot),
}


def _gelu_slope(x: np.ndarray) -> tuple[Any, ...]:
    a = np.minimum(np.abs(x), 45)
    tail = _normal(a)[1]
    return np.where(x > 0, 1 - tail, tail), np.copysign(a, x) * _bell(a) / np.sqrt(2 * _pi(x))


def _gated_slope(x: np.ndarray, w: np.ndarray, slope: Any) -> tuple[Any, ...]:
    """Of x times the sigmoid of w with x's sign, from w and its derivative."""
    gate = _sigmoid(-w)
    return np.where(x > 0, 1 - gate, gate), np.clip(x, -_FAR, _FAR) * slope * gate * (1 - gate)


def _mish_slope(x: np.ndarray) -> tuple[Any, ...]:
    e = np.exp(-np.abs(x))
    below = 4 * e * (1 + e) / (e * e + 2 * e + 2) ** 2
    above = 4 * e * e * (1 + e) / (1 + 2 * e + 2 * e * e) ** 2
    return _mish_gate(x), np.clip(x, -_FAR, _FAR) * np.where(x < 0, below, above)


def _selu_slope(x: np.ndarray) -> tuple[Any, ...]:
    scale, alpha = _selu_constants(x)
    return (scale * np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0))),)


def _within(x: np.ndarray) -> np.ndarray:
    return np.minimum(np.abs(x), _FAR)


STATED_SLOPES: dict[str, StatedSlope] = {
    "gelu": StatedSlope(2.5, _gelu_slope),
    "gelu_tanh": StatedSlope(
        2.5, lambda x: _gated_slope(x, *_cubic(_within(x))), lambda x: 1 + _cubic(_within(np.minimum(x, 0)))[0]
    ),
    "silu": StatedSlope(2.5, lambda x: _gated_slope(x, _within(x), 1)),
    "mish": StatedSlope(3.5, _mish_slope),
    "selu": StatedSlope(2.5, _selu_slope),
    "elu": StatedSlope(1.0, lambda x: (np.where(x > 0, 1, np.exp(np.minimum(x, 0))),)),
    "softplus": StatedSlope(2.0, lambda x: (np.where(x > 20, 1, _sigmoid(x)),)),
    "logsigmoid": StatedSlope(2.0, lambda x: (_sigmoid(-x),)),
    "tanhshrink": StatedSlope(4.0, lambda x: (np.tanh(x) ** 2,)),
    "softsign": StatedSlope(2.5, lambda x: ((1 + np.abs(x)) ** -2.0,)),
}


def evaluate(name: str, x: np.ndarray) -> np.ndarray:
    """A function of the tables above, by its op: ``gelu_tanh`` is gelu with ``approximate="tanh"``."""
    from fastnn import ops

    if name == "gelu_tanh":
        return np.asarray(ops.gelu(x, approximate="tanh"))
    return np.asarray(getattr(ops, name)(x))


def slope(name: str, x: np.ndarray) -> np.ndarray:
    """The derivative at x, by the function's gradient."""
    import fastnn

    tensor = fastnn.tensor(x, requires_grad=True)
    options = {"approximate": "tanh"} if name == "gelu_tanh" else {}
    getattr(fastnn.nn.functional, name.removesuffix("_tanh"))(tensor, **options).backward(fastnn.ones_like(tensor))
    return np.asarray(tensor.grad)


def wider(x: np.ndarray) -> np.ndarray:
    """The same numbers in the wider format that references use."""
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def truth(name: str, x: np.ndarray, *, own: bool = False) -> np.ndarray:
    """Exact values, or nearly, of a function at floats, in a wider format.

    With `own`, those for float32 come from our float64 kernel, which is faster than NumPy's functions.
    """
    reference = STATED[name].reference
    with np.errstate(all="ignore"):
        if reference is not None and not (own and x.dtype == np.float32):
            return np.asarray(reference(wider(x)))
        if x.dtype != np.float32:
            raise ValueError(f"truth: {name} has a reference for float32 alone, got {x.dtype}")
        return evaluate(name, wider(x))


def slope_errors(name: str, x: np.ndarray) -> np.ndarray:
    """Errors of a derivative, in the units of `StatedSlope`."""
    stated, info = STATED_SLOPES[name], np.finfo(x.dtype)
    w = wider(x)
    with np.errstate(all="ignore"):
        terms = stated.terms(w)
        unit = sum(np.abs(t) for t in terms) * (1 if stated.weight is None else stated.weight(w))
        found = np.abs(wider(slope(name, x)) - sum(terms)) / (unit * info.eps + info.smallest_subnormal)
    return np.asarray(np.where(np.isnan(x), 0.0, found), np.float64)


def errors(y: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Errors of results in ULP; infinite where one side is NaN or infinite and the other something else."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(y.dtype)
        found = exact - y
        np.abs(found, out=found)
        if y.dtype == np.float32:
            # The exponent alone, of no subnormal number, is the power of two below a number.
            power = rounded.view(np.uint32) & np.uint32(0x7F800000)
            odd = power.max(initial=0) == 0x7F800000
            found /= np.maximum(power, 0x00800000, out=power).view(np.float32)
            found *= 2.0**23
        else:
            odd = not np.isfinite(rounded).all()
            found /= _unit(rounded, exact.dtype)
        if odd or not np.isfinite(found.max(initial=0)):
            where = ~(np.isfinite(y) & np.isfinite(rounded))
            y, rounded = y[where], rounded[where]
            found[where] = np.where((y == rounded) | ((y != y) & (rounded != rounded)), 0.0, np.inf)
    return found.astype(np.float64, copy=False)


def _unit(x: np.ndarray, dtype: Any) -> np.ndarray:
    """The spacing of floats at x, in a wider format."""
    info = np.finfo(x.dtype)
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
