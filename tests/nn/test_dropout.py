"""Dropout as functions and modules."""

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.nn import functional as F

MODULES = [nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout]
SHAPES = {nn.Dropout1d: (6, 40, 5), nn.Dropout2d: (6, 40, 5, 2), nn.Dropout3d: (6, 40, 5, 2, 2)}
FUNCTIONS = [F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout]
AXES = {"dropout1d": 3, "dropout2d": 4, "dropout3d": 5}


@pytest.mark.parametrize("kind", MODULES)
def test_modules_work_in_training_and_only_then(kind):
    fastnn.manual_seed(0)
    layer = kind(0.5)
    assert repr(layer) == f"{kind.__name__}(p=0.5, inplace=False)"
    x = fastnn.rand(SHAPES.get(kind, (6, 40, 5))) + 1
    first, second = layer(x), layer(x)
    assert (first.numpy() != second.numpy()).any()
    changed = np.mean(first.numpy() != x.numpy())
    assert changed > 0.9
    fastnn.manual_seed(0)
    fastnn.rand(x.shape)
    np.testing.assert_array_equal(layer(x).numpy(), first.numpy())
    layer.eval()
    assert layer(x) is x


@pytest.mark.parametrize("kind", MODULES)
def test_probabilities(kind):
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"{kind.__name__}: p must lie from 0 to 1, got"):
            kind(bad)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_check_what_they_get(function):
    name = function.__name__
    x = fastnn.ones((2,) * AXES.get(name, 3))
    for training in (True, False):
        with pytest.raises(ValueError, match=f"{name}: p must lie from 0 to 1, got 2"):
            function(x, 2, training)
    with pytest.raises(TypeError, match=f"{name}: input must be of a floating dtype, got int64"):
        function(x.long(), 0.5, True)
    assert function(x, 0.0, True).tolist() == x.tolist()
    assert function(x, 1.0, True).tolist() == (x * 0).tolist()
    assert function(x, 0.5, False) is x


@pytest.mark.parametrize("function", FUNCTIONS)
def test_in_place(function):
    shape = (20,) * AXES.get(function.__name__, 3)
    fastnn.manual_seed(3)
    expected = function(fastnn.ones(shape), 0.5, True)
    fastnn.manual_seed(3)
    x = fastnn.ones(shape)
    assert function(x, 0.5, True, True) is x
    np.testing.assert_array_equal(x.numpy(), expected.numpy())
    fastnn.manual_seed(3)
    leaf = fastnn.ones(shape, requires_grad=True)
    y = leaf * 3
    function(y, 0.5, True, True).sum().backward()
    stood = expected.numpy() == expected.numpy().max()
    np.testing.assert_allclose(leaf.grad.numpy(), np.where(stood, leaf.grad.numpy().max(), 0))
    with pytest.raises(RuntimeError, match="leaf"):
        function(leaf, 0.5, True, True)


@pytest.mark.parametrize("function", [F.dropout1d, F.dropout2d, F.dropout3d])
def test_channels_fall_as_one(function):
    shape = (30, 10, *[3] * (AXES[function.__name__] - 2))
    y = function(fastnn.ones(shape), 0.5).numpy().reshape(30, 10, -1)
    assert (y == y[:, :, :1]).all()
    assert set(np.unique(y)) == {0, 2}
    assert 0.3 < np.mean(y == 0) < 0.7


def test_dropout1d_of_one_sample():
    y = F.dropout1d(fastnn.ones(200, 5), 0.5).numpy()
    assert y.shape == (200, 5)
    assert (y == y[:, :1]).all()
    x = fastnn.ones(200, 5)
    assert F.dropout1d(x, 0.5, True, True) is x
    assert set(np.unique(x.numpy())) == {0, 2}
    for shape in ((3,), (2, 3, 4, 5)):
        with pytest.raises(ValueError, match="dropout1d: input must have 2 or 3 axes"):
            F.dropout1d(fastnn.ones(shape))


def test_axes_that_torch_warns_of():
    with pytest.warns(UserWarning, match="three axes are taken for"):
        assert F.dropout2d(fastnn.ones(3, 4, 5)).shape == (3, 4, 5)
    with pytest.warns(UserWarning, match="dropout2d: input should have 3 or 4 axes"):
        F.dropout2d(fastnn.ones(3, 4))
    with pytest.warns(UserWarning, match="dropout3d: input should have 4 or 5 axes"):
        F.dropout3d(fastnn.ones(3, 4))
    assert F.dropout3d(fastnn.ones(3, 4, 2, 2)).shape == (3, 4, 2, 2)
    with pytest.raises(ValueError, match="feature_alpha_dropout: input must have at least 2 axes"):
        F.feature_alpha_dropout(fastnn.ones(3), 0.5, True)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("dropout", F.dropout),
        ("alpha_dropout", F.alpha_dropout),
        ("feature_dropout", F.dropout2d),
        ("feature_alpha_dropout", F.feature_alpha_dropout),
    ],
)
def test_names_beside_those_of_functional(name, function):
    x = fastnn.ones(8, 20, 3, 2)
    results = []
    for call in (function, getattr(fastnn, name), getattr(fastnn, name + "_")):
        fastnn.manual_seed(6)
        y = call(x, 0.5, True)
        results.append(y.tolist())
    assert y is x
    assert results[0] == results[1] == results[2]
    with pytest.raises(TypeError):
        getattr(fastnn, name)(x)


def test_dropout_trains_in_a_network():
    fastnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 1))
    x = fastnn.randn(64, 4)
    loss = model(x).sum()
    loss.backward()
    hidden = model[3].weight.grad
    assert hidden is not None
    assert hidden.numpy().any()
