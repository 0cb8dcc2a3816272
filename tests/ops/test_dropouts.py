"""Dropout as an op: how much falls, what stays, gradients, errors."""

import math

import numpy as np
import pytest

import fastnn
from fastnn import ops

SEED = {"seed_low": 11, "seed_high": 12, "draw": 13}


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_how_much_falls_and_what_stays(p, dtype):
    x = np.ones(200_000, dtype)
    y = ops.dropout(x, p=p, **SEED)
    assert abs(np.mean(y == 0) - p) < 4 * math.sqrt(p * (1 - p) / x.size)
    np.testing.assert_array_equal(np.unique(y), np.array([0, 1 / (1 - p)], dtype))


@pytest.mark.parametrize("p", [0.05, 0.5, 0.8])
def test_alpha_dropout_keeps_mean_and_variance(p):
    x = np.random.default_rng(0).standard_normal(400_000)
    y = ops.alpha_dropout(x, p=p, **SEED)
    assert abs(y.mean()) < 0.02
    assert abs(y.var() - 1) < 0.03
    fallen = ops.dropout(np.ones_like(x), p=p, **SEED) == 0
    assert len(np.unique(y[fallen])) == 1


def test_nothing_or_all_falls():
    x = np.array([1.5, -0.0, np.nan, np.inf, -2.0], np.float32)
    np.testing.assert_array_equal(ops.dropout(x, p=0.0, **SEED), x)
    np.testing.assert_array_equal(ops.alpha_dropout(x, p=0.0, **SEED), x)
    gone = ops.dropout(x, p=1.0, **SEED)
    np.testing.assert_array_equal(gone, [0, 0, np.nan, np.nan, 0])
    assert np.signbit(gone).tolist()[:2] == [False, True]
    np.testing.assert_array_equal(ops.alpha_dropout(np.ones(3, np.float32), p=1.0, **SEED), 0)


def test_features_fall_together():
    x = np.ones((50, 8, 3, 5), np.float32)
    for op in (ops.dropout, ops.alpha_dropout):
        y = op(x, features=2, p=0.4, **SEED)
        assert (y == y[:, :, :1, :1]).all()
        assert len(np.unique(y)) == 2
    with pytest.raises(ValueError, match=r"dropout: x must have at least 3 axes, got \(2, 2\)"):
        ops.dropout(np.ones((2, 2), np.float32), features=3)
    with pytest.raises(ValueError, match="dropout: features must be 0 or more, got -1"):
        ops.dropout(np.ones((2, 2), np.float32), features=-1)


@pytest.mark.parametrize("features", [0, 2])
def test_the_gradient_falls_where_the_elements_fell_however_they_lie(features):
    x = fastnn.tensor(np.ones((6, 40, 7), np.float32), requires_grad=True)
    y = ops.dropout(x, features, 0.5, *SEED.values())
    weight = np.asfortranarray(np.random.default_rng(0).standard_normal(y.shape).astype("float32"))
    y.backward(fastnn.from_numpy(weight))
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy() * weight)


def test_nothing_is_saved_for_backward():
    x = fastnn.tensor(np.ones(1000, np.float32), requires_grad=True)
    y = ops.dropout(x * 2, 0, 0.5, *SEED.values())
    with fastnn.no_grad():
        y *= 5  # a saved result would make backward raise
    y.sum().backward()
    assert set(x.grad.tolist()) == {0.0, 4.0}


def test_the_mask_is_the_same_in_both_dtypes_and_all_layouts():
    x = np.ones((33, 65), np.float64)
    expected = ops.dropout(x, **SEED)
    np.testing.assert_array_equal(ops.dropout(x.astype("float32"), **SEED), expected)
    np.testing.assert_array_equal(ops.dropout(np.asfortranarray(x), **SEED), expected)
    out = np.empty_like(x)
    assert ops.dropout(x, **SEED, out=out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(ops.dropout(x, **SEED, out=x), expected)
