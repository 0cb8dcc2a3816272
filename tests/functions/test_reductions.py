"""Torch's reductions: what the arguments mean, dtypes, NaN, ties, named results, errors."""

import math

import numpy as np
import pytest

import fastnn

X = np.random.default_rng(0).standard_normal((4, 5, 3)).astype(np.float32)
NAN, INF = float("nan"), float("inf")


def leaf(values, dtype="float64"):
    return fastnn.tensor(np.asarray(values, dtype), requires_grad=True)


def gradient(function, values):
    """The gradient of the sum of a function's first result."""
    x = leaf(values)
    y = function(x)
    (y[0] if isinstance(y, tuple) else y).sum().backward()
    return x.grad.array


NUMPY = {
    "sum": np.sum,
    "mean": np.mean,
    "prod": np.prod,
    "amax": np.max,
    "amin": np.min,
    "nansum": np.nansum,
    "nanmean": np.nanmean,
    "any": lambda x, **kw: np.any(x, **kw),
    "all": lambda x, **kw: np.all(x, **kw),
    "var": lambda x, **kw: np.var(x, ddof=1, **kw),
    "std": lambda x, **kw: np.std(x, ddof=1, **kw),
    "logsumexp": lambda x, **kw: np.log(np.exp(x).sum(**kw)),
    "norm": lambda x, **kw: np.sqrt((x * x).sum(**kw)),
}


@pytest.mark.parametrize("name", NUMPY)
def test_dims(name):
    x = fastnn.tensor(X)
    for dim in (0, -1, (0, 2), [1], (0, 1, 2)):
        for keepdim in (False, True):
            axis = tuple(dim) if isinstance(dim, (list, tuple)) else dim
            if name == "prod" and isinstance(dim, (list, tuple)):
                continue
            expected = NUMPY[name](X, axis=axis, keepdims=keepdim)
            for got in (
                getattr(fastnn, name)(x, dim=dim, keepdim=keepdim),
                getattr(x, name)(dim=dim, keepdim=keepdim),
            ):
                assert got.shape == expected.shape
                np.testing.assert_allclose(got.array, expected, rtol=2e-5, atol=1e-6)
    if name != "logsumexp":
        np.testing.assert_allclose(getattr(x, name)().array, NUMPY[name](X), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_integers_add_up_and_multiply_as_int64(dtype):
    x = fastnn.tensor(np.array([[1, 0, 1], [1, 1, 1]], dtype))
    for name in ("sum", "prod"):
        assert getattr(x, name)().dtype == np.int64
        np.testing.assert_array_equal(getattr(x, name)(1).array, getattr(np, name)(x.array.astype(int), axis=1))
    for name in ("cumsum", "cumprod"):
        assert getattr(x, name)(1).dtype == np.int64
    assert x.sum(dtype=fastnn.float64).dtype == np.float64
    assert fastnn.tensor([200, 100]).sum(dtype=fastnn.uint8).item() == 44
    for name in ("mean", "var", "std", "norm"):
        with pytest.raises(TypeError, match="floating"):
            getattr(x, name)()
    assert x.mean(dtype=fastnn.float32).item() == pytest.approx(5 / 6)
    assert x.amax().dtype == dtype
    assert x.logsumexp(1).dtype == np.float32


def test_truth():
    assert fastnn.tensor([0.0, NAN]).any().item() is True
    assert fastnn.tensor([0.0, 1.0]).all().item() is False
    assert fastnn.tensor(np.array([1, 2], "uint8")).all().dtype == np.uint8
    assert fastnn.zeros(0).all().item() is True
    assert fastnn.zeros(0).any().item() is False
    assert fastnn.count_nonzero(fastnn.tensor([[0.0, NAN, 2.0], [0.0, 0.0, 1.0]]), dim=1).tolist() == [2, 1]


def test_corrections():
    x = fastnn.tensor(X)
    for options, ddof in (
        ({}, 1),
        ({"unbiased": False}, 0),
        ({"unbiased": True}, 1),
        ({"correction": 2}, 2),
        ({"correction": 0}, 0),
    ):
        np.testing.assert_allclose(x.var(1, **options).array, X.var(1, ddof=ddof), rtol=1e-5)
        np.testing.assert_allclose(x.std(1, **options).array, X.std(1, ddof=ddof), rtol=1e-5)
    np.testing.assert_allclose(x.var(False).array, X.var(), rtol=1e-5)
    for function, part in ((fastnn.var_mean, "var"), (fastnn.std_mean, "std")):
        spread, mean = function(x, dim=(0, 2), keepdim=True, correction=0)
        np.testing.assert_allclose(spread.array, getattr(X, part)((0, 2), keepdims=True), rtol=1e-5)
        np.testing.assert_allclose(mean.array, X.mean((0, 2), keepdims=True), rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match="unbiased and correction"):
        x.var(0, unbiased=True, correction=1)
    assert np.isnan(fastnn.tensor([3.0]).var().item())


def test_a_variance_far_from_zero_keeps_its_digits():
    x = np.random.default_rng(1).standard_normal(100_000) + 1e4
    got = fastnn.tensor(x.astype("float32")).var().item()
    assert got == pytest.approx(x.astype("float32").astype("float64").var(ddof=1), rel=1e-5)


def test_products_with_zeros_have_gradients():
    for row, expected in (
        ([2, 3, 4], [12, 8, 6]),
        ([2, 0, 4], [0, 8, 0]),
        ([0, 0, 4], [0, 0, 0]),
    ):
        assert gradient(lambda x: x.prod(), row).tolist() == expected
        assert gradient(lambda x: x.prod(1), [row, [1, 1, 1]]).tolist() == [expected, [1, 1, 1]]


def test_extremes():
    x = fastnn.tensor([[1.0, 5.0, 5.0], [NAN, 2.0, 0.0]])
    values, indices = x.max(dim=1)
    assert values[0].item() == 5
    assert math.isnan(values[1].item())
    assert indices.tolist() == [1, 0]
    assert indices.dtype == np.int64
    result = x.min(1, keepdim=True)
    assert result.values.shape == result.indices.shape == (2, 1)
    assert result.indices.tolist() == [[0], [0]]
    assert x.argmax(1).tolist() == [1, 0]
    assert x.argmin().item() == 3
    assert x[:1].argmax(keepdim=True).tolist() == [[1]]
    low, high = fastnn.aminmax(x[0])
    assert (low.item(), high.item()) == (1, 5)
    assert math.isnan(x.max().item())
    assert fastnn.tensor([False, True]).max().item() is True
    assert fastnn.tensor(7.0).max(0).indices.item() == 0


def test_where_the_gradients_of_extremes_go():
    row = [[1.0, 5.0, 5.0], [2.0, 2.0, 2.0]]
    assert gradient(lambda x: x.amax(1), row).tolist() == [[0, 0.5, 0.5], [1 / 3] * 3]
    assert gradient(lambda x: x.max(1), row).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert gradient(lambda x: x.max(), row).tolist() == [[0, 0.5, 0.5], [0, 0, 0]]
    assert gradient(lambda x: x.min(0), row).tolist() == [[1, 0, 0], [0, 1, 1]]
    assert gradient(lambda x: fastnn.aminmax(x, dim=1).max, row).tolist() == [[0, 0.5, 0.5], [1 / 3] * 3]


@pytest.mark.parametrize("shape", [(70_000, 3), (3, 300_000), (1000, 130), (2, 500, 40)], ids=str)
def test_places_in_long_and_many_lines(shape):
    x = np.random.default_rng(2).integers(-1000, 1000, shape).astype("float32")
    for axis in range(len(shape)):
        for function in ("argmax", "argmin"):
            np.testing.assert_array_equal(
                getattr(fastnn, function)(fastnn.tensor(x), axis).array, getattr(np, function)(x, axis=axis)
            )
    x[..., -1] = np.nan
    assert fastnn.tensor(x).argmax().item() == np.argmax(x)


def test_norms():
    x = fastnn.tensor(X)
    for p in (0, 0.5, 1, 2, 3, INF, -INF, -1):
        expected = np.linalg.norm(X.reshape(20, 3), ord=p, axis=1).reshape(4, 5)
        np.testing.assert_allclose(fastnn.linalg.vector_norm(x, p, dim=2).array, expected, rtol=1e-5)
        np.testing.assert_allclose(x.norm(p, dim=2).array, expected, rtol=1e-5)
    for order in ("fro", "nuc", 1, -1, 2, -2, INF, -INF):
        expected = np.linalg.norm(X, ord=order, axis=(0, 2), keepdims=True)
        got = fastnn.linalg.matrix_norm(x, order, dim=(0, 2), keepdim=True)
        np.testing.assert_allclose(got.array, expected, rtol=1e-5)
        np.testing.assert_allclose(fastnn.linalg.norm(x, order, dim=(0, 2), keepdim=True).array, expected, rtol=1e-5)
        fastnn.testing.gradcheck(
            lambda a, order=order: fastnn.linalg.matrix_norm(a, order, dim=(0, 2)), [leaf(X)], samples=10
        )
    np.testing.assert_allclose(fastnn.linalg.norm(x).item(), np.linalg.norm(X.reshape(-1)), rtol=1e-5)
    np.testing.assert_allclose(fastnn.dist(x, x[:1], 1).item(), np.abs(X - X[:1]).sum(), rtol=1e-5)
    assert gradient(lambda x: x.norm(), [0.0, 0.0]).tolist() == [0, 0]
    assert gradient(lambda x: x.norm(INF), [3.0, -3.0, 1.0]).tolist() == [0.5, -0.5, 0]
    with pytest.raises(ValueError, match="matrix_norm: ord"):
        fastnn.linalg.matrix_norm(x, 3)
    with pytest.raises(ValueError, match="norm: x must have elements"):
        fastnn.linalg.vector_norm(fastnn.zeros(0), INF)


def test_renorm():
    x = X.reshape(4, 15)
    got = fastnn.renorm(fastnn.tensor(x), 2, 0, 2.0).array
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), np.minimum(np.linalg.norm(x, axis=1), 2), rtol=1e-5)
    fastnn.testing.gradcheck(lambda a: a.renorm(3, 1, 1.0), [leaf(x)], samples=20)


def test_logsumexp_of_infinities():
    x = fastnn.tensor([[-INF, -INF], [INF, 1.0], [1000.0, 1000.0]])
    np.testing.assert_allclose(x.logsumexp(1).array, [-INF, INF, 1000 + math.log(2)], rtol=1e-6)


def test_covariances():
    x = X.reshape(4, 15)
    np.testing.assert_allclose(fastnn.cov(fastnn.tensor(x)).array, np.cov(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fastnn.corrcoef(fastnn.tensor(x)).array, np.corrcoef(x), rtol=1e-4, atol=1e-5)
    count, weight = np.arange(15) % 3 + 1, np.linspace(0.5, 1, 15)
    np.testing.assert_allclose(
        fastnn.cov(
            fastnn.tensor(x.astype("float64")), fweights=fastnn.tensor(count), aweights=fastnn.tensor(weight)
        ).array,
        np.cov(x.astype("float64"), fweights=count, aweights=weight),
        rtol=1e-10,
    )
    assert fastnn.cov(fastnn.tensor(x[0])).shape == ()
    fastnn.testing.gradcheck(fastnn.cov, [leaf(x)], samples=20)
    fastnn.testing.gradcheck(fastnn.corrcoef, [leaf(x)], samples=20)


def test_out():
    x = fastnn.tensor(X)
    out = fastnn.zeros(4, 3)
    assert fastnn.sum(x, 1, out=out) is out
    np.testing.assert_allclose(out.array, X.sum(1), rtol=1e-5, atol=1e-6)
    values, indices = fastnn.zeros(4, 3), fastnn.zeros(4, 3, dtype=fastnn.int64)
    result = fastnn.max(x, 1, out=(values, indices))
    assert result.values is values
    assert result.indices is indices
    np.testing.assert_array_equal(indices.array, X.argmax(1))
    grown = fastnn.zeros(0)
    assert fastnn.var(x, 0, out=grown) is grown
    assert grown.shape == (5, 3)
    with pytest.raises(ValueError, match=r"max: out must have shape \(4, 3\), got \(2, 2\)"):
        fastnn.max(x, 1, out=(fastnn.zeros(2, 2), indices))
    with pytest.raises(TypeError, match="sum: out must have a dtype"):
        fastnn.sum(x, 1, out=fastnn.zeros(4, 3, dtype=fastnn.int64))
    with pytest.raises(RuntimeError, match="recorded"):
        fastnn.sum(leaf(X, "float32"), 1, out=out)


def test_errors():
    x = fastnn.tensor(X)
    with pytest.raises(IndexError, match="sum: axis must lie from -3 to 2, got 3"):
        x.sum(3)
    with pytest.raises(ValueError, match="mean: axis names an axis twice"):
        x.mean((0, -3))
    with pytest.raises(ValueError, match="must have elements"):
        fastnn.zeros(0, 3).amax(0)
    with pytest.raises(ValueError, match="must have elements"):
        fastnn.zeros(0).argmax()
    with pytest.raises(TypeError, match="max: takes"):
        x.max(0, False, 1)
    with pytest.raises(TypeError, match="sum: input must be a Tensor, got str"):
        fastnn.sum("x")
    assert fastnn.zeros(2, 0).argmax(0).shape == (0,)
