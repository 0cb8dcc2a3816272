import math

import numpy as np
import pytest

import fastnn
import fastnn.nn.functional as F
from fastnn import nn


def logits(n=5, c=4, dtype="float32"):
    return np.random.default_rng(0).standard_normal((n, c)).astype(dtype)


def log_probabilities(x):
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def test_a_sample_alone_has_the_bits_it_has_in_its_batch():
    fastnn.random.manual_seed(0)
    for sizes in ((784, 128, 10), (33, 17, 5), (3, 64, 2)):
        net = nn.Sequential(nn.Linear(*sizes[:2]), nn.Tanh(), nn.Linear(*sizes[1:]))
        x = np.random.default_rng(1).standard_normal((130, sizes[0])).astype("float32")
        whole = net(x).detach().numpy()
        for start, stop in ((0, 1), (7, 8), (129, 130), (3, 50), (0, 129)):
            np.testing.assert_array_equal(net(x[start:stop]).detach().numpy(), whole[start:stop])


def test_linear_takes_any_leading_axes():
    layer = nn.Linear(4, 3)
    x = np.random.default_rng(0).standard_normal((2, 5, 4)).astype("float32")
    whole = layer(x).detach().numpy()
    assert whole.shape == (2, 5, 3)
    np.testing.assert_array_equal(layer(x[1, 2]).detach().numpy(), whole[1, 2])
    np.testing.assert_array_equal(layer(x.swapaxes(0, 1)).detach().numpy(), whole.swapaxes(0, 1))
    assert layer(np.zeros((0, 4), "float32")).shape == (0, 3)
    assert nn.Linear(4, 3, bias=False)(x).shape == (2, 5, 3)


def test_functional_linear_takes_torchs_names_and_a_weight_without_outputs():
    x, w, b = (
        fastnn.tensor(np.random.default_rng(i).standard_normal(s)) for i, s in enumerate(((2, 5, 4), (3, 4), (3,)))
    )
    np.testing.assert_allclose(F.linear(input=x, weight=w, bias=b), x.numpy() @ w.numpy().T + b.numpy(), rtol=1e-12)
    one = F.linear(x, w[0], b[0])
    assert one.shape == (2, 5)
    np.testing.assert_allclose(one, x.numpy() @ w.numpy()[0] + b.numpy()[0], rtol=1e-12)


def test_bilinear():
    fastnn.random.manual_seed(0)
    layer = nn.Bilinear(4, 3, 5).double()
    assert {n: tuple(p.shape) for n, p in layer.named_parameters()} == {"weight": (5, 4, 3), "bias": (5,)}
    assert 0.3 < float(np.abs(layer.weight.detach().numpy()).max()) <= 0.5
    assert repr(layer) == "Bilinear(in1_features=4, in2_features=3, out_features=5, bias=True)"
    x, y = (fastnn.tensor(np.random.default_rng(n).standard_normal((2, 6, n)), requires_grad=True) for n in (4, 3))
    arrays = [z.detach().numpy() for z in (x, layer.weight, y)]
    expected = np.einsum("abi,oij,abj->abo", *arrays) + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(x, y).detach(), expected, rtol=1e-11)
    assert fastnn.testing.gradcheck(lambda *xs: F.bilinear(*xs), [x, y, layer.weight, layer.bias], samples=20)
    assert nn.Bilinear(4, 3, 5, bias=False)(x.float(), y.float()).shape == (2, 6, 5)
    with pytest.raises(fastnn.ShapeError, match=r"bilinear: input2 must have shape .* got \(2, 3\)"):
        layer(x, y[:, 0])
    with pytest.raises(fastnn.ShapeError, match=r"bilinear: weight must have shape \(O, 3, 4\) .* got \(5, 4, 3\)"):
        layer(y, x)
    for sizes, error in (((0, 3, 4), ValueError), ((2, -1, 4), ValueError), ((2, 3, "a"), TypeError)):
        with pytest.raises(error, match="Bilinear: "):
            nn.Bilinear(*sizes)


def test_linear_gradients_of_an_empty_batch_are_zero():
    layer = nn.Linear(4, 3)
    layer(np.zeros((0, 4), "float32")).sum().backward()
    assert (layer.weight.grad.numpy() == 0).all()
    assert (layer.bias.grad.numpy() == 0).all()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_options(reduction, smoothing, weighted):
    x, y = logits(), np.array([0, 3, -100, 2, 1])
    w = np.array([1.0, 2.0, 0.5, 3.0], "float32") if weighted else None
    loss = nn.CrossEntropyLoss(None if w is None else fastnn.tensor(w), reduction=reduction, label_smoothing=smoothing)(
        fastnn.tensor(x), y
    )
    lp, cw = log_probabilities(x.astype("float64")), np.ones(4) if w is None else w.astype("float64")
    keep = y != -100
    safe = np.where(keep, y, 0)
    each = -(1 - smoothing) * cw[safe] * lp[np.arange(5), safe] - smoothing / 4 * (lp * cw).sum(axis=1)
    each = np.where(keep, each, 0)
    expected = {"none": each, "sum": each.sum(), "mean": each.sum() / (cw[safe] * keep).sum()}[reduction]
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_cross_entropy_shapes():
    x = np.random.default_rng(0).standard_normal((2, 4, 3, 5)).astype("float32")
    y = np.random.default_rng(1).integers(0, 4, (2, 3, 5))
    loss = F.cross_entropy(fastnn.tensor(x), y, reduction="none")
    assert loss.shape == (2, 3, 5)
    one = F.cross_entropy(fastnn.tensor(x[1, :, 2, 4]), fastnn.tensor(y[1, 2, 4]))
    np.testing.assert_allclose(one.numpy(), loss.numpy()[1, 2, 4], rtol=1e-6)
    np.testing.assert_allclose(F.cross_entropy(fastnn.tensor(x), y).item(), loss.numpy().mean(), rtol=1e-5)


def test_cross_entropy_at_the_edges():
    huge = fastnn.tensor([[1e38, -1e38], [0.0, 0.0]], requires_grad=True)
    loss = F.cross_entropy(huge, np.array([0, 1]))
    loss.backward()
    np.testing.assert_allclose(loss.item(), np.log(2) / 2, rtol=1e-6)
    assert np.isfinite(huge.grad.numpy()).all()
    assert np.isnan(F.cross_entropy(fastnn.tensor([[1.0, 2.0]]), np.array([-100])).item())
    assert np.isnan(F.cross_entropy(fastnn.tensor(np.zeros((0, 3), "float32")), np.zeros(0, "int64")).item())
    assert np.isnan(F.cross_entropy(fastnn.tensor([[np.nan, 2.0]]), np.array([0])).item())


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (np.array([0, 4, 1, 1, 1]), IndexError),
        (np.array([0, -1, 1, 1, 1]), IndexError),
        (np.array([0, 2**62, 1, 1, 1]), IndexError),
        (np.array([0, 1, 1, 1]), ValueError),
        (np.array([0.0, 1, 1, 1, 1]), TypeError),
    ],
)
@pytest.mark.parametrize("backend", ["kernels", "numpy"])
def test_bad_labels_raise_before_anything_is_written(target, error, backend):
    with fastnn.use_backend(backend), pytest.raises(error):
        F.cross_entropy(fastnn.tensor(logits()), target)


def test_bad_options_raise():
    with pytest.raises(ValueError, match="reduction"):
        nn.CrossEntropyLoss(reduction="average")
    with pytest.raises(ValueError, match="label_smoothing"):
        F.cross_entropy(fastnn.tensor(logits()), np.zeros(5, "int64"), label_smoothing=1.5)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax_along_any_axis(dim):
    x = logits()
    e = np.exp(x - x.max(axis=dim, keepdims=True))
    np.testing.assert_allclose(F.softmax(fastnn.tensor(x), dim).numpy(), e / e.sum(axis=dim, keepdims=True), rtol=1e-5)
    x64 = fastnn.tensor(logits(dtype="float64"), requires_grad=True)
    assert fastnn.testing.gradcheck(lambda t: F.softmax(t, dim), x64)
    assert fastnn.testing.gradcheck(lambda t: F.log_softmax(t, dim), x64)


@pytest.mark.parametrize("backend", ["kernels", "numpy"])
def test_activations_propagate_nan_and_infinity(backend):
    x = fastnn.tensor([np.nan, np.inf, -np.inf, -0.0, 1e-45], requires_grad=True)
    with fastnn.use_backend(backend):
        for function in (F.gelu, lambda x: F.gelu(x, "tanh"), F.silu):
            x.grad = None
            y = function(x)
            np.testing.assert_allclose(y.detach().numpy(), np.array([np.nan, np.inf, 0, 0, 0], "float32"), atol=1e-44)
            y.sum().backward()
            np.testing.assert_array_equal(x.grad.numpy(), np.array([np.nan, 1, 0, 0.5, 0.5], "float32"))
    x = x.detach()
    np.testing.assert_array_equal(F.relu(x).numpy(), np.array([np.nan, np.inf, 0, 0, 1e-45], "float32"))
    np.testing.assert_array_equal(F.tanh(x).numpy(), np.array([np.nan, 1, -1, 0, 1e-45], "float32"))
    np.testing.assert_array_equal(F.sigmoid(x).numpy(), np.array([np.nan, 1, 0, 0.5, 0.5], "float32"))


def test_gelu_and_silu_take_torchs_arguments():
    values = [-3.0, -1.0, 0.5, 2.0]
    x = fastnn.tensor(values)
    inner = [math.sqrt(2 / math.pi) * (v + 0.044715 * v**3) for v in values]
    for function, expected in {
        nn.GELU(): [v * math.erfc(-v / math.sqrt(2)) / 2 for v in values],
        nn.GELU("tanh"): [v / 2 * (1 + math.tanh(u)) for v, u in zip(values, inner, strict=True)],
        nn.SiLU(): [v / (1 + math.exp(-v)) for v in values],
        fastnn.Tensor.erf: [math.erf(v) for v in values],
    }.items():
        np.testing.assert_allclose(function(x).numpy(), expected, rtol=1e-6)
    assert repr(nn.GELU()) == "GELU(approximate='none')"
    with pytest.raises(ValueError, match="gelu: approximate must be 'none' or 'tanh', got 'sigmoid'"):
        nn.GELU("sigmoid")(x)
    assert nn.SiLU(inplace=True)(x) is x
    leaf = fastnn.tensor([-1.0, 2.0], requires_grad=True)
    F.silu(leaf * 3.0, inplace=True).sum().backward()
    other = fastnn.tensor([-1.0, 2.0], requires_grad=True)
    F.silu(other * 3.0).sum().backward()
    assert leaf.grad.tolist() == other.grad.tolist()


def test_relu_in_place():
    x = fastnn.tensor([-1.0, 2.0])
    assert nn.ReLU(inplace=True)(x) is x
    assert x.tolist() == [0, 2]
    leaf = fastnn.tensor([-1.0, 2.0], requires_grad=True)
    y = leaf * 3.0
    F.relu(y, inplace=True)
    y.sum().backward()
    assert leaf.grad.tolist() == [0, 3]


def test_whole_networks_have_right_gradients():
    fastnn.random.manual_seed(0)
    for activation in (nn.Tanh, nn.Sigmoid):
        net = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), activation(), nn.Linear(5, 3)).double()
        x = fastnn.tensor(np.random.default_rng(0).standard_normal((4, 2, 3)), requires_grad=True)
        y = np.array([0, 1, 2, 1])
        names = [n for n, _ in net.named_parameters()]

        def loss(x, *values, net=net, names=names, y=y):
            for name, value in zip(names, values, strict=True):
                place, _, leaf = name.rpartition(".")
                net.get_submodule(place).__dict__[leaf] = value
            return F.cross_entropy(net(x), y)

        assert fastnn.testing.gradcheck(loss, [x, *net.parameters()])
