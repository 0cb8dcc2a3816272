"""Ops on drawn shapes, strides and axes, against NumPy in float64."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastnn
from fastnn import ops

COMMON = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DTYPES = st.sampled_from(["float32", "float64"])
EXTENTS = st.integers(0, 40)


def draw_array(draw, shape, dtype, seed):
    """An array of a shape that lies in memory anyhow: permuted, with steps of either sign, or repeated."""
    rng = np.random.default_rng(seed)
    steps = [draw(st.sampled_from([1, 1, 2, -1, -3, 0])) for _ in shape]
    order = draw(st.permutations(range(len(shape))))
    base_shape = [abs(s) * n + 1 if s else 1 for s, n in zip(steps, shape, strict=True)]
    base = rng.standard_normal([base_shape[i] for i in order]).astype(dtype).transpose(np.argsort(order))
    index = tuple(
        slice(None, s * n, s) if s > 0 else slice(-1, -1 + s * n, s) if s < 0 else slice(0, 1)
        for s, n in zip(steps, shape, strict=True)
    )
    view = base[index]
    return np.broadcast_to(view[tuple(slice(0, n) for n in shape)] if 0 not in steps else view, shape)


@st.composite
def strided(draw, shapes, dtype=None):
    dtype = dtype or draw(DTYPES)
    return [draw_array(draw, shape, dtype, i) for i, shape in enumerate(draw(shapes))]


def tolerance(*arrays):
    return 1e-5 if arrays[0].dtype == np.float32 else 1e-12


def broadcastable(count):
    return hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=4, max_side=9).map(lambda s: s.input_shapes)


@COMMON
@given(strided(broadcastable(2)), st.sampled_from(["add", "subtract", "multiply", "divide"]))
def test_broadcasting_arithmetic(arrays, name):
    x, y = arrays
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x, y)
    got = getattr(ops, name)(x, y)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@COMMON
@given(strided(broadcastable(2)), st.sampled_from(["equal", "less", "greater_equal"]))
def test_broadcasting_comparisons(arrays, name):
    np.testing.assert_array_equal(getattr(ops, name)(*arrays), getattr(np, name)(*arrays))


@COMMON
@given(strided(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=12).map(lambda s: [s])), st.data())
def test_sums_over_any_axes(arrays, data):
    (x,) = arrays
    axes = data.draw(st.one_of(st.none(), st.sets(st.integers(-x.ndim, x.ndim - 1)) if x.ndim else st.none()))
    if axes is not None:
        axes = tuple({a % x.ndim for a in axes})
    keep = data.draw(st.booleans())
    got = ops.sum(x, axis=axes, keepdims=keep)
    expected = x.astype("float64").sum(axis=axes, keepdims=keep)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=tolerance(x), atol=tolerance(x) * max(1, x.size))


@COMMON
@given(st.tuples(EXTENTS, EXTENTS, EXTENTS).flatmap(lambda s: strided(st.just([(s[0], s[1]), (s[1], s[2])]))))
def test_matrix_products(arrays):
    a, b = arrays
    expected = a.astype("float64") @ b.astype("float64")
    # |error| <= gamma_k |A| |B|, gamma_k = k u / (1 - k u)
    unit = np.finfo(a.dtype).eps / 2
    gamma = a.shape[1] * unit / (1 - a.shape[1] * unit)
    bound = gamma * (np.abs(a).astype("float64") @ np.abs(b).astype("float64"))
    if a.dtype == np.float64:
        bound *= 2  # the comparison is itself in float64
    assert (np.abs(ops.matmul(a, b) - expected) <= bound + np.finfo(a.dtype).tiny).all()


@COMMON
@given(
    st.tuples(st.lists(st.integers(0, 5), max_size=3), EXTENTS, EXTENTS).flatmap(
        lambda s: strided(st.just([(*s[0], s[1]), (s[2], s[1]), (s[2],)]))
    )
)
def test_linear_and_its_gradients(arrays):
    x, w, b = (fastnn.from_numpy(np.array(a)).requires_grad_() for a in arrays)
    y = ops.linear(x, w, b)
    x64, w64, b64 = (a.astype("float64") for a in arrays)
    scale = tolerance(arrays[0]) * max(1, x64.size, w64.size)
    np.testing.assert_allclose(y.detach().numpy(), x64 @ w64.T + b64, rtol=scale, atol=scale)
    y.sum().backward()
    rows = x64.reshape(int(np.prod(x64.shape[:-1], dtype=int)), x64.shape[-1])
    np.testing.assert_allclose(x.grad.numpy(), np.broadcast_to(w64.sum(axis=0), x64.shape), rtol=scale, atol=scale)
    np.testing.assert_allclose(w.grad.numpy(), np.broadcast_to(rows.sum(axis=0), w64.shape), rtol=scale, atol=scale)
    np.testing.assert_allclose(b.grad.numpy(), np.full(b64.shape, len(rows)), rtol=scale, atol=scale)


@COMMON
@given(st.tuples(st.integers(0, 20), st.integers(1, 40)).flatmap(lambda s: strided(st.just([s]), "float64")))
def test_softmax_rows_add_up_to_one(arrays):
    (x,) = arrays
    p = ops.softmax(x, 1)
    np.testing.assert_allclose(p.sum(axis=1), np.ones(len(x)), rtol=1e-12)
    np.testing.assert_allclose(np.log(p), ops.log_softmax(x, 1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rows", [65_535, 65_536, 70_001])
def test_more_rows_than_chunks(rows):
    x = np.arange(rows * 3, dtype="float32").reshape(rows, 3) % 7
    np.testing.assert_array_equal(ops.add(x, x), x + x)
    np.testing.assert_array_equal(ops.matmul(x, np.eye(3, dtype="float32")), x)
    np.testing.assert_array_equal(ops.sum(x, 1), x.sum(axis=1))
    np.testing.assert_array_equal(ops.sum(x, 0), x.astype("float64").sum(axis=0))


@pytest.mark.parametrize("name", ["sum", "mean", "softmax", "log_softmax"])
@pytest.mark.parametrize(("axis", "error"), [("a", TypeError), (0.5, TypeError), (2, IndexError), (-3, IndexError)])
def test_axes_that_are_none(name, axis, error):
    with pytest.raises(error, match=f"{name}: axis must"):
        getattr(ops, name)(np.ones((2, 3), "float32"), axis=axis)
