"""Normalisation: what the declarations do not draw."""

import numpy as np
import pytest

import fastnn
from fastnn import ops


def drawn(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def channels_last(x):
    order = (0, *range(2, x.ndim), 1)
    return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


def lies_last(x):
    return x.transpose(0, *range(2, x.ndim), 1).flags.c_contiguous


CALLS = {
    "batch_norm": lambda x, w, b: ops.batch_norm(x, w, b)[0],
    "batch_norm_inference": lambda x, w, b: ops.batch_norm_inference(
        x, np.linspace(-1, 1, w.shape[0], dtype=x.dtype), np.linspace(0.5, 2, w.shape[0], dtype=x.dtype), w, b
    ),
    "group_norm": lambda x, w, b: ops.group_norm(x, w, b, w.shape[0] // 2 if w.shape[0] % 2 == 0 else 1),
    "instance_norm": lambda x, w, b: ops.group_norm(x, w, b, w.shape[0]),
}


@pytest.mark.parametrize(
    "shape", [(4, 6, 5, 7), (2, 70, 3, 3), (3, 16, 20, 20), (2, 3, 4, 2, 5), (5, 34, 150), (3, 200, 9)]
)
@pytest.mark.parametrize("name", CALLS)
def test_images_stay_as_they_lie(name, shape):
    given = [
        drawn(*shape, dtype="float64"),
        drawn(shape[1], dtype="float64", seed=1),
        drawn(shape[1], dtype="float64", seed=2),
    ]
    found = []
    for layout in (np.ascontiguousarray, channels_last):
        x, w, b = (fastnn.from_numpy(layout(a) if a.ndim > 1 else a.copy()).requires_grad_() for a in given)
        y = CALLS[name](x, w, b)
        dy = fastnn.from_numpy(layout(drawn(*shape, dtype="float64", seed=3)))
        y.backward(dy)
        assert lies_last(y.array) == (layout is channels_last)
        assert lies_last(x.grad.array) == (layout is channels_last)
        found.append([a.numpy() for a in (y.detach(), x.grad, w.grad, b.grad)])
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("layout", [np.ascontiguousarray, channels_last])
def test_gradients_of_channels_last_images_and_those_that_lie_otherwise(layout):
    x = fastnn.from_numpy(layout(drawn(2, 4, 3, 5, dtype="float64"))).requires_grad_()
    w, b = (fastnn.tensor(drawn(4, dtype="float64", seed=s), requires_grad=True) for s in (1, 2))
    for call in CALLS.values():
        assert fastnn.testing.gradcheck(call, [x, w, b], samples=40)
    # a gradient that lies otherwise than its image
    for call in CALLS.values():
        grads = []
        for dy in (
            drawn(2, 4, 3, 5, dtype="float64", seed=5),
            channels_last(drawn(2, 4, 3, 5, dtype="float64", seed=5)),
        ):
            x.grad = None
            call(x, w, b).backward(fastnn.from_numpy(dy))
            grads.append(x.grad.numpy().copy())
        np.testing.assert_array_equal(*grads)


def test_each_wanted_gradient_alone():
    shapes = {"x": (4, 6, 5), "weight": (6,), "bias": (6,)}
    calls = {"layer_norm": lambda x, weight, bias: ops.layer_norm(x.swapaxes(1, 2), weight, bias), **CALLS}
    for call in calls.values():
        whole = None
        for wanted in (tuple(shapes), *((name,) for name in shapes)):
            leaves = {n: fastnn.tensor(drawn(*s, seed=len(n)), requires_grad=n in wanted) for n, s in shapes.items()}
            y = call(*leaves.values())
            y.backward(fastnn.tensor(drawn(*y.shape, seed=9)))
            grads = {n: leaves[n].grad.numpy() for n in wanted}
            whole = whole or grads
            for n in wanted:
                np.testing.assert_array_equal(grads[n], whole[n])


@pytest.mark.parametrize("shape", [(7, 70, 11, 13), (300, 33)])
def test_same_bits_for_any_number_of_threads_channels_last(shape):
    results = []
    for count in (1, 2, 5):
        with fastnn.threads(count):
            bits = []
            for call in CALLS.values():
                x = fastnn.from_numpy(channels_last(drawn(*shape))).requires_grad_()
                w, b = (fastnn.tensor(drawn(shape[1], seed=s), requires_grad=True) for s in (1, 2))
                y = call(x, w, b)
                y.backward(fastnn.from_numpy(channels_last(drawn(*shape, seed=3))))
                bits += [a.tobytes() for a in (y.detach().numpy(), x.grad.numpy(), w.grad.numpy(), b.grad.numpy())]
        results.append(bits)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("layout", [np.ascontiguousarray, channels_last])
def test_a_sample_alone_and_in_its_batch(layout):
    x = layout(drawn(5, 6, 9, 4))
    w, b = drawn(6, seed=1), drawn(6, seed=2)
    for name in ("group_norm", "instance_norm", "batch_norm_inference"):
        whole = CALLS[name](x, w, b)
        np.testing.assert_array_equal(CALLS[name](x[2:3], w, b), whole[2:3])
    rows = drawn(9, 1500)
    np.testing.assert_array_equal(ops.layer_norm(rows[4:5], None, None), ops.layer_norm(rows, None, None)[4:5])


@pytest.mark.parametrize("layout", [np.ascontiguousarray, channels_last])
def test_moments_far_from_zero(layout):
    """A mean that is 3,000 deviations from 0: one pass over squares would leave no digit of the variance."""
    x = layout(drawn(8, 20, 17, 19) + np.float32(3000))
    exact = x.astype("float64")
    _, mean, variance = ops.batch_norm(x, None, None)
    np.testing.assert_allclose(mean, exact.mean((0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(variance, exact.var((0, 2, 3), ddof=1), rtol=3e-7)
    y = ops.layer_norm(np.ascontiguousarray(x.reshape(8, -1)), None, None)
    rows = exact.reshape(8, -1)
    expected = (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, expected, atol=1e-3)


def test_empty_batches():
    w, b = (fastnn.tensor(drawn(3, seed=s), requires_grad=True) for s in (1, 2))
    for call in (*CALLS.values(), ops.layer_norm):
        shape = (0, 3) if call is ops.layer_norm else (0, 3, 4)
        x = fastnn.tensor(np.zeros(shape, "float32"), requires_grad=True)
        w.grad = b.grad = None
        y = call(x, w, b)
        assert y.shape == shape
        y.sum().backward()
        assert x.grad.shape == shape
        np.testing.assert_array_equal(w.grad.numpy(), 0)
        np.testing.assert_array_equal(b.grad.numpy(), 0)


def test_nan_stays_in_its_channel_or_row():
    x = drawn(4, 3, 5)
    x[1, 2, 3] = np.nan
    y = ops.batch_norm(x, None, None)[0]
    assert np.isnan(y[:, 2]).all()
    assert np.isfinite(y[:, :2]).all()
    rows = ops.layer_norm(x, None, None)
    assert np.isnan(rows[1, 2]).all()
    assert np.isfinite(np.delete(rows.reshape(12, 5), 5, 0)).all()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: ops.layer_norm(drawn(2, 3), drawn(4), None),
            r"layer_norm: weight must have shape \(3,\) .* got \(4,\)",
        ),
        (lambda: ops.layer_norm(drawn(3), None, None, 2), "layer_norm: x must have at least 2 axes"),
        (lambda: ops.rms_norm(drawn(3), None, 0), "rms_norm: axes must be at least 1, got 0"),
        (lambda: ops.batch_norm(drawn(3), None, None), "batch_norm: x must have at least 2 axes"),
        (lambda: ops.batch_norm(drawn(2, 3), drawn(3), drawn(2)), r"batch_norm: bias must have shape \(3,\)"),
        (lambda: ops.group_norm(drawn(2, 6), None, None, 4), "channels of x .* divisible by groups 4"),
        (lambda: ops.group_norm(drawn(2, 6), None, None, 0), "groups must be positive, got 0"),
        (
            lambda: ops.batch_norm_inference(drawn(2, 3), drawn(3), drawn(4), None, None),
            r"variance must have shape \(3,\)",
        ),
    ],
)
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_gradients_through_the_moments():
    x = fastnn.tensor(drawn(5, 4, 3, dtype="float64"), requires_grad=True)
    assert fastnn.testing.gradcheck(lambda x: ops.batch_norm(x, None, None)[1], [x])
    assert fastnn.testing.gradcheck(lambda x: ops.batch_norm(x, None, None)[2], [x])
