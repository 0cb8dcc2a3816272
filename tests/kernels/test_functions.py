"""exp, log, erf, the activations and their derivatives against wider arithmetic: error, limits, place in the row."""

import numpy as np
import pytest

from fastnn.ops.elementwise import apply
from fastnn.testing.phases import lowering, run

# Largest errors that fastnn._kernels.functions states, in units in the last place.
BOUNDS = {"exp": 0.95, "log": 0.85, "erf": 1.9, "tanh": 1.35, "sigmoid": 1.95, "gelu": 8.5, "silu": 3.3}
GELU_FROM_MINUS_1, GELU_TANH, DERIVATIVE = 4.3, 2.0, 2.5
DTYPES = (np.float32, np.float64)
wide_enough = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 60, reason="this platform's long double is no wider than float64"
)
WIDE = (np.float32, pytest.param(np.float64, marks=wide_enough))


def compute(function, *operands):
    low = lowering(operands)
    y = apply(low, function, low.output(operands[0].shape, str(operands[0].dtype)), *low.inputs)
    return run(low, operands)[y]


def derivative(function, x):
    return compute(f"{function}_backward", np.ones_like(x), x)


def wider(x):
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def pi(x):
    return 4 * np.arctan(x.dtype.type(1))


def bell(a):
    """exp(-a**2 / 2), with a square that is exact where it counts."""
    high = a.astype(np.float32).astype(a.dtype)
    return np.exp(-high * high / 2) * np.exp(-(a - high) * (a + high) / 2)


def normal(a):
    """The normal distribution from 0 to a >= 0, and beyond a: a power series, or a continued fraction."""
    a = np.minimum(a, 45)
    density = bell(a) / np.sqrt(2 * pi(a))
    near, far = a[a < 2], a[a >= 2]
    term, series = near.copy(), near.copy()
    for k in range(3, 100, 2):
        term *= near * near / k
        series += term
    fraction = far.copy()
    for k in range(160, 0, -1):
        fraction = far + k / fraction
    inner, tail = np.empty_like(a), np.empty_like(a)
    inner[a < 2], tail[a >= 2] = density[a < 2] * series, density[a >= 2] / fraction
    tail[a < 2], inner[a >= 2] = 0.5 - inner[a < 2], 0.5 - tail[a >= 2]
    return inner, tail


def gate(function, x):
    """What x is multiplied with, at -abs(x), and the derivative of that."""
    if function == "gelu":
        a = np.minimum(np.abs(x), 45)
        return normal(a)[1], bell(a) / np.sqrt(2 * pi(a))
    a = np.minimum(np.abs(x), 1e5)
    slope = np.ones_like(a)
    if function == "gelu_tanh":
        a, slope = tanh_exponent(a)
    e = np.exp(-a)
    return e / (1 + e), slope * e / (1 + e) ** 2


def tanh_exponent(a):
    """Twice tanh's argument, and its derivative."""
    scale, cubic = 2 * np.sqrt(2 / pi(a)), a.dtype.type(44715) / 1_000_000
    return scale * (a + cubic * a**3), scale * (1 + 3 * cubic * a**2)


def reference(function, x):
    with np.errstate(all="ignore"):
        if function == "sigmoid":
            e = np.exp(-np.abs(x))
            return np.where(x < 0, e, 1) / (1 + e)
        if function == "erf":
            return np.copysign(2 * normal(np.sqrt(x.dtype.type(2)) * np.abs(x))[0], x)
        if function in ("gelu", "gelu_tanh", "silu"):
            missing = np.minimum(np.abs(x), 1e5) * gate(function, x)[0]
            return np.where(x > 0, x - missing, -missing)
        return getattr(np, function)(x)


def errors(y, exact):
    """Errors in units in the last place of the rounded result; what is not finite must be equal."""
    with np.errstate(over="ignore"):
        rounded = exact.astype(y.dtype)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(y[~finite], rounded[~finite])
    unit = wider(np.spacing(np.abs(rounded[finite])))
    found = np.zeros(y.shape)
    found[finite] = np.abs(wider(y[finite]) - exact[finite]) / unit
    return found


def assert_below(error, bound, x):
    worst = (error / bound).argmax()
    assert error[worst] <= np.broadcast_to(bound, error.shape)[worst], f"{error[worst]:.3f} at {x[worst]!r}"


def samples(dtype):
    """Every exponent with both signs, subnormal numbers included, and more where the functions bend."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    integer = np.uint32 if dtype == np.float32 else np.uint64
    exponents = np.arange(2 ** (info.bits - info.nmant - 1) - 1, dtype=integer)
    mantissas = rng.integers(0, 1 << info.nmant, (len(exponents), 600 if dtype == np.float32 else 80), dtype=integer)
    every = ((exponents[:, None] << integer(info.nmant)) | mantissas).ravel().view(dtype)
    limit = 110 if dtype == np.float32 else 760
    near = [rng.uniform(-a, a, 100_000).astype(dtype) for a in (limit, limit / 10, 3, 1)]
    return np.concatenate([every, -every, *near, rng.uniform(0.3, 3, 100_000).astype(dtype)])


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("function", BOUNDS)
def test_error(function, dtype):
    x = samples(dtype)
    error = errors(compute(function, x), reference(function, wider(x)))
    assert_below(error, BOUNDS[function], x)
    if function == "gelu":
        assert_below(error[x >= -1], GELU_FROM_MINUS_1, x[x >= -1])


@pytest.mark.parametrize("dtype", WIDE)
def test_error_of_the_tanh_form(dtype):
    x = samples(dtype)
    error = errors(compute("gelu_tanh", x), reference("gelu_tanh", wider(x)))
    exponent = tanh_exponent(np.clip(wider(-x), 0, 1e5))[0]
    assert_below(error, GELU_TANH * (1 + exponent), x)


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("function", ["gelu", "gelu_tanh", "silu", "erf"])
def test_error_of_derivatives(function, dtype):
    x = samples(dtype)
    w = wider(x)
    if function == "erf":
        exact = scale = 2 / np.sqrt(pi(w)) * bell(np.minimum(np.abs(w), 45) * np.sqrt(w.dtype.type(2)))
    else:
        below, slope = gate(function, w)
        slope *= np.minimum(np.abs(w), 1e5)
        exact, scale = np.where(w > 0, 1 - (below - slope), below - slope), np.where(w > 0, 1, below + slope)
    if function == "gelu_tanh":
        scale = scale * (1 + tanh_exponent(np.clip(-w, 0, 1e5))[0])
    units = scale * np.finfo(dtype).eps + np.finfo(dtype).tiny * np.finfo(dtype).eps
    assert_below((np.abs(wider(derivative(function, x)) - exact) / units).astype(np.float64), DERIVATIVE, x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits(dtype):
    nan, inf = np.nan, np.inf
    x = np.array([nan, inf, -inf, 0.0, -0.0], dtype)
    for function, expected in {
        "exp": [nan, inf, 0, 1, 1],
        "log": [nan, inf, nan, -inf, -inf],
        "tanh": [nan, 1, -1, 0.0, -0.0],
        "erf": [nan, 1, -1, 0.0, -0.0],
        "gelu": [nan, inf, 0, 0.0, -0.0],
        "gelu_tanh": [nan, inf, 0, 0.0, -0.0],
        "silu": [nan, inf, 0, 0.0, -0.0],
        "sigmoid": [nan, 1, 0, 0.5, 0.5],
    }.items():
        y = compute(function, x)
        np.testing.assert_array_equal(y, np.array(expected, dtype), err_msg=function)
        assert not np.signbit(y[3]) or function == "log"
        assert np.signbit(y[4]) == (function in ("log", "tanh", "erf", "gelu", "gelu_tanh", "silu"))
    assert np.isnan(compute("log", np.array([-1, -1e-40], dtype))).all()
    for function in ("gelu", "gelu_tanh", "silu"):
        np.testing.assert_array_equal(derivative(function, x), [nan, 1, 0, 0.5, 0.5], err_msg=function)
    np.testing.assert_array_equal(derivative("erf", x), np.array([nan, 0, 0, *[2 / np.sqrt(np.pi)] * 2], dtype))


def test_subnormal_results_and_arguments():
    x = np.linspace(-103.97, -87.4, 1000, dtype=np.float32)
    assert (np.abs(compute("exp", x) - np.exp(x.astype(np.float64))) <= 2.0**-149).all()
    tiny = np.array([1e-45, -1e-45, 1e-40], np.float32)
    np.testing.assert_array_equal(compute("tanh", tiny), tiny)
    least = np.float64(2) ** -149  # of which the results below are multiples
    exact = tiny.astype(np.float64) * (2 / np.sqrt(np.pi))
    assert (np.abs(compute("erf", tiny) - exact) <= 0.51 * least).all()
    for function in ("gelu", "gelu_tanh", "silu"):
        assert (np.abs(compute(function, tiny) - tiny.astype(np.float64) / 2) <= 0.51 * least).all()
    np.testing.assert_allclose(compute("log", np.abs(tiny)), np.log(np.abs(tiny).astype(np.float64)), rtol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", BOUNDS)
def test_bits_do_not_depend_on_the_place(function, dtype):
    x = np.random.default_rng(1).uniform(0.1, 4, 100).astype(dtype)
    whole = compute(function, x)
    for start, stop in ((0, 1), (1, 8), (3, 19), (5, 22), (16, 33), (67, 100)):
        np.testing.assert_array_equal(compute(function, x[start:stop].copy()), whole[start:stop])
