import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.nn.utils import (
    parametrizations,
    parametrize,
    remove_spectral_norm,
    remove_weight_norm,
    spectral_norm,
    weight_norm,
)
from fastnn.nn.utils.matrices import expm
from fastnn.testing import gradcheck


def layer(inputs=4, outputs=3, dtype="float64"):
    fastnn.manual_seed(0)
    return nn.Linear(inputs, outputs, dtype=dtype)


def values(tensor):
    return tensor.detach().numpy().copy()


def check_gradients(module, *names):
    """Of the weight that is read, with respect to what is kept."""
    kept = [getattr(module.parametrizations.weight, name) for name in names]

    def weight(*tensors):
        return module.parametrizations.weight[0](*tensors)

    assert gradcheck(weight, tuple(kept))


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(dim):
    linear = layer()
    weight = values(linear.weight)
    axes = None if dim is None else (1 - dim,)
    length = np.sqrt((weight**2).sum(axis=axes, keepdims=dim is not None))
    parametrizations.weight_norm(linear, dim=dim)
    np.testing.assert_allclose(values(linear.weight), weight, rtol=1e-14)
    np.testing.assert_allclose(values(linear.parametrizations.weight.original0), length, rtol=1e-14)
    check_gradients(linear, "original0", "original1")
    with fastnn.no_grad():
        linear.parametrizations.weight.original0.mul_(2.0)
    np.testing.assert_allclose(values(linear.weight), 2 * weight, rtol=1e-14)
    parametrize.remove_parametrizations(linear, "weight")
    np.testing.assert_allclose(values(linear.weight), 2 * weight, rtol=1e-14)


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_by_a_hook(dim):
    x = np.random.default_rng(0).standard_normal((5, 4))
    linear, other = layer(), parametrizations.weight_norm(layer(), dim=dim)
    assert weight_norm(linear, dim=dim) is linear
    assert [name for name, _ in linear.named_parameters()] == ["bias", "weight_g", "weight_v"]
    for module in (linear, other):
        (module(x) * fastnn.tensor(np.arange(15.0).reshape(5, 3))).sum().backward()
    kept = other.parametrizations.weight
    np.testing.assert_allclose(linear.weight_g.grad.numpy(), kept.original0.grad.numpy(), rtol=1e-12)
    np.testing.assert_allclose(linear.weight_v.grad.numpy(), kept.original1.grad.numpy(), rtol=1e-12, atol=1e-12)
    with fastnn.no_grad():
        linear.weight_g.mul_(2.0)
    expected = values(linear(x))
    with pytest.raises(RuntimeError, match="already"):
        weight_norm(linear)
    remove_weight_norm(linear)
    assert sorted(name for name, _ in linear.named_parameters()) == ["bias", "weight"]
    np.testing.assert_allclose(values(linear(x)), expected, rtol=1e-14)
    with pytest.raises(ValueError, match="not found"):
        remove_weight_norm(linear)


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (1, 1), (3, 2, 2)])
@pytest.mark.parametrize("dim", [0, 1])
def test_spectral_norm(shape, dim):
    rng = np.random.default_rng(0)
    module = nn.Module()
    weight = rng.standard_normal(shape)
    module.weight = nn.Parameter(weight.copy())
    parametrizations.spectral_norm(module, dim=dim, n_power_iterations=3)
    for _ in range(100):
        module.weight  # noqa: B018
    module.eval()
    matrix = np.moveaxis(weight, dim, 0).reshape(shape[dim], -1)
    np.testing.assert_allclose(values(module.weight), weight / np.linalg.svd(matrix)[1][0], rtol=1e-6)
    check_gradients(module, "original")
    assert set(module.state_dict()) == {
        "parametrizations.weight.original",
        "parametrizations.weight.0._u",
        "parametrizations.weight.0._v",
    }
    before = values(module.parametrizations.weight[0]._u)
    module.weight  # noqa: B018
    np.testing.assert_array_equal(values(module.parametrizations.weight[0]._u), before)


def test_spectral_norm_of_vectors_and_its_errors():
    module = nn.Module()
    module.weight = nn.Parameter(np.array([3.0, 4.0]))
    parametrizations.spectral_norm(module)
    np.testing.assert_allclose(values(module.weight), [0.6, 0.8])
    check_gradients(module, "original")
    with fastnn.no_grad():
        module.parametrizations.weight.original.zero_()
    assert values(module.weight).tolist() == [0, 0]
    with pytest.raises(ValueError, match="n_power_iterations"):
        parametrizations.spectral_norm(layer(), n_power_iterations=0)
    with pytest.raises(ValueError, match="no parameter or buffer"):
        parametrizations.spectral_norm(layer(), "missing")


def test_spectral_norm_by_a_hook():
    x = np.random.default_rng(0).standard_normal((5, 4))
    linear = layer()
    weight = values(linear.weight)
    assert spectral_norm(linear, n_power_iterations=100) is linear
    assert sorted(linear.state_dict()) == ["bias", "weight_orig", "weight_u", "weight_v"]
    assert [name for name, _ in linear.named_parameters()] == ["bias", "weight_orig"]
    linear(x).sum().backward()
    np.testing.assert_allclose(values(linear.weight), weight / np.linalg.svd(weight)[1][0], rtol=1e-12)
    linear.eval()
    original = linear.weight_orig
    gradient = original.grad.numpy()
    for index in np.ndindex(weight.shape):
        ends = []
        for step in (1e-6, -1e-6):
            with fastnn.no_grad():
                original.array[index] += step
                ends.append(linear(x).sum().item())
                original.array[index] -= step
        assert abs((ends[0] - ends[1]) / 2e-6 - gradient[index]) < 1e-6
    expected = values(linear(x))
    with pytest.raises(RuntimeError, match="already"):
        spectral_norm(linear)
    remove_spectral_norm(linear)
    assert sorted(linear.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(values(linear(x)), expected, rtol=1e-14)
    with pytest.raises(ValueError, match="not found"):
        remove_spectral_norm(linear)
    linear.scale = nn.Parameter(np.array(2.0))
    with pytest.raises(ValueError, match="at least 1 axis"):
        spectral_norm(linear, "scale")
    with pytest.raises(ValueError, match="positive"):
        spectral_norm(linear, n_power_iterations=0)


@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 5), (1, 1), (2, 4, 3), (2, 3, 3)])
@pytest.mark.parametrize("orthogonal_map", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("use_trivialization", [True, False])
def test_orthogonal(shape, orthogonal_map, use_trivialization):
    rng = np.random.default_rng(0)
    module = nn.Module()
    module.weight = nn.Parameter(rng.standard_normal(shape))
    parametrizations.orthogonal(module, orthogonal_map=orthogonal_map, use_trivialization=use_trivialization)
    tall = shape[-2] >= shape[-1]

    small = min(shape[-2:])

    def check(weight):
        q = weight if tall else weight.swapaxes(-2, -1)
        products = q.swapaxes(-2, -1) @ q
        np.testing.assert_allclose(products, np.broadcast_to(np.eye(small), products.shape), atol=1e-12)

    check(values(module.weight))
    # householder reads signs off the diagonal, so nothing may be moved there
    original = module.parametrizations.weight.original
    beside = fastnn.from_numpy(np.broadcast_to(1 - np.eye(*shape[-2:]), shape))
    diagonal = fastnn.from_numpy(values(original) * np.eye(*shape[-2:]))
    with fastnn.no_grad():
        original.add_(fastnn.from_numpy(rng.standard_normal(shape)) * beside)
    check(values(module.weight))
    assert gradcheck(lambda x: module.parametrizations.weight[0](x * beside + diagonal), (original,))
    wanted = np.linalg.qr(rng.standard_normal((*shape[:-2], max(shape[-2:]), min(shape[-2:]))))[0]
    wanted = np.ascontiguousarray(wanted if tall else wanted.swapaxes(-2, -1))
    if use_trivialization or orthogonal_map == "householder":
        module.weight = fastnn.from_numpy(wanted)
        np.testing.assert_allclose(values(module.weight), wanted, atol=1e-12)
    else:
        with pytest.raises(NotImplementedError, match="use_trivialization"):
            module.weight = fastnn.from_numpy(wanted)


def test_orthogonal_errors():
    with pytest.raises(ValueError, match="orthogonal_map must be one of"):
        parametrizations.orthogonal(layer(), orthogonal_map="qr")
    with pytest.raises(ValueError, match="at least 2 axes"):
        parametrizations.orthogonal(layer(), "bias")
    module = parametrizations.orthogonal(layer())
    with pytest.raises(ValueError, match=r"shape \(3, 4\)"):
        module.weight = fastnn.tensor(np.eye(3))


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 30.0])
def test_exponentials(scale):
    a = np.random.default_rng(0).standard_normal((2, 4, 4)) * scale
    a = (a + a.swapaxes(-2, -1)) / 2
    eigenvalues, vectors = np.linalg.eigh(a)
    expected = (vectors * np.exp(eigenvalues)[:, None, :]) @ vectors.swapaxes(-2, -1)
    found = expm(a)
    assert np.abs(found - expected).max() <= 1e-11 * np.abs(expected).max()
    assert expm(np.zeros((0, 0))).shape == (0, 0)
