"""Torch's sorting, order statistics, running reductions, bins: places, ties, NaN, gradients, errors."""

import itertools
import math

import numpy as np
import pytest

import fastnn

NAN, INF = float("nan"), float("inf")


def leaf(values):
    return fastnn.tensor(np.asarray(values, "float64"), requires_grad=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("length", [0, 1, 2, 17, 40, 41, 300, 5000])
def test_sort_is_stable_and_puts_nan_last(length, dtype):
    rng = np.random.default_rng(length)
    x = rng.integers(-20, 20, (3, length)).astype(dtype)
    if dtype != "int32" and length > 2:
        x[0, rng.integers(length, size=3)] = np.nan
        x[1, ::3] = -0.0
        x[1, 1::3] = 0.0
        x[2] = rng.standard_normal(length) * 10.0 ** rng.integers(-30, 30, length)
        x[2, :2] = INF, -INF
    for descending in (False, True):
        values, places = fastnn.sort(fastnn.tensor(x), descending=descending)
        for row, got, place in zip(x, values.array, places.array, strict=True):
            rank = np.where(np.isnan(row), INF, row) if dtype != "int32" else row
            rank = list(zip(np.isnan(row) if dtype != "int32" else [0] * length, rank, strict=True))
            expected = sorted(range(length), key=rank.__getitem__, reverse=False)
            if descending:
                backwards = sorted(range(length - 1, -1, -1), key=rank.__getitem__)
                expected = backwards[::-1]
            np.testing.assert_array_equal(place, expected)
            np.testing.assert_array_equal(got, row[expected])
            np.testing.assert_array_equal(np.signbit(got), np.signbit(row[expected]))
        np.testing.assert_array_equal(fastnn.argsort(fastnn.tensor(x), descending=descending).array, places.array)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_axes(dim):
    x = np.random.default_rng(1).standard_normal((5, 70, 6)).astype("float32")
    for given in (x, x[::-1, ::2, ::-1], x.transpose(2, 0, 1)):
        t = fastnn.from_numpy(given)
        values, places = t.sort(dim)
        np.testing.assert_array_equal(values.array, np.sort(given, axis=dim))
        np.testing.assert_array_equal(places.array, np.argsort(given, axis=dim, kind="stable"))
        for k, largest in itertools.product((0, 1, 3, given.shape[dim]), (True, False)):
            got = t.topk(k, dim, largest)
            order = np.argsort(-given if largest else given, axis=dim, kind="stable")
            order = np.take(order, np.arange(k), axis=dim)
            np.testing.assert_array_equal(got.indices.array, order)
            np.testing.assert_array_equal(got.values.array, np.take_along_axis(given, order, dim))


def test_topk_of_long_rows_with_ties_and_nan():
    x = np.random.default_rng(2).integers(0, 50, (4, 3000)).astype("float32")
    x[1, 2500] = x[1, 100] = NAN
    x[3] = np.arange(3000)
    for k in (1, 7, 64, 65):
        for largest in (True, False):
            values, places = fastnn.tensor(x).topk(k, largest=largest)
            every = fastnn.tensor(x).sort(descending=largest)
            np.testing.assert_array_equal(places.array, every.indices.array[:, :k])
            np.testing.assert_array_equal(values.array, every.values.array[:, :k])
    with pytest.raises(ValueError, match="count must lie from 0 to 3000"):
        fastnn.tensor(x).topk(3001)


def test_gradients_go_to_places():
    x = np.random.default_rng(3).standard_normal((4, 6))
    for function in (
        lambda a: a.sort(0)[0],
        lambda a: a.topk(3)[0],
        lambda a: a.median(1)[0],
        lambda a: a.kthvalue(2)[0],
        lambda a: a.cummax(1)[0],
        lambda a: a.quantile(0.3, dim=1),
        lambda a: fastnn.quantile(a, fastnn.tensor(np.array([0.1, 0.5])), interpolation="midpoint"),
        lambda a: a.mode(0)[0],
        fastnn.msort,
        fastnn.median,
    ):
        fastnn.testing.gradcheck(function, [leaf(x)])
    q = fastnn.tensor(np.array([0.12, 0.77]), requires_grad=True)
    fastnn.testing.gradcheck(lambda a, b: fastnn.quantile(a, b, dim=0), [leaf(x), q])


def test_medians():
    x = fastnn.tensor([[3.0, 1.0, 2.0, 4.0], [1.0, NAN, 0.0, 5.0]])
    values, indices = x.median(1)
    assert values[0].item() == 2
    assert math.isnan(values[1].item())
    assert indices.tolist() == [2, 1]
    assert x.nanmedian(1).values.tolist() == [2, 1]
    assert math.isnan(x.median().item())
    assert x.nanmedian().item() == 2
    assert x.kthvalue(4).indices.tolist() == [3, 1]
    with pytest.raises(ValueError, match="kthvalue: k must lie from 1 to 4"):
        x.kthvalue(5)


def test_modes():
    x = fastnn.tensor([[3, 1, 1, 3, 2], [5, 4, 3, 2, 1]])
    values, indices = x.mode()
    assert values.tolist() == [1, 1]
    assert indices.tolist() == [2, 4]
    assert x.mode(0, keepdim=True).values.shape == (1, 5)


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantiles(interpolation):
    x = np.random.default_rng(4).standard_normal((7, 10))
    q = np.array([0.0, 0.13, 0.5, 0.99, 1.0])
    t = fastnn.tensor(x)
    for dim in (None, 0, 1):
        expected = np.quantile(x, q, axis=dim, method=interpolation)
        np.testing.assert_allclose(t.quantile(fastnn.tensor(q), dim, interpolation=interpolation).array, expected)
        np.testing.assert_allclose(t.quantile(0.5, dim, interpolation=interpolation).array, expected[2])
    x[2, 3] = NAN
    t = fastnn.tensor(x)
    assert np.isnan(t.quantile(0.5, 0).array).sum() == 1
    np.testing.assert_allclose(t.nanquantile(0.3, 0).array, np.nanquantile(x, 0.3, axis=0))
    with pytest.raises(ValueError, match="quantile: q must lie from 0 to 1"):
        t.quantile(1.5)
    with pytest.raises(ValueError, match="quantile: interpolation must be one of"):
        t.quantile(0.5, interpolation="cubic")


def test_running_reductions():
    x = np.random.default_rng(5).standard_normal((6, 50, 3)).astype("float32")
    for dim in range(3):
        t = fastnn.tensor(x)
        double = x.astype("float64")
        np.testing.assert_allclose(t.cumsum(dim).array, double.cumsum(dim), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(t.cumprod(dim).array, double.cumprod(dim), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(
            t.logcumsumexp(dim).array, np.logaddexp.accumulate(double, axis=dim), rtol=1e-5, atol=1e-6
        )
        np.testing.assert_array_equal(t.cummax(dim).values.array, np.maximum.accumulate(x, axis=dim))
        np.testing.assert_array_equal(t.cummin(dim).values.array, np.minimum.accumulate(x, axis=dim))
    assert fastnn.tensor([1.0, 3.0, 3.0, NAN, 9.0, NAN]).cummax(0).indices.tolist() == [0, 1, 2, 3, 3, 5]
    assert fastnn.tensor([-INF, -INF, 0.0, INF]).logcumsumexp(0).tolist() == [-INF, -INF, 0, INF]
    with pytest.raises(IndexError, match="cumsum: dim must lie from -1 to 0, got 1"):
        fastnn.tensor([1.0]).cumsum(1)


@pytest.mark.parametrize("row", [[2, 3, 4, 5], [2, 0, 4, 5], [0, 3, 0, 5], [2, 3, 4, 0], [0, 0, 0, 0]])
def test_running_products_with_zeros_have_gradients(row):
    fastnn.testing.gradcheck(lambda a: a.cumprod(0), [leaf(row)])
    fastnn.testing.gradcheck(lambda a: a.cumprod(1), [leaf([row, [1, 2, 3, 4]])])


def test_differences_and_areas():
    x = np.random.default_rng(6).standard_normal((4, 6))
    t = fastnn.tensor(x)
    for n, dim in itertools.product((0, 1, 2, 9), (0, 1)):
        np.testing.assert_allclose(fastnn.diff(t, n, dim).array, np.diff(x, min(n, x.shape[dim]), axis=dim))
    assert fastnn.diff(fastnn.tensor([True, False, False])).tolist() == [True, False]
    points = np.sort(np.random.default_rng(7).standard_normal(6))
    np.testing.assert_allclose(fastnn.trapezoid(t, fastnn.tensor(points)).array, np.trapezoid(x, points))
    np.testing.assert_allclose(fastnn.trapezoid(t, dx=0.5, dim=0).array, np.trapezoid(x, dx=0.5, axis=0))
    last = fastnn.cumulative_trapezoid(t, dim=1)[:, -1]
    np.testing.assert_allclose(last.array, np.trapezoid(x, axis=1))


def test_distinct_elements():
    x = np.random.default_rng(8).integers(0, 4, (5, 6))
    values, inverse, counts = fastnn.unique(fastnn.tensor(x), return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(values.array[inverse.array], x)
    assert counts.array.sum() == x.size
    assert fastnn.unique(fastnn.tensor([NAN, 1.0, NAN])).shape == (3,)
    rows = fastnn.tensor([[1, 2], [0, 1], [1, 2]])
    assert fastnn.unique(rows, dim=0).tolist() == [[0, 1], [1, 2]]
    found = fastnn.unique_consecutive(fastnn.tensor([1, 1, 2, 2, 1]), return_inverse=True, return_counts=True)
    assert [a.tolist() for a in found] == [[1, 2, 1], [0, 0, 1, 1, 2], [2, 2, 1]]
    assert fastnn.unique_consecutive(fastnn.tensor([[1, 1, 3], [2, 2, 3]]), dim=1).tolist() == [[1, 3], [2, 3]]


def test_bins():
    edges = fastnn.tensor([1.0, 3.0, 5.0])
    wanted = fastnn.tensor([[0.0, 1.0, 3.0], [4.0, 5.0, NAN]])
    assert fastnn.searchsorted(edges, wanted).tolist() == [[0, 0, 1], [2, 2, 3]]
    assert fastnn.bucketize(wanted, edges, right=True).tolist() == [[0, 1, 2], [2, 3, 3]]
    lines = fastnn.tensor([[1.0, 3.0], [3.0, 9.0]])
    assert fastnn.searchsorted(lines, fastnn.tensor([[2.0], [2.0]]), out_int32=True).tolist() == [[1], [0]]
    assert fastnn.searchsorted(edges, 3.0, side="right").item() == 2
    assert fastnn.histc(fastnn.tensor([0.0, 1.0, 1.0, 2.0, 7.0]), 4, 0, 4).tolist() == [1, 2, 1, 0]
    assert fastnn.histc(fastnn.tensor([1.0, 2.0, 3.0]), 2).tolist() == [1, 2]
    assert fastnn.bincount(fastnn.tensor([0, 2, 2]), minlength=5).tolist() == [1, 0, 2, 0, 0]
    weights = fastnn.tensor([0.5, 1.0, 2.0])
    assert fastnn.bincount(fastnn.tensor([0, 2, 2]), weights).tolist() == [0.5, 0, 3]
    with pytest.raises(ValueError, match="negative"):
        fastnn.bincount(fastnn.tensor([-1]))
    with pytest.raises(ValueError, match="side"):
        fastnn.searchsorted(edges, wanted, side="up")


def test_distances():
    rng = np.random.default_rng(9)
    a, b = rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 4, 3))
    x, y = leaf(a), leaf(b)
    for p in (0.5, 1.0, 2.0, 3.0, INF):
        expected = np.linalg.norm(a[:, :, None] - b[:, None], ord=p, axis=-1)
        np.testing.assert_allclose(fastnn.cdist(x, y, p).detach().array, expected)
        fastnn.testing.gradcheck(lambda a, b, p=p: fastnn.cdist(a, b, p), [x, y], samples=10)
    pairs = fastnn.pdist(x[0])
    np.testing.assert_allclose(
        pairs.detach().array, np.linalg.norm(a[0][:, None] - a[0], axis=-1)[np.triu_indices(5, 1)]
    )
    f = fastnn.nn.functional
    np.testing.assert_allclose(
        f.pairwise_distance(x[:, 0], y[:, 0]).detach().array, np.linalg.norm(a[:, 0] - b[:, 0] + 1e-6, axis=-1)
    )
    cosine = (a[:, :4] * b).sum(-1) / np.linalg.norm(a[:, :4], axis=-1) / np.linalg.norm(b, axis=-1)
    np.testing.assert_allclose(f.cosine_similarity(x[:, :4], y, dim=2).detach().array, cosine)
    np.testing.assert_allclose(np.linalg.norm(f.normalize(x, dim=2).detach().array, axis=-1), 1)
    assert f.normalize(fastnn.zeros(2, 3)).tolist() == [[0] * 3] * 2
    fastnn.testing.gradcheck(lambda a, b: f.cosine_similarity(a[:, :4], b, dim=-1), [x, y], samples=10)
    fastnn.testing.gradcheck(lambda a: f.normalize(a, 3.0), [x], samples=10)
