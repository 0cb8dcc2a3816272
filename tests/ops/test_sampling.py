"""Whether what is drawn follows its distribution: Kolmogorov and Smirnov's test, chi-square, moments, tails."""

import math

import numpy as np
import pytest

import fastnn
from fastnn import ops
from fastnn.ops.sampling import range_cells

N = 200_000
DTYPES = ["float32", "float64"]
SEEDS = [0, 1, 2**31]
# The distance to the distribution, times sqrt(n), exceeds this with probability 1e-3.
FARTHEST = 1.95


def drawn(op, dtype, seed=0, draw=0, n=N, **own):
    return op(np.zeros(n, dtype), **own, seed_low=seed, seed_high=seed, draw=draw)


def distance(sample, distribution):
    """Kolmogorov and Smirnov's distance to a distribution function, times sqrt(n)."""
    x = np.sort(sample.astype(np.float64))
    n = len(x)
    p = distribution(x)
    return math.sqrt(n) * max(np.max(np.arange(1, n + 1) / n - p), np.max(p - np.arange(n) / n))


def chi_square_is_likely(counts, expected):
    """Whether a sum of squares lies within four deviations of what its distribution, nearly normal, has as its mean."""
    statistic = np.sum((counts - expected) ** 2 / expected)
    freedom = len(counts) - 1
    return abs(statistic - freedom) < 4 * math.sqrt(2 * freedom)


normal_distribution = np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_uniform(dtype, seed):
    x = drawn(ops.uniform, dtype, seed)
    assert distance(x, lambda x: x) < FARTHEST
    assert (x.min() >= 0, x.max() < 1) == (True, True)
    bits = {"float32": 24, "float64": 53}[dtype]
    np.testing.assert_array_equal(np.ldexp(x.astype(np.float64), bits) % 1, 0)
    # pairs of neighbours, and of elements from both halves of a tile, over a grid
    for step in (1, 8, 16):
        pairs = np.histogram2d(x[:-step], x[step:], bins=16, range=[[0, 1], [0, 1]])[0]
        assert chi_square_is_likely(pairs.ravel(), (len(x) - step) / 256)


def test_uniform_reaches_its_ends_as_it_says():
    x = drawn(ops.uniform, "float32", n=1 << 22)
    assert x.min() < 2**-20
    assert x.max() > 1 - 2**-20
    y = drawn(ops.uniform, "float32", low=1.0, high=1.0 + 2**-22, n=1 << 16)
    assert set(y.tolist()) == {1.0, 1 + 2**-23}
    assert set(drawn(ops.uniform, "float32", low=3.0, high=3.0, n=100).tolist()) == {3.0}
    assert drawn(ops.uniform, "float64", low=-2.0, high=-1.0).max() < -1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_normal(dtype, seed):
    x = drawn(ops.normal, dtype, seed)
    assert distance(x, normal_distribution) < FARTHEST
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(x.astype(np.float64) ** power) - moment) < 4 * math.sqrt(variance / N)
    # the two numbers that come of one pair of words
    half = {"float32": 16, "float64": 8}[dtype]
    one, two = x.reshape(-1, 2, half).transpose(1, 0, 2).reshape(2, -1)
    assert abs(np.corrcoef(one, two)[0, 1]) < 4 / math.sqrt(N / 2)
    assert abs(np.corrcoef(one**2, two**2)[0, 1]) < 4 / math.sqrt(N / 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_normal_tails(dtype):
    n = 1 << 23
    x = np.abs(drawn(ops.normal, dtype, n=n))
    assert np.isfinite(x).all()
    for beyond in (3.0, 4.0, 4.5, 5.0):
        expected = n * math.erfc(beyond / math.sqrt(2))
        assert abs(np.sum(x > beyond) - expected) < 4 * math.sqrt(expected)
    assert 5 < x.max() < 6.7


def test_normal_where_words_are_extreme():
    # mean and deviation may be anything: nothing turns into NaN
    x = drawn(ops.normal, "float32", mean=2.0, std=0.0, n=1000)
    assert set(x.tolist()) == {2.0}
    assert np.isinf(drawn(ops.normal, "float32", mean=math.inf, n=10)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponential(dtype):
    x = drawn(ops.exponential, dtype, rate=2.0, n=1 << 20)
    assert distance(x, lambda x: -np.expm1(-2 * x)) < FARTHEST
    assert x.min() > 0
    assert np.isfinite(x).all()
    assert x.max() > 5


@pytest.mark.parametrize("p", [0.0, 2.0**-33, 1e-3, 0.3, 0.5, 0.999, 1.0])
def test_bernoulli(p):
    x = drawn(ops.bernoulli, "float32", p=p)
    assert set(np.unique(x)) <= {0, 1}
    assert abs(x.sum(dtype=np.float64) - N * p) <= 4 * math.sqrt(N * p * (1 - p)) + 1e-3
    np.testing.assert_array_equal(x, drawn(ops.bernoulli, "float64", p=p))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bernoulli_each(dtype):
    p = np.repeat(np.array([0, 0.1, 0.5, 0.9, 1], dtype), 40_000)
    x = ops.bernoulli_each(p, seed_low=3)
    counts = x.reshape(5, -1).sum(1)
    assert (counts[0], counts[4]) == (0, 40_000)
    assert np.all(np.abs(counts[1:4] - 40_000 * p[::40_000][1:4]) < 4 * 100)


@pytest.mark.parametrize(("low", "high"), [(0, 2), (0, 10), (-7, 6), (0, 100), (1000, 1256)])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers(low, high, dtype):
    x = ops.integers(np.zeros(N, np.float32), dtype=dtype, **range_cells(low, high), seed_low=9)
    assert x.dtype == dtype
    counts = np.bincount(x - low, minlength=high - low)
    assert len(counts) == high - low
    assert chi_square_is_likely(counts, N / (high - low))


@pytest.mark.parametrize(
    ("low", "high"), [(0, 3 << 62), (-(1 << 63), (1 << 62) + 1), (-(1 << 63), 1 << 63), (0, (1 << 63) - 1), (5, 6)]
)
def test_integers_of_wide_ranges_are_as_likely(low, high):
    # of the words for three quarters of 2**64 a quarter is drawn again; a plain remainder would favour a third
    x = ops.integers(np.zeros(N, np.float32), **range_cells(low, high), seed_low=4)
    offset = (x.view(np.uint64) - np.uint64(low % (1 << 64))).astype(np.float64) / (high - low)
    if high - low > 1:
        assert distance(offset, lambda x: x) < FARTHEST
    else:
        assert set(x.tolist()) == {5}
    for count in (1, 7, 1000):
        few = ops.integers(np.zeros(count, np.float32), **range_cells(low, high), seed_low=4)
        np.testing.assert_array_equal(few, x[:count])


@pytest.mark.parametrize(
    "op",
    [ops.uniform, ops.normal, ops.exponential, ops.bernoulli, ops.dropout, ops.alpha_dropout],
    ids=lambda o: o.name,
)
def test_seeds_and_draws_compile_nothing_and_change_everything(op):
    x = np.ones((40, 50), np.float32)
    first = op(x, seed_low=1, draw=1)
    np.testing.assert_array_equal(op(x, seed_low=1, draw=1), first)
    for other in ({"seed_low": 2, "draw": 1}, {"seed_low": 1, "seed_high": 1, "draw": 1}, {"seed_low": 1, "draw": 2}):
        assert np.mean(op(x, **other) != first) > 0.4


@pytest.mark.parametrize("op", [ops.uniform, ops.normal, ops.exponential, ops.bernoulli], ids=lambda op: op.name)
def test_out_in_any_layout_gets_the_same_numbers(op):
    x = np.zeros((6, 35), np.float32)
    expected = op(x, seed_low=1)
    for out in (np.empty_like(x), np.empty((35, 6), np.float32).T, np.empty((12, 70), np.float32)[::2, ::2], x):
        assert op(x, seed_low=1, out=out) is out
        np.testing.assert_array_equal(out, expected)


def test_integers_says_what_dtypes_there_are():
    with pytest.raises(ValueError, match="integers: dtype must be 'int32' or 'int64', got 'int8'"):
        ops.integers(np.zeros(3, np.float32), dtype="int8")


def test_tensors_come_of_tensors():
    assert isinstance(ops.uniform(fastnn.zeros(3)), fastnn.Tensor)
    assert not ops.normal(fastnn.zeros(3, requires_grad=True)).requires_grad
