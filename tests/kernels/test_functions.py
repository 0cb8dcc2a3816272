"""exp, log, tanh and sigmoid against wider arithmetic: units in the last place, limits, place in the row."""

import numpy as np
import pytest

from fastnn.ops.elementwise import apply
from fastnn.testing.phases import lowering, run

# Largest errors that fastnn._kernels.functions states, in units in the last place.
BOUNDS = {"exp": 0.95, "log": 0.85, "tanh": 1.35, "sigmoid": 1.85}
DTYPES = (np.float32, np.float64)


def compute(function, x):
    low = lowering([x])
    y = apply(low, function, low.output(x.shape, str(x.dtype)), low.inputs[0])
    return run(low, [x])[y]


def wider(x):
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def reference(function, x):
    with np.errstate(all="ignore"):
        if function == "sigmoid":
            e = np.exp(-np.abs(x))
            return np.where(x < 0, e, 1) / (1 + e)
        return getattr(np, function)(x)


def samples(dtype):
    """Every exponent with both signs, subnormal numbers included, and more where the functions bend."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    integer = np.uint32 if dtype == np.float32 else np.uint64
    exponents = np.arange(2 ** (info.bits - info.nmant - 1) - 1, dtype=integer)
    mantissas = rng.integers(0, 1 << info.nmant, (len(exponents), 600 if dtype == np.float32 else 80), dtype=integer)
    every = ((exponents[:, None] << integer(info.nmant)) | mantissas).ravel().view(dtype)
    limit = 110 if dtype == np.float32 else 760
    near = [rng.uniform(-a, a, 100_000).astype(dtype) for a in (limit, 3, 1)]
    return np.concatenate([every, -every, *near, rng.uniform(0.3, 3, 100_000).astype(dtype)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", BOUNDS)
def test_error(function, dtype):
    if dtype == np.float64 and np.finfo(np.longdouble).nmant < 60:
        pytest.skip("this platform's long double is no wider than float64")
    x = samples(dtype)
    y, exact = compute(function, x), reference(function, wider(x))
    with np.errstate(over="ignore"):
        rounded = exact.astype(dtype)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(y[~finite], rounded[~finite])
    unit = wider(np.spacing(np.abs(rounded[finite])))
    error = np.abs(wider(y[finite]) - exact[finite]) / unit
    worst = error.argmax()
    assert error[worst] <= BOUNDS[function], f"{error[worst]:.3f} at {x[finite][worst]!r}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits(dtype):
    nan, inf = np.nan, np.inf
    x = np.array([nan, inf, -inf, 0.0, -0.0], dtype)
    for function, expected in {
        "exp": [nan, inf, 0, 1, 1],
        "log": [nan, inf, nan, -inf, -inf],
        "tanh": [nan, 1, -1, 0.0, -0.0],
        "sigmoid": [nan, 1, 0, 0.5, 0.5],
    }.items():
        y = compute(function, x)
        np.testing.assert_array_equal(y, np.array(expected, dtype), err_msg=function)
        assert not np.signbit(y[3]) or function == "log"
    assert np.signbit(compute("tanh", x)[4])
    assert np.isnan(compute("log", np.array([-1, -1e-40], dtype))).all()


def test_subnormal_results_and_arguments():
    x = np.linspace(-103.97, -87.4, 1000, dtype=np.float32)
    assert (np.abs(compute("exp", x) - np.exp(x.astype(np.float64))) <= 2.0**-149).all()
    tiny = np.array([1e-45, -1e-45, 1e-40], np.float32)
    np.testing.assert_array_equal(compute("tanh", tiny), tiny)
    np.testing.assert_allclose(compute("log", np.abs(tiny)), np.log(np.abs(tiny).astype(np.float64)), rtol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", BOUNDS)
def test_bits_do_not_depend_on_the_place(function, dtype):
    x = np.random.default_rng(1).uniform(0.1, 4, 100).astype(dtype)
    whole = compute(function, x)
    for start, stop in ((0, 1), (1, 8), (3, 19), (5, 22), (16, 33), (67, 100)):
        np.testing.assert_array_equal(compute(function, x[start:stop].copy()), whole[start:stop])
