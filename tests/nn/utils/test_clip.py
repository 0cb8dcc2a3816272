import math

import numpy as np
import pytest

import fastnn
from fastnn.nn import utils

SHAPES = [(3, 5), (17,), (), (0, 4), (9000,), (2, 3, 4)]
ORDERS = [1, 2, 3, 0.5, 4.7, -1, -2.5, math.inf, -math.inf]


def parameters(dtype="float32", seed=0, factor=1.0):
    rng = np.random.default_rng(seed)
    made = []
    for shape in SHAPES:
        p = fastnn.tensor(np.zeros(shape, dtype), requires_grad=True)
        p.grad = fastnn.from_numpy(np.asarray(rng.standard_normal(shape) * factor + 0.1).astype(dtype))
        made.append(p)
    return [*made, fastnn.tensor([1.0], requires_grad=True)]


def gradients(params):
    return [p.grad.numpy().copy() for p in params if p.grad is not None]


def by_hand(arrays, order):
    flat = np.abs(np.concatenate([a.reshape(-1) for a in arrays]).astype(np.float64))
    if math.isinf(order):
        return flat.max() if order > 0 else flat.min()
    return float(np.sum(flat**order) ** (1 / order))


@pytest.mark.parametrize("backend", ["kernels", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", ORDERS)
def test_norms(order, dtype, backend):
    params = parameters(dtype)
    arrays = gradients(params)
    with fastnn.use_backend(backend):
        norm = utils.get_total_norm([p.grad for p in params[:-1]], order)
    np.testing.assert_allclose(norm.item(), by_hand(arrays, order), rtol=2e-7 if dtype == "float32" else 1e-12)
    assert norm.dtype == dtype
    assert norm.shape == ()
    for before, after in zip(arrays, gradients(params), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("backend", ["kernels", "numpy"])
@pytest.mark.parametrize("order", [2, 1.0, "inf", 3])
@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_clipping_by_norm(limit, order, backend):
    params = parameters()
    arrays = gradients(params)
    wanted = by_hand(arrays, float(order))
    with fastnn.use_backend(backend):
        norm = utils.clip_grad_norm_(iter(params), limit, order)
    np.testing.assert_allclose(norm.item(), wanted, rtol=1e-6)
    factor = min(limit / (wanted + 1e-6), 1)
    for before, after in zip(arrays, gradients(params), strict=True):
        if limit > wanted:
            np.testing.assert_array_equal(after, before)
        else:
            np.testing.assert_allclose(after, before * factor, rtol=1e-6)
    if limit < wanted:
        np.testing.assert_allclose(utils.get_total_norm([p.grad for p in params[:-1]], order).item(), limit, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 15, 16, 17, 8191, 8192, 8193, 100_000])
def test_same_bits_for_any_number_of_threads(size):
    found = set()
    for count in (1, 2, 3, 8):
        p = fastnn.tensor(np.zeros(size, "float32"), requires_grad=True)
        p.grad = fastnn.from_numpy(np.random.default_rng(0).standard_normal(size).astype("float32"))
        with fastnn.threads(count):
            norm = utils.clip_grad_norm_(p, 0.1)
        found.add((norm.item(), p.grad.numpy().tobytes()))
    assert len(found) == 1
    (norm, _) = found.pop()
    np.testing.assert_allclose(norm, by_hand([np.random.default_rng(0).standard_normal(size)], 2), rtol=1e-6)


@pytest.mark.parametrize("backend", ["kernels", "numpy"])
def test_squares_beyond_the_dtype(backend):
    p = fastnn.tensor([0.0, 0.0], requires_grad=True)
    p.grad = fastnn.tensor([3e30, 4e30])
    with fastnn.use_backend(backend):
        assert utils.clip_grad_norm_(p, 1.0).item() == np.float32(5e30)
    np.testing.assert_allclose(p.grad.numpy(), [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("backend", ["kernels", "numpy"])
@pytest.mark.parametrize("order", [1, 2, 3, math.inf, -math.inf])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nonfinite_norms(bad, order, backend):
    params = parameters()
    params[1].grad.numpy()[3] = bad
    finite = order == -math.inf and bad == np.inf
    arrays = gradients(params)
    with fastnn.use_backend(backend):
        for error in () if finite else (RuntimeError, ValueError):
            with pytest.raises(error, match="cannot be clipped"):
                utils.clip_grad_norm_(params, 1.0, order, error_if_nonfinite=True)
        for before, after in zip(arrays, gradients(params), strict=True):
            np.testing.assert_array_equal(before, after)
        norm = utils.clip_grad_norm_(params, 1.0, order)
    if finite:
        assert 0 < norm.item() < 1
        return
    np.testing.assert_equal(norm.item(), bad)
    # NaN spreads to all; with an infinite norm the finite ones vanish
    expected = [np.full_like(a, np.nan) if np.isnan(bad) else np.where(np.isinf(a), np.nan, 0) for a in arrays]
    for own, wanted in zip(gradients(params), expected, strict=True):
        np.testing.assert_array_equal(own, wanted)


@pytest.mark.parametrize("backend", ["kernels", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_clipping_by_value(dtype, backend):
    params = parameters(dtype)
    params[1].grad.numpy()[:3] = np.nan, np.inf, -np.inf
    arrays = gradients(params)
    with fastnn.use_backend(backend):
        assert utils.clip_grad_value_(params, 0.25) is None
    for before, after in zip(arrays, gradients(params), strict=True):
        np.testing.assert_array_equal(after, np.clip(before, -0.25, 0.25))
        assert after.dtype == dtype


def test_layouts_and_dtypes_mix():
    rng = np.random.default_rng(0)
    base = rng.standard_normal((6, 8))
    views = [base, np.asfortranarray(base), base[::2, ::-1], base[:, ::3].T, base[0, 0]]
    params = []
    for view in views:
        for dtype in ("float32", "float64"):
            p = fastnn.tensor(np.zeros(view.shape, dtype), requires_grad=True)
            p.grad = fastnn.from_numpy(np.asarray(view.astype(dtype, order="K"))[...])
            params.append(p)
    strided = fastnn.tensor(np.zeros(4, "float32"), requires_grad=True)
    memory = np.arange(8, dtype="float32")
    strided.grad = fastnn.from_numpy(memory[::2])
    params.append(strided)
    arrays = gradients(params)
    norm = utils.clip_grad_norm_(params, 2.0)
    np.testing.assert_allclose(norm.item(), by_hand(arrays, 2), rtol=1e-12)
    assert norm.dtype == np.float64
    for before, after in zip(arrays, gradients(params), strict=True):
        np.testing.assert_allclose(after, before * (2 / by_hand(arrays, 2)), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(memory[1::2], [1, 3, 5, 7])


def test_nothing_to_clip():
    p = fastnn.tensor([1.0], requires_grad=True)
    assert utils.clip_grad_norm_([p], 1.0).item() == 0
    assert utils.clip_grad_norm_([], 1.0).item() == 0
    assert utils.get_total_norm([]).item() == 0
    utils.clip_grad_value_([p], 1.0)
    with pytest.warns(UserWarning, match="exhausted generator"):
        utils.clip_grad_norm_((q for q in ()), 1.0)
    with pytest.warns(FutureWarning, match="clip_grad_norm_"):
        utils.clip_grad_norm([p], 1.0)


def test_a_repeated_parameter_counts_twice():
    for count in (1, 2):
        p = fastnn.tensor([0.0], requires_grad=True)
        p.grad = fastnn.tensor([3.0])
        assert utils.clip_grad_norm_([p] * count, 1.0, 1).item() == 3.0 * count
        np.testing.assert_allclose(p.grad.item(), 3.0 / (3.0 * count) ** count, rtol=1e-6)


def test_order_zero_counts_gradients():
    params = parameters()
    params[0].grad.zero_()
    assert utils.get_total_norm([p.grad for p in params[:-1]], 0).item() == 4


def test_with_a_norm_at_hand():
    params = parameters()
    arrays = gradients(params)
    utils.clip_grads_with_norm_(params, 1.0, fastnn.tensor(4.0))
    for before, after in zip(arrays, gradients(params), strict=True):
        np.testing.assert_allclose(after, before / 4, rtol=1e-6)


def test_clipping_is_seen_by_backward():
    x = fastnn.tensor([3.0], requires_grad=True)
    p = fastnn.tensor([1.0], requires_grad=True)
    p.grad = fastnn.tensor([2.0])
    loss = (p.grad * x * p.grad).sum()
    utils.clip_grad_value_(p, 0.5)
    with pytest.raises(fastnn.GraphError, match="changed in place"):
        loss.backward()


def test_bad_arguments():
    p = fastnn.tensor([0.0], requires_grad=True)
    frozen = np.ones(1, "float32")
    frozen.flags.writeable = False
    p.grad = fastnn.from_numpy(frozen)
    for clip in (utils.clip_grad_norm_, utils.clip_grad_value_):
        with pytest.raises(ValueError, match="writable"):
            clip(p, 0.5)
    with pytest.raises(TypeError, match="expected Tensors"):
        utils.clip_grad_norm_([1.0], 0.5)
    with pytest.raises(ValueError, match="could not convert"):
        utils.clip_grad_norm_(p, 1.0, "largest")
    with pytest.raises(TypeError, match="floating-point"):
        utils.get_total_norm([fastnn.tensor([1])])
