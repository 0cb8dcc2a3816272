import math

import numpy as np
import pytest

import fastnn
from fastnn.nn import init


def zeros(*shape, dtype="float32"):
    return fastnn.from_numpy(np.zeros(shape, dtype))


DRAWN = {
    "uniform_": ((), lambda shape: (-0.0, 1.0, 0.5, 1 / math.sqrt(12))),
    "normal_": ((1.0, 2.0), lambda shape: (-math.inf, math.inf, 1.0, 2.0)),
    "xavier_uniform_": ((2.0,), lambda shape: (*bounds(2 * math.sqrt(6 / (shape[0] + shape[1]))),)),
    "xavier_normal_": ((), lambda shape: (-math.inf, math.inf, 0.0, math.sqrt(2 / (shape[0] + shape[1])))),
    "kaiming_uniform_": ((0, "fan_in", "relu"), lambda shape: bounds(math.sqrt(6 / shape[1]))),
    "kaiming_normal_": ((0, "fan_out", "linear"), lambda shape: (-math.inf, math.inf, 0.0, math.sqrt(1 / shape[0]))),
}


def bounds(b):
    return -b, b, 0.0, b / math.sqrt(3)


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_drawn_values_have_the_distribution(name, dtype):
    arguments, expected = DRAWN[name]
    weight = zeros(200, 300, dtype=dtype)
    fastnn.manual_seed(1)
    assert getattr(init, name)(weight, *arguments) is weight
    values = weight.numpy()
    low, high, mean, std = expected(values.shape)
    assert low <= values.min()
    assert values.max() <= high
    assert abs(values.mean() - mean) < 5 * std / math.sqrt(values.size)
    assert abs(values.std() / std - 1) < 0.02
    again = zeros(300, 200, dtype=dtype).T  # in another layout
    fastnn.manual_seed(1)
    getattr(init, name)(again, *arguments)
    np.testing.assert_array_equal(again.numpy(), values)
    own = np.random.default_rng(5)
    one = getattr(init, name)(zeros(3, 4), *arguments, generator=own).numpy()
    two = getattr(init, name)(zeros(3, 4), *arguments, generator=np.random.default_rng(5)).numpy()
    np.testing.assert_array_equal(one, two)


def truncated_moments(low, high):
    x = np.linspace(low, high, 200_001)
    p = np.exp(-((x - peak(low, high)) * (x + peak(low, high))) / 2)
    p /= p.sum()
    mean = (p * x).sum()
    return mean, math.sqrt((p * (x - mean) ** 2).sum())


def peak(low, high):
    return min(max(0.0, low), high)


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [
        (0, 1, -2, 2),
        (1, 0.5, 0.9, 1.0),
        (0, 1, 1.5, 8),
        (0, 1, -9, -1.9),
        (0, 10, -1, 2),
        (0, 1, -0.01, 40),
        (2, 1, 1, 3),
    ],
)
def test_truncated_normals(mean, std, a, b):
    fastnn.manual_seed(2)
    values = init.trunc_normal_(zeros(40_000, dtype="float64"), mean, std, a, b).numpy()
    assert a <= values.min()
    assert values.max() <= b
    expected, spread = truncated_moments((a - mean) / std, (b - mean) / std)
    scaled = (values - mean) / std
    assert abs(scaled.mean() - expected) < 5 * spread / 200
    assert abs(scaled.std() / spread - 1) < 0.03


def test_truncated_normals_far_out():
    with pytest.warns(UserWarning, match="more than 2 std"):
        values = init.trunc_normal_(zeros(1000), 0.0, 1.0, 10.0, 11.0).numpy()
    assert 10 <= values.min() < 10.01
    assert (init.trunc_normal_(zeros(3), 1.0, 0.0, -2.0, 2.0).numpy() == 1).all()
    with pytest.raises(ValueError, match="a above b"):
        init.trunc_normal_(zeros(3), a=1.0, b=0.0)


def test_constants():
    assert init.constant_(zeros(2), 3.5).tolist() == [3.5, 3.5]
    assert init.ones_(zeros(2, dtype="int64")).tolist() == [1, 1]
    assert init.zeros_(init.ones_(zeros(1))).tolist() == [0]
    assert init.eye_(zeros(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    parameter = fastnn.nn.Parameter(zeros(2))
    version = parameter._version
    assert init.ones_(parameter).requires_grad
    assert parameter._version > version


@pytest.mark.parametrize(("shape", "groups"), [((4, 2, 3), 1), ((4, 2, 3, 4), 2), ((2, 3, 2, 2, 3), 1), ((6, 1, 1), 3)])
def test_dirac_keeps_channels(shape, groups):
    weight = init.dirac_(init.ones_(zeros(*shape)), groups).numpy()
    centre = tuple(k // 2 for k in shape[2:])
    share = shape[0] // groups
    for index in np.ndindex(shape):
        wanted = index[0] % share == index[1] and index[2:] == centre
        assert weight[index] == wanted


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (4, 2, 3), (3, 2, 2, 2)])
def test_orthogonal(shape):
    w = init.orthogonal_(zeros(*shape, dtype="float64"), gain=3.0).numpy().reshape(shape[0], -1) / 3
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-12)


def test_orthogonal_takes_no_sides():
    fastnn.manual_seed(0)
    diagonal = [init.orthogonal_(zeros(2, 2)).numpy()[0, 0] for _ in range(400)]
    assert abs(np.mean(diagonal)) < 0.2
    assert init.orthogonal_(zeros(0, 3)).shape == (0, 3)


def test_sparse():
    fastnn.manual_seed(0)
    weight = init.sparse_(zeros(10, 50), 0.25, std=2.0).numpy()
    assert ((weight == 0).sum(0) == 3).all()
    assert abs(weight[weight != 0].std() - 2) < 0.3
    assert len({tuple(column) for column in (weight == 0).T}) > 10


def test_gains():
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    assert init.calculate_gain("leaky_relu") == init.calculate_gain("leaky_relu", 0.01)
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        init.calculate_gain("gelu")
    with pytest.raises(ValueError, match="must be a number"):
        init.calculate_gain("leaky_relu", True)


def test_fans_of_convolutions():
    fastnn.manual_seed(0)
    weight = init.kaiming_normal_(zeros(64, 32, 3, 3), mode="fan_in", nonlinearity="relu")
    assert abs(weight.numpy().std() / math.sqrt(2 / (32 * 9)) - 1) < 0.03


def test_empty_weights():
    with pytest.warns(UserWarning, match="no-op"):
        init.kaiming_uniform_(zeros(0, 3))
    with pytest.warns(UserWarning, match="no-op"):
        init.kaiming_normal_(zeros(3, 0))
    assert init.xavier_normal_(zeros(0, 0)).shape == (0, 0)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: init.xavier_uniform_(zeros(3)), ValueError),
        (lambda: init.kaiming_uniform_(zeros(3, 3), mode="fan"), ValueError),
        (lambda: init.normal_(zeros(3), std=-1.0), ValueError),
        (lambda: init.uniform_(zeros(3), 1.0, 0.0), ValueError),
        (lambda: init.uniform_(zeros(3, dtype="int64")), TypeError),
        (lambda: init.uniform_(np.zeros(3)), TypeError),
        (lambda: init.ones_(np.zeros(3)), TypeError),
        (lambda: init.eye_(zeros(3)), ValueError),
        (lambda: init.dirac_(zeros(3, 3)), ValueError),
        (lambda: init.dirac_(zeros(3, 3, 1), 2), ValueError),
        (lambda: init.orthogonal_(zeros(3)), ValueError),
        (lambda: init.sparse_(zeros(3), 0.1), ValueError),
    ],
)
def test_errors(call, error):
    with pytest.raises(error):
        call()
