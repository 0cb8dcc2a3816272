"""exp, log, erf, the activations and their derivatives: limits, subnormal numbers, place in the row.

Their errors are measured beside those of the other functions (`test_mathematics`).
"""

import numpy as np
import pytest

from fastnn.ops.elementwise import apply
from fastnn.testing.accuracy import samples, wider
from fastnn.testing.phases import lowering, run

FUNCTIONS = ("exp", "log", "erf", "tanh", "sigmoid", "gelu", "silu")
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


@pytest.mark.parametrize("dtype", WIDE)
def test_error_of_the_derivative_of_erf(dtype):
    x = samples(dtype, 60_000)
    w = wider(x)
    high = np.clip(x, -45, 45).astype(np.float32).astype(w.dtype)  # whose square is exact
    low = np.clip(w, -45, 45) - high
    exact = np.exp(-high * high) * np.exp(-low * (2 * high + low)) / np.sqrt(np.arctan(w.dtype.type(1)))
    units = exact * np.finfo(dtype).eps + np.finfo(dtype).smallest_subnormal
    found = np.abs(wider(derivative("erf", x)) - exact)[~np.isnan(x)] / units[~np.isnan(x)]
    assert found.max() <= 2.5


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
@pytest.mark.parametrize("function", FUNCTIONS)
def test_bits_do_not_depend_on_the_place(function, dtype):
    x = np.random.default_rng(1).uniform(0.1, 4, 100).astype(dtype)
    whole = compute(function, x)
    for start, stop in ((0, 1), (1, 8), (3, 19), (5, 22), (16, 33), (67, 100)):
        np.testing.assert_array_equal(compute(function, x[start:stop].copy()), whole[start:stop])
