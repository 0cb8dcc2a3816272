"""Activations under torch's names: arguments, kinks, in place, modules."""

import math

import numpy as np
import pytest

import fastnn
import fastnn.nn.functional as F
from fastnn import nn

VALUES = np.array([-7.0, -3.0, -1.5, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 3.0, 6.0, 8.0])
MODULES = {
    nn.ReLU: lambda x: max(x, 0),
    nn.ReLU6: lambda x: min(max(x, 0), 6),
    nn.Hardtanh: lambda x: min(max(x, -1), 1),
    nn.LeakyReLU: lambda x: x if x > 0 else 0.01 * x,
    nn.PReLU: lambda x: x if x > 0 else 0.25 * x,
    nn.ELU: lambda x: x if x > 0 else math.expm1(x),
    nn.CELU: lambda x: x if x > 0 else math.expm1(x),
    nn.SELU: lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    nn.Mish: lambda x: x * math.tanh(math.log1p(math.exp(x))),
    nn.Softplus: lambda x: math.log1p(math.exp(x)),
    nn.Softsign: lambda x: x / (1 + abs(x)),
    nn.Hardswish: lambda x: x * min(max(x + 3, 0), 6) / 6,
    nn.Hardsigmoid: lambda x: min(max(x + 3, 0), 6) / 6,
    nn.LogSigmoid: lambda x: -math.log1p(math.exp(-x)),
    nn.Hardshrink: lambda x: x if abs(x) > 0.5 else 0,
    nn.Softshrink: lambda x: x - 0.5 if x > 0.5 else x + 0.5 if x < -0.5 else 0,
    nn.Tanhshrink: lambda x: x - math.tanh(x),
}


def leaf(values, dtype=np.float64):
    return fastnn.tensor(np.array(values, dtype), requires_grad=True)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_defaults(module):
    got = module().double()(fastnn.tensor(VALUES)).detach().numpy()
    np.testing.assert_allclose(got, [MODULES[module](x) for x in VALUES], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("function", "kinks", "slopes"),
    [
        (F.relu, [0], [0]),
        (F.relu6, [0, 6], [0, 0]),
        (F.hardtanh, [-1, 1], [0, 0]),
        (F.leaky_relu, [0], [0.01]),
        (F.elu, [0], [1]),
        (F.hardsigmoid, [-3, 3], [0, 0]),
        (F.hardswish, [-3, 3], [0, 1]),
        (F.hardshrink, [-0.5, 0.5], [0, 0]),
        (F.softshrink, [-0.5, 0.5], [0, 0]),
        (lambda x: F.threshold(x, 1, 2), [1], [0]),
    ],
)
@pytest.mark.parametrize("backend", ["kernels", "numpy"])
def test_slopes_at_kinks_are_torchs(function, kinks, slopes, backend):
    x = leaf(kinks)
    with fastnn.use_backend(backend):
        function(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), slopes, rtol=1e-15)


def test_hyperparameters_compile_nothing():
    from fastnn._kernels import jit

    x = fastnn.tensor(VALUES)
    calls = [
        (lambda a: F.leaky_relu(x, a), lambda v, a: np.where(v > 0, v, a * v)),
        (lambda a: F.elu(x, a), lambda v, a: np.where(v > 0, v, a * np.expm1(np.minimum(v, 0)))),
        (lambda a: F.celu(x, a), lambda v, a: np.where(v > 0, v, a * np.expm1(np.minimum(v, 0) / a))),
        (
            lambda a: F.softplus(x, a, 2),
            lambda v, a: np.where(v * a > 2, v, np.log1p(np.exp(np.minimum(v * a, 2))) / a),
        ),
        (lambda a: F.hardtanh(x, -a, 2 * a), lambda v, a: np.clip(v, -a, 2 * a)),
        (lambda a: F.threshold(x, a, 5), lambda v, a: np.where(v > a, v, 5)),
        (lambda a: F.hardshrink(x, a), lambda v, a: np.where(np.abs(v) > a, v, 0)),
        (lambda a: F.softshrink(x, a), lambda v, a: np.sign(v) * np.maximum(np.abs(v) - a, 0)),
        (lambda a: F.rrelu(x, a, 3 * a), lambda v, a: np.where(v > 0, v, 2 * a * v)),
    ]
    for call, _ in calls:
        call(1.0)
    before = len(jit._addresses)
    for call, expected in calls:
        for a in (0.3, 0.7):
            np.testing.assert_allclose(call(a).numpy(), expected(VALUES, a), rtol=1e-12, atol=1e-15)
    assert len(jit._addresses) == before


IN_PLACE = {
    "relu": (),
    "relu6": (),
    "hardtanh": (-0.5, 0.7),
    "threshold": (0.1, 3.0),
    "leaky_relu": (0.2,),
    "elu": (0.7,),
    "celu": (0.7,),
    "selu": (),
    "silu": (),
    "mish": (),
    "hardswish": (),
    "hardsigmoid": (),
    "rrelu": (0.1, 0.3),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name):
    function, given = getattr(F, name), IN_PLACE[name]
    x = fastnn.tensor(VALUES)
    expected = function(x, *given)
    assert function(x, *given, inplace=True) is x
    np.testing.assert_array_equal(x.numpy(), expected.numpy())
    one, two = leaf(VALUES), leaf(VALUES)
    y = one * 1.5
    assert function(y, *given, inplace=True) is y
    y.sum().backward()
    function(two * 1.5, *given).sum().backward()
    np.testing.assert_array_equal(one.grad.numpy(), two.grad.numpy())
    with pytest.raises(fastnn.GraphError, match="leaf"):
        function(leaf(VALUES), *given, inplace=True)
    if hasattr(F, f"{name}_"):
        x = fastnn.tensor(VALUES)
        assert getattr(F, f"{name}_")(x, *given) is x
        np.testing.assert_array_equal(x.numpy(), expected.numpy())


def test_prelu_has_a_slope_for_each_channel():
    rng = np.random.default_rng(0)
    layer = nn.PReLU(3, init=0.1, dtype=np.float64)
    assert {n: tuple(p.shape) for n, p in layer.named_parameters()} == {"weight": (3,)}
    assert repr(layer) == "PReLU(num_parameters=3)"
    for shape in ((4, 3), (4, 3, 5), (2, 3, 4, 5), (0, 3)):
        x = fastnn.tensor(rng.standard_normal(shape), requires_grad=True)
        slopes = layer.weight.detach().numpy().reshape(-1, *(1 for _ in shape[2:]))
        np.testing.assert_allclose(
            layer(x).detach().numpy(), np.where(x.numpy(force=True) > 0, 1, slopes) * x.numpy(force=True)
        )
        if x.numel():
            assert fastnn.testing.gradcheck(F.prelu, [x, layer.weight])
    one = leaf([-2.0, 3.0])
    for weight in (leaf(0.5), leaf([0.5])):
        assert F.prelu(one, weight).tolist() == [-1.0, 3.0]
        assert F.prelu(leaf(-2.0), weight).tolist() == -1.0
    with pytest.raises(fastnn.ShapeError, match=r"prelu: weight must have shape \(4,\) or \(1,\), got \(3,\)"):
        F.prelu(leaf(np.ones((2, 4))), layer.weight)
    layer.weight.detach().fill_(9)
    layer.reset_parameters()
    assert layer.weight.tolist() == [0.1] * 3


def test_rrelu_draws_slopes_in_training():
    layer = nn.RReLU(0.1, 0.5)
    x = leaf(np.full(10_000, -1.0))
    y = layer(x)
    slopes = -y.detach().numpy()
    assert 0.1 <= slopes.min() < 0.11
    assert 0.49 < slopes.max() <= 0.5
    np.testing.assert_allclose(slopes.mean(), 0.3, atol=0.01)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), slopes)
    fastnn.manual_seed(1)
    one = layer(x).tolist()
    fastnn.manual_seed(1)
    assert layer(x).tolist() == one
    layer.eval()
    np.testing.assert_allclose(layer(x).detach().numpy(), -0.3)
    z = fastnn.tensor([-1.0, 2.0])
    F.rrelu_(z, 0.5, 0.5, training=True)
    assert z.tolist() == [-0.5, 2.0]


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 4, 6), (0, 2)])
def test_glu(shape):
    x = fastnn.tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)
    for dim in range(-len(shape), len(shape)):
        a, b = np.split(x.numpy(force=True), 2, dim)
        np.testing.assert_allclose(nn.GLU(dim)(x).detach().numpy(), a / (1 + np.exp(-b)), rtol=1e-12)
        if x.numel():
            assert fastnn.testing.gradcheck(lambda t, dim=dim: F.glu(t, dim), x)
    with pytest.raises(fastnn.ShapeError, match="glu: x must have an even extent along axis 0, got shape"):
        F.glu(fastnn.tensor(np.ones((3, 2))), 0)
    with pytest.raises(fastnn.ShapeError, match="glu: x must have an axis"):
        F.glu(fastnn.tensor(1.0))


def test_softmax_and_its_kin():
    x = fastnn.tensor(np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype("float32"))
    e = np.exp(x.numpy())
    np.testing.assert_allclose(nn.Softmax2d()(x).numpy(), e / e.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(nn.Softmax2d()(x[0]).numpy(), (e / e.sum(axis=1, keepdims=True))[0], rtol=1e-5)
    np.testing.assert_allclose(nn.Softmin(2)(x).numpy(), (1 / e) / (1 / e).sum(axis=2, keepdims=True), rtol=1e-5)
    assert F.softmin(x, 1, dtype=np.float64).dtype == np.float64
    assert fastnn.softmax(fastnn.tensor([1, 2]), 0, dtype=fastnn.float32).dtype == np.float32
    for ndim, axis in ((1, 0), (2, 1), (3, 0), (4, 1)):
        y = fastnn.tensor(x.numpy()[(0,) * (4 - ndim)])
        with pytest.warns(UserWarning, match="softmax: dim is missing"):
            np.testing.assert_array_equal(F.softmax(y).numpy(), F.softmax(y, axis).numpy())
    with pytest.raises(fastnn.ShapeError, match="Softmax2d"):
        nn.Softmax2d()(x[0, 0])


def test_bad_arguments():
    x = fastnn.tensor(VALUES)
    for call, words in (
        (lambda: F.softshrink(x, -1), "softshrink: lambd must not be negative, got -1"),
        (lambda: F.celu(x, 0), "celu: alpha must not be 0"),
        (lambda: F.hardtanh(x, 1, -1), "hardtanh: min_val must not be above max_val"),
        (lambda: nn.Hardtanh(1, 1), "Hardtanh: max_val must be above min_val"),
        (lambda: F.rrelu(x, 2, 1), "rrelu: lower must not be above upper"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.warns(FutureWarning, match="min_val"):
        assert nn.Hardtanh(min_value=-2).min_val == -2


def test_what_modules_say():
    for module, text in {
        nn.ELU(0.5, inplace=True): "ELU(alpha=0.5, inplace=True)",
        nn.Hardtanh(-2, 2): "Hardtanh(min_val=-2, max_val=2)",
        nn.Threshold(0.1, 20): "Threshold(threshold=0.1, value=20)",
        nn.RReLU(): "RReLU(lower=0.125, upper=0.3333333333333333)",
        nn.Softplus(): "Softplus(beta=1.0, threshold=20.0)",
        nn.Softshrink(): "Softshrink(0.5)",
        nn.ReLU(True): "ReLU(inplace=True)",
        nn.Hardswish(True): "Hardswish()",
        nn.GLU(): "GLU(dim=-1)",
        nn.Softmin(1): "Softmin(dim=1)",
        nn.LeakyReLU(): "LeakyReLU(negative_slope=0.01)",
    }.items():
        assert repr(module) == text


def test_integers_go_through_straight_lines():
    x = fastnn.tensor([-2, 3, 9])
    assert F.relu6(x).tolist() == [0, 3, 6]
    assert F.hardtanh(x, -1, 4).tolist() == [-1, 3, 4]
    assert F.threshold(x, 3, 7).tolist() == [7, 7, 9]
    assert F.relu6(x).dtype == np.int64
    assert F.elu(x).dtype == np.float32
