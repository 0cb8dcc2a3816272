"""Convolutions in both formats."""

import numpy as np
import pytest

import fastnn
from fastnn import ops
from fastnn.errors import ShapeError
from fastnn.ops import data_format

rng = np.random.default_rng(3)
CONVS = {1: ops.conv1d, 2: ops.conv2d, 3: ops.conv3d}


def operands(axes):
    x = rng.standard_normal((2, *(6, 5, 7)[:axes], 4)).astype("f4")  # channels last
    return x, rng.standard_normal((6, 2, *(3, 2, 2)[:axes])).astype("f4"), rng.standard_normal(6).astype("f4")


@pytest.mark.parametrize("axes", CONVS)
@pytest.mark.parametrize("padding", [0, 1, "same"])
def test_both_formats_hold_the_same_numbers(axes, padding):
    x, w, b = operands(axes)
    last = CONVS[axes](x, w, b, 1, padding, groups=2, data_format="channels_last")
    first = CONVS[axes](np.moveaxis(x, -1, 1), w, b, padding=padding, groups=2)
    assert last.flags.c_contiguous
    np.testing.assert_array_equal(np.moveaxis(last, -1, 1), first)
    copied = CONVS[axes](np.ascontiguousarray(np.moveaxis(x, -1, 1)), w, b, padding=padding, groups=2)
    np.testing.assert_array_equal(copied, first)


def test_images_with_their_channels_last_are_only_viewed(monkeypatch):
    x, w, b = operands(2)
    seen = []
    conv = data_format.conv
    monkeypatch.setattr(data_format, "conv", lambda x, *rest: seen.append(x) or conv(x, *rest))
    given = fastnn.from_numpy(x)
    for image, weights in ((x, (w, b)), (given, (fastnn.from_numpy(w), fastnn.from_numpy(b)))):
        y = ops.conv2d(image, *weights, groups=2, data_format="channels_last")
        assert type(y) is type(image)
        assert y.shape == (2, 4, 4, 6)
        assert np.shares_memory(np.asarray(seen[-1]), x)


def test_gradients_come_back_in_the_format():
    x, w, _ = operands(2)
    grads = []
    for last in (True, False):
        image = fastnn.tensor(x if last else np.moveaxis(x, -1, 1), requires_grad=True)
        weight = fastnn.tensor(w, requires_grad=True)
        y = ops.conv2d(image, weight, groups=2, data_format="channels_last" if last else "channels_first")
        (y * y).sum().backward()
        grads.append((image.grad.array if last else np.moveaxis(image.grad.array, 1, -1), weight.grad.array))
    for one, two in zip(*grads, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)


def test_what_is_of_no_use_is_refused():
    x, w, b = operands(2)
    with pytest.raises(ValueError, match="data_format must be one of channels_first, channels_last, got 'NHWC'"):
        ops.conv2d(x, w, b, data_format="NHWC")
    with pytest.raises(ShapeError, match=r"conv1d: x must have 3 axes, got shape \(2, 6, 5, 4\)"):
        ops.conv1d(x, w, b)
    with pytest.raises(ShapeError, match="conv3d: w must have 5 axes"):
        ops.conv3d(x[:, None], w, b)
    with pytest.raises(TypeError, match="x must be an array or a Tensor, got list"):
        ops.conv2d([[1.0]], w)
