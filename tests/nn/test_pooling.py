"""Pooling layers against windows taken one by one; gradients: tests/ops/test_declarations.py."""

import math

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.nn import functional as F

rng = np.random.default_rng(4)


def windows(x, kernel, stride, padding, out):
    """Every window of two axes, cut to the input."""
    for i in range(out[0]):
        for j in range(out[1]):
            rows = slice(max(0, i * stride - padding), min(x.shape[2], i * stride - padding + kernel))
            columns = slice(max(0, j * stride - padding), min(x.shape[3], j * stride - padding + kernel))
            yield i, j, x[:, :, rows, columns]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 1)])
def test_windows(kernel, stride, padding, ceil_mode):
    x = rng.standard_normal((2, 5, 8, 11)).astype("f4")
    given = fastnn.from_numpy(x)
    largest = F.max_pool2d(given, kernel, stride, padding, ceil_mode=ceil_mode).array
    means = F.avg_pool2d(given, kernel, stride, padding, ceil_mode=ceil_mode, count_include_pad=False).array
    divided = F.avg_pool2d(given, kernel, stride, padding, ceil_mode=ceil_mode, divisor_override=7).array
    rounded = math.ceil if ceil_mode else math.floor
    out = [rounded((n + 2 * padding - kernel) / stride) + 1 for n in x.shape[2:]]
    out = [o - ((o - 1) * stride >= n + padding) for o, n in zip(out, x.shape[2:], strict=True)]
    assert largest.shape == means.shape == (2, 5, *out)
    for i, j, window in windows(x, kernel, stride, padding, out):
        np.testing.assert_array_equal(largest[:, :, i, j], window.max((2, 3)))
        np.testing.assert_allclose(means[:, :, i, j], window.mean((2, 3)), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(divided[:, :, i, j], window.sum((2, 3)) / 7, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_adaptive_windows(axes):
    x = rng.standard_normal((2, 3, *(7, 5, 4)[:axes]))
    sizes = (3, None, 2)[:axes]
    means = getattr(F, f"adaptive_avg_pool{axes}d")(fastnn.from_numpy(x), sizes)
    assert means.shape == (2, 3, *(s or n for s, n in zip(sizes, x.shape[2:], strict=True)))
    first = x[(..., *(slice(0, -(-n // (s or n))) for s, n in zip(sizes, x.shape[2:], strict=True)))]
    np.testing.assert_allclose(means.array[(..., *(0,) * axes)], first.mean(tuple(range(2, x.ndim))))
    whole = getattr(nn, f"AdaptiveMaxPool{axes}d")(1)(fastnn.from_numpy(x))
    np.testing.assert_array_equal(whole.array.reshape(2, 3), x.max(tuple(range(2, x.ndim))))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_places_lead_back(axes):
    x = fastnn.tensor(rng.standard_normal((2, 3, *(6,) * axes)).astype("f4"))
    y, places = getattr(nn, f"MaxPool{axes}d")(2, return_indices=True)(x)
    flat = x.array.reshape(2, 3, -1)
    np.testing.assert_array_equal(np.take_along_axis(flat, places.array.reshape(2, 3, -1), 2).reshape(y.shape), y.array)
    back = getattr(nn, f"MaxUnpool{axes}d")(2)(y, places)
    assert back.shape == x.shape
    assert np.count_nonzero(back.array) == y.numel()
    np.testing.assert_array_equal(np.take_along_axis(back.array.reshape(2, 3, -1), places.array.reshape(2, 3, -1), 2),
                                  y.array.reshape(2, 3, -1))  # fmt: skip
    places.array[0, 0] = 10**6
    with pytest.raises(IndexError):
        getattr(nn, f"MaxUnpool{axes}d")(2)(y, places)


def test_nan_and_infinity():
    x = np.full((1, 1, 4, 4), -np.inf, "f4")
    y, places = F.max_pool2d(fastnn.from_numpy(x), 2, return_indices=True)
    assert np.all(np.isneginf(y.array))
    assert places.array.tolist() == [[[[0, 2], [8, 10]]]]
    x[0, 0, 1, 0] = np.nan
    assert np.isnan(F.max_pool2d(fastnn.from_numpy(x), 2).array[0, 0, 0, 0])
    assert not np.isnan(F.max_pool2d(fastnn.from_numpy(x), 2).array[0, 0, 1]).any()


def test_norms():
    x = rng.standard_normal((2, 3, 6)).astype("f4")
    found = nn.LPPool1d(2, 3, 1)(fastnn.from_numpy(x)).array
    expected = np.sqrt((np.lib.stride_tricks.sliding_window_view(x, 3, 2) ** 2).sum(-1))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_sample_alone_and_no_sample():
    x = fastnn.tensor(rng.standard_normal((3, 6, 6)).astype("f4"))
    assert nn.MaxPool2d(2)(x).shape == (3, 3, 3)
    assert nn.AdaptiveAvgPool2d((1, 1))(x).shape == (3, 1, 1)
    assert nn.AvgPool2d(2)(fastnn.zeros(0, 3, 6, 6)).shape == (0, 3, 3, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 0}, "kernel must be from 1 on"),
        ({"kernel_size": 9}, "must fit into the padded input"),
        ({"kernel_size": 2, "stride": 0}, "stride must be from 1 on"),
        ({"kernel_size": 2, "padding": 2}, "at most half"),
        ({"kernel_size": 2, "padding": -1}, "padding must be from 0 on"),
        ({"kernel_size": 2, "dilation": 0}, "dilation must be from 1 on"),
        ({"kernel_size": (2, 2, 2)}, "one number or 2"),
        ({"kernel_size": 1 << 62}, "below 2"),
    ],
)
def test_bad_windows(options, message):
    with pytest.raises(ValueError, match=message):
        F.max_pool2d(fastnn.zeros(1, 2, 6, 6), **options)


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="3 or 4 axes"):
        F.avg_pool2d(fastnn.zeros(6, 6), 2)
    with pytest.raises(ValueError, match="divisor must be at least 1"):
        F.avg_pool2d(fastnn.zeros(1, 2, 6, 6), 2, divisor_override=0)
    with pytest.raises(ValueError, match="size must be one number or 2"):
        F.adaptive_avg_pool2d(fastnn.zeros(1, 2, 6, 6), (1, 2, 3))
    with pytest.raises(ValueError, match="output_size must be about"):
        F.max_unpool2d(fastnn.zeros(1, 1, 2, 2), fastnn.zeros(1, 1, 2, 2, dtype=np.int64), 2, output_size=(9, 9))


def test_a_compiled_step_with_convolutions_and_pools():
    def make():
        fastnn.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.AvgPool2d(2, ceil_mode=True),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )  # fmt: skip

    nets = [make(), make()]
    optimizers = [fastnn.optim.SGD(net.parameters(), lr=0.1) for net in nets]

    def body(net, optimizer):
        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return step

    compiled = fastnn.compile(body(nets[1], optimizers[1]))
    for _ in range(4):
        x, y = rng.standard_normal((5, 1, 14, 14)).astype("f4"), rng.integers(0, 4, 5)
        expected = body(nets[0], optimizers[0])(fastnn.from_numpy(x), fastnn.from_numpy(y))
        assert compiled(x, y).item() == expected.item()


def test_windows_without_an_element_stay_inside():
    x = fastnn.zeros(1, 3, 40).requires_grad_()
    y, places = F.max_pool1d(x, 2, 20, 30, 60, return_indices=True)
    assert np.isneginf(y.detach().numpy()).any()
    assert 0 <= places.numpy().min() <= places.numpy().max() < 40
    y.sum().backward()
    assert x.grad.shape == x.shape
