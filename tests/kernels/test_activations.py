"""Activations at their limits. Their errors are measured beside those of the other functions (`test_mathematics`)."""

import numpy as np
import pytest

from fastnn import ops


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
