"""Convolution layers: what they are made of, what they refuse; values and gradients: tests/ops/test_declarations.py."""

import copy

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.nn import functional as F

rng = np.random.default_rng(2)


def naive(x, w, stride, padding, dilation, groups):
    """A convolution of two axes, element by element, in the order of its definition."""
    n, _, *extents = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True)]
    out = [(e + 2 * p - r) // s + 1 for e, p, r, s in zip(extents, padding, reach, stride, strict=True)]
    y = np.zeros((n, w.shape[0], *out))
    each = w.shape[0] // groups
    for o in range(w.shape[0]):
        first = o // each * w.shape[1]
        for i in range(out[0]):
            for j in range(out[1]):
                part = padded[
                    :, first : first + w.shape[1],
                    i * stride[0] : i * stride[0] + reach[0] : dilation[0],
                    j * stride[1] : j * stride[1] + reach[1] : dilation[1],
                ]  # fmt: skip
                y[:, o, i, j] = (part * w[o]).sum((1, 2, 3))
    return y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_drawn_problems_of_small_integers_are_exact(dtype):
    for _ in range(40):
        groups = int(rng.choice([1, 1, 2, 4]))
        channels, outputs = groups * rng.integers(1, 20), groups * rng.integers(1, 20)
        kernel, stride = rng.integers(1, 5, 2), rng.integers(1, 4, 2)
        dilation, padding = rng.integers(1, 3, 2), rng.integers(0, 3, 2)
        extents = rng.integers(9, 14, 2)
        x = rng.integers(-4, 5, (2, channels, *extents)).astype(dtype)
        w = rng.integers(-4, 5, (outputs, channels // groups, *kernel)).astype(dtype)
        expected = naive(x, w, stride, padding, dilation, groups)
        args = [tuple(map(int, v)) for v in (stride, padding, dilation)]
        for threads in (1, 3):
            with fastnn.threads(threads):
                found = F.conv2d(fastnn.from_numpy(x), fastnn.from_numpy(w), None, *args, groups)
            np.testing.assert_array_equal(found.array, expected)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_sample_alone_and_in_words(axes):
    layer = getattr(nn, f"Conv{axes}d")(4, 6, 3, padding="same", dilation=2)
    x = fastnn.tensor(rng.standard_normal((2, 4, *(7,) * axes)).astype("f4"))
    y = layer(x)
    assert y.shape == (2, 6, *(7,) * axes)
    np.testing.assert_array_equal(layer(x[0]).detach().array, y.detach().array[0])
    valid = getattr(F, f"conv{axes}d")(x, layer.weight, layer.bias, padding="valid")
    assert valid.shape == (2, 6, *(5,) * axes)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes(mode):
    layer = nn.Conv2d(3, 4, (3, 2), padding=(2, 1), padding_mode=mode)
    x = fastnn.tensor(rng.standard_normal((2, 3, 5, 6)).astype("f4"))
    expected = F.conv2d(F.pad(x, (1, 1, 2, 2), mode), layer.weight, layer.bias)
    np.testing.assert_array_equal(layer(x).detach().array, expected.detach().array)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_transpose_goes_back(axes):
    forward = getattr(nn, f"Conv{axes}d")(3, 5, 3, stride=2, padding=1, bias=False, dtype=np.float64)
    back = getattr(nn, f"ConvTranspose{axes}d")(5, 3, 3, stride=2, padding=1, bias=False, dtype=np.float64)
    back.load_state_dict(forward.state_dict())
    x = fastnn.tensor(rng.standard_normal((2, 3, *(8,) * axes)), requires_grad=True)
    y = forward(x)
    z = fastnn.tensor(rng.standard_normal(y.shape))
    sent = back(z, output_size=x.shape[2:])
    assert sent.shape == x.shape
    y.backward(z)
    np.testing.assert_allclose(x.grad.array, sent.detach().array, atol=1e-12)
    with pytest.raises(ValueError, match="output_size must lie from"):
        back(z, output_size=[20] * axes)


def test_results_and_weights_have_their_channels_last_in_memory():
    layer = nn.Conv2d(8, 16, 3)
    assert layer.weight.shape == (16, 8, 3, 3)
    assert layer.weight.array.transpose(2, 3, 1, 0).flags.c_contiguous
    y = layer(fastnn.zeros(2, 8, 5, 5)).detach()
    assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("name", [f"{kind}{axes}d" for kind in ("Conv", "ConvTranspose") for axes in (1, 2, 3)])
def test_lazy(name):
    axes = int(name[-2])
    lazy = getattr(nn, f"Lazy{name}")(6, 3, stride=2, groups=2)
    assert isinstance(lazy, getattr(nn, name))
    with pytest.raises(ValueError, match="divisible by groups"):
        copy.deepcopy(lazy)(fastnn.zeros(1, 3, *(7,) * axes))
    lazy(fastnn.zeros(1, 4, *(7,) * axes))
    assert type(lazy) is getattr(nn, name)
    assert lazy.in_channels == 4
    assert lazy.weight.shape[:2] == ((6, 2) if name.startswith("Conv") and "T" not in name else (4, 3))


def test_empty_batches_and_no_channels():
    assert nn.Conv2d(3, 4, 3)(fastnn.zeros(0, 3, 5, 5)).shape == (0, 4, 3, 3)
    w, b = np.zeros((4, 0, 3, 3), "f4"), np.arange(4, dtype="f4")
    y = fastnn.ops.conv(np.zeros((2, 0, 5, 5), "f4"), w, b)
    np.testing.assert_array_equal(y, np.broadcast_to(b[:, None, None], (2, 4, 3, 3)))
    assert fastnn.ops.conv(np.zeros((2, 3, 5, 5), "f4"), np.zeros((0, 3, 3, 3), "f4")).shape == (2, 0, 3, 3)


X, W = np.zeros((2, 4, 5, 5), "f4"), np.zeros((6, 4, 3, 3), "f4")
BAD = {
    "kernel larger than the padded input": ((X, np.zeros((6, 4, 7, 3), "f4")), {}, "must fit into the padded input"),
    "zero stride": ((X, W), {"stride": 0}, "stride must be from 1 on"),
    "negative dilation": ((X, W), {"dilation": -1}, "dilation must be from 1 on"),
    "no groups": ((X, W), {"groups": 0}, "groups must be at least 1"),
    "groups that do not divide": ((X, W), {"groups": 3}, "groups must divide the channels"),
    "huge padding": ((X, W), {"padding": 1 << 31}, "below 2"),
    "padding beyond 64 bits": ((X, W), {"padding": 1 << 62}, "below 2"),
    "negative padding": ((X, W), {"padding": -1}, "padding must be from 0 on"),
    "other channels": ((X, np.zeros((6, 3, 3, 3), "f4")), {}, "w must have shape"),
    "too many strides": ((X, W), {"stride": (1, 1, 1)}, "one number or 2"),
    "bias of another length": ((X, W, np.zeros(5, "f4")), {}, r"b must have shape \(6,\)"),
    "too few axes": ((X[0, 0], W[0, 0]), {}, "1 to 3 extents"),
    "another dtype": ((X, W.astype("f8")), {}, None),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name):
    args, options, message = BAD[name]
    if message is None:
        with pytest.raises(TypeError, match="dtype"):
            F.conv2d(*map(fastnn.from_numpy, args), **options)
        return
    with pytest.raises(ValueError, match=message):
        fastnn.ops.conv(*args, **options)


def test_bad_layers():
    with pytest.raises(ValueError, match="divisible by groups"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match="padding_mode"):
        nn.Conv2d(3, 4, 3, padding_mode="mirror")
    with pytest.raises(ValueError, match="needs stride 1"):
        nn.Conv2d(3, 4, 3, stride=2, padding="same")
    with pytest.raises(ValueError, match="'same' or 'valid'"):
        nn.Conv2d(3, 4, 3, padding="full")
    with pytest.raises(ValueError, match="output_padding must be smaller"):
        nn.ConvTranspose2d(3, 4, 3, output_padding=1)(fastnn.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="3 or 4 axes"):
        nn.Conv2d(3, 4, 3)(fastnn.zeros(3, 3))


def test_a_compiled_step_gives_the_same_bits():
    def make():
        fastnn.manual_seed(1)
        return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, groups=2),
                             nn.Tanh(), nn.ConvTranspose2d(8, 4, 2), nn.Flatten(), nn.Linear(64, 5))  # fmt: skip

    nets = [make(), make()]
    optimizers = [fastnn.optim.Adam(net.parameters(), lr=0.01) for net in nets]

    def body(net, optimizer):
        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return step

    steps = [body(nets[0], optimizers[0]), fastnn.compile(body(nets[1], optimizers[1]))]
    for _ in range(5):
        x, y = rng.standard_normal((6, 3, 7, 7)).astype("f4"), rng.integers(0, 5, 6)
        losses = [steps[0](fastnn.from_numpy(x), fastnn.from_numpy(y)).detach(), steps[1](x, y)]
        assert losses[0].item() == losses[1].item()
    for p, q in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        np.testing.assert_array_equal(p.array, q.array)
