"""Adafactor's and Muon's own: layouts, state, errors. What torch computes is in test_optimizers."""

import copy

import numpy as np
import pytest

import fastnn
from fastnn import optim
from fastnn.optim.matrix import orthogonal

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def leaf(array):
    return fastnn.from_numpy(array).requires_grad_()


def layouts(dtype="float64"):
    array = np.random.default_rng(0).standard_normal((6, 4)).astype(dtype)
    wide = np.zeros((12, 4), dtype)
    wide[::2] = array
    return [array.copy(), np.asfortranarray(array), wide[::2], array[::-1].copy()[::-1]]


def iterated(x, steps):
    """Newton and Schulz's iteration by way of the singular values."""
    u, s, v = np.linalg.svd(x, full_matrices=False)
    a, b, c = COEFFICIENTS
    s = s / max(np.sqrt(np.sum(s * s)), 1e-7)
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return (u * s) @ v


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (5, 5), (1, 4), (4, 1), (1, 1)])
def test_orthogonal_moves_the_singular_values_alone(shape, dtype):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    found = orthogonal(x, COEFFICIENTS, 5, 1e-7)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, iterated(x.astype("float64"), 5), atol=2e-5 if dtype == "float32" else 1e-12)
    if max(shape) > 1:
        values = np.linalg.svd(found, compute_uv=False)
        assert np.all((values > 0.3) & (values < 1.3))
    assert not orthogonal(np.zeros(shape, dtype), COEFFICIENTS, 5, 1e-7).any()


@pytest.mark.parametrize("options", [{}, {"nesterov": False, "adjust_lr_fn": "match_rms_adamw"}, {"momentum": 0.5}])
def test_muon_by_hand(options):
    wanted, p = layouts()[0], leaf(layouts()[0])
    optimizer = optim.Muon([p], lr=0.1, weight_decay=0.2, **options)
    momentum, buffer = options.get("momentum", 0.95), np.zeros((6, 4))
    ratio = 0.2 * np.sqrt(6) if "adjust_lr_fn" in options else np.sqrt(6 / 4)
    for t in range(3):
        g = np.random.default_rng(t + 1).standard_normal((6, 4))
        p.grad = fastnn.from_numpy(g)
        optimizer.step()
        buffer += (1 - momentum) * (g - buffer)
        direction = momentum * buffer + (1 - momentum) * g if options.get("nesterov", True) else buffer
        wanted = wanted * (1 - 0.1 * 0.2) - 0.1 * ratio * iterated(direction, 5)
    np.testing.assert_allclose(p.detach().numpy(), wanted, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(optimizer.state[p]["momentum_buffer"].numpy(), buffer, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("make", [optim.Adafactor, optim.Muon])
def test_any_layout_of_parameter_and_gradient(make):
    results = []
    for array in layouts():
        for g in layouts():
            kept = array.copy()
            p = leaf(array)
            p.grad = fastnn.from_numpy(g)
            optimizer = make([p], lr=0.1)
            optimizer.step()
            optimizer.step()
            results.append(array.copy())
            array[...] = kept
    for r in results:
        np.testing.assert_allclose(r, results[0], rtol=1e-12)


@pytest.mark.parametrize("make", [optim.Adafactor, optim.Muon])
def test_state_carries_a_run_on(make):
    def steps(optimizer, p, start, count):
        for i in range(start, start + count):
            p.grad = fastnn.from_numpy(np.random.default_rng(i).standard_normal(p.shape).astype("float32"))
            optimizer.step()

    whole, half = leaf(layouts("float32")[0]), leaf(layouts("float32")[0])
    steps(make([whole]), whole, 0, 4)
    one, two = make([half]), make([half], lr=0.9)
    steps(one, half, 0, 2)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    steps(two, half, 2, 2)
    np.testing.assert_array_equal(half.detach().numpy(), whole.detach().numpy())
    p = leaf(np.zeros((2, 3), "float32"))
    loss = (p * p).sum()
    p.grad = fastnn.from_numpy(np.ones((2, 3), "float32"))
    make([p]).step()
    with pytest.raises(fastnn.GraphError, match="changed in place"):
        loss.backward()


def test_empty_parameters_are_left_alone():
    for make, shape in ((optim.Adafactor, (0, 3)), (optim.Adafactor, (0,)), (optim.Muon, (3, 0)), (optim.Muon, (0, 3))):
        p = leaf(np.zeros(shape, "float32"))
        p.grad = fastnn.from_numpy(np.zeros(shape, "float32"))
        make([p]).step()
        assert p.shape == shape


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda p: optim.Adafactor([p], beta2_decay=0.8), "beta2_decay must be at most 0"),
        (lambda p: optim.Adafactor([p], eps=(-1e-3, 1e-3)), r"eps\[0\]"),
        (lambda p: optim.Adafactor([p], eps=(None, -1)), r"eps\[1\]"),
        (lambda p: optim.Adafactor([p], d=0), "Adafactor: d must be at least 1"),
        (lambda p: optim.Muon([fastnn.tensor([1.0], requires_grad=True)]), "matrices"),
        (lambda p: optim.Muon([p], adjust_lr_fn="arbitrary"), "adjust_lr_fn"),
        (lambda p: optim.Muon([p], ns_steps=100), "ns_steps"),
        (lambda p: optim.Muon([p], ns_coefficients=(1, 2)), "ns_coefficients"),
    ],
)
def test_bad_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make(leaf(np.zeros((2, 2), "float32")))
