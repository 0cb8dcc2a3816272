"""Activations against wider arithmetic: the errors that the kernels state."""

import numpy as np
import pytest

from fastnn import ops

BOUNDS = {
    "softplus": 1.6,
    "logsigmoid": 1.6,
    "elu": 1.1,
    "selu": 3.3,
    "mish": 4.2,
    "tanhshrink": 10.3,
    "softsign": 1.5,
    "hardswish": 2.3,
    "hardsigmoid": 1.4,
}
wide_enough = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 60, reason="this platform's long double is no wider than float64"
)


def log_of_sum(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def tanhshrink(x):
    series = x.dtype.type(0)
    for above, below in ((-1382, 155925), (62, 2835), (-17, 315), (2, 15), (-1, 3)):
        series = series * x * x + x.dtype.type(above) / x.dtype.type(below)
    return np.where(np.abs(x) < 0.02, -series * x**3, x - np.tanh(x))


def selu(x):
    alpha, scale = (np.longdouble(s) for s in ("1.6732632423543772848170429", "1.0507009873554804934193349"))
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


WIDE = {
    "softplus": log_of_sum,
    "logsigmoid": lambda x: -log_of_sum(-x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": selu,
    "mish": lambda x: x * np.tanh(log_of_sum(x)),
    "tanhshrink": tanhshrink,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
}


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=wide_enough)])
@pytest.mark.parametrize("name", WIDE)
def test_errors(name, dtype):
    rng = np.random.default_rng(0)
    a = np.exp(rng.uniform(np.log(1e-30), np.log(60), 20_000))
    x = np.concatenate([a, -a, rng.uniform(-20, 20, 40_000)]).astype(dtype)
    expected = WIDE[name](x.astype(np.longdouble))
    got = getattr(ops, name)(x, **({"threshold": 1e9} if name == "softplus" else {}))
    error = np.abs(got - expected) / np.spacing(np.abs(expected).astype(dtype))
    assert error.max() <= BOUNDS[name]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_limits(dtype):
    x = np.array([np.inf, -np.inf, np.nan, 3e38, -3e38, 0.0], dtype)
    least = -1.6732632423543772 * 1.0507009873554805
    for name, expected in {
        "relu6": [6, 0, np.nan, 6, 0, 0],
        "hardtanh": [1, -1, np.nan, 1, -1, 0],
        "hardsigmoid": [1, 0, np.nan, 1, 0, 0.5],
        "elu": [np.inf, -1, np.nan, x[3], -1, 0],
        "celu": [np.inf, -1, np.nan, x[3], -1, 0],
        "selu": [np.inf, least, np.nan, x[3] * 1.0507009873554805, least, 0],
        "mish": [np.inf, 0, np.nan, x[3], 0, 0],
        "softplus": [np.inf, 0, np.nan, x[3], 0, np.log(2)],
        "logsigmoid": [0, -np.inf, np.nan, 0, x[4], -np.log(2)],
        "tanhshrink": [np.inf, -np.inf, np.nan, x[3], x[4], 0],
        "hardshrink": [np.inf, -np.inf, np.nan, x[3], x[4], 0],
        "softshrink": [np.inf, -np.inf, np.nan, x[3], x[4], 0],
        "leaky_relu": [np.inf, -np.inf, np.nan, x[3], x[4] * 0.01, 0],
        "threshold": [np.inf, 0, np.nan, x[3], 0, 0],
    }.items():
        with np.errstate(over="ignore"):
            wanted = np.array(expected, dtype)
        np.testing.assert_allclose(getattr(ops, name)(x), wanted, rtol=3e-7, err_msg=name)
