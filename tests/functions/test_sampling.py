"""Torch's random functions: arguments, dtypes, seeds, errors; distributions are tested in ops/test_sampling.py."""

import math

import numpy as np
import pytest

import fastnn
from fastnn import Generator

DRAWS = {
    "rand": lambda g: fastnn.rand(5, 7, generator=g),
    "randn": lambda g: fastnn.randn((5, 7), generator=g),
    "randint": lambda g: fastnn.randint(-5, 900, (5, 7), generator=g),
    "randperm": lambda g: fastnn.randperm(35, generator=g),
    "normal": lambda g: fastnn.normal(fastnn.zeros(5, 7), fastnn.ones(7), generator=g),
    "bernoulli": lambda g: fastnn.bernoulli(fastnn.full((5, 7), 0.5), generator=g),
    "multinomial": lambda g: fastnn.multinomial(fastnn.ones(5, 40), 7, generator=g),
    "multinomial again": lambda g: fastnn.multinomial(fastnn.ones(5, 40), 7, True, generator=g),
    "poisson": lambda g: fastnn.poisson(fastnn.full((5, 7), 9.0), generator=g),
}
METHODS = {
    "uniform_": (-1, 1),
    "normal_": (1, 2),
    "bernoulli_": (0.5,),
    "exponential_": (2,),
    "random_": (1000,),
    "geometric_": (0.1,),
    "log_normal_": (0, 1),
    "cauchy_": (0, 1),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_follow_their_generator(name):
    draw = DRAWS[name]
    one, two = Generator().manual_seed(1), Generator().manual_seed(1)
    first = draw(one).numpy()
    np.testing.assert_array_equal(draw(two).numpy(), first)
    assert (draw(one).numpy() != first).any()
    fastnn.manual_seed(1)
    np.testing.assert_array_equal(draw(None).numpy(), first)
    with pytest.raises(TypeError, match=r"generator must be a fastnn.Generator, got int"):
        draw(3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", METHODS)
def test_methods_overwrite_in_any_layout(name, dtype):
    fastnn.manual_seed(5)
    x = fastnn.zeros(6, 41, dtype=dtype)
    version = x._version
    assert getattr(x, name)(*METHODS[name]) is x
    assert x._version > version
    assert x.dtype == dtype
    assert len(np.unique(x.numpy())) > 1
    fastnn.manual_seed(5)
    y = fastnn.zeros(41, 6, dtype=dtype).t()
    getattr(y, name)(*METHODS[name])
    np.testing.assert_array_equal(y.numpy(), x.numpy())
    own = Generator().manual_seed(5)
    z = getattr(fastnn.zeros(6, 41, dtype=dtype), name)(*METHODS[name], generator=own)
    np.testing.assert_array_equal(z.numpy(), x.numpy())


@pytest.mark.parametrize("name", METHODS)
def test_methods_leave_what_requires_grad_alone(name):
    x = fastnn.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match=f"{name}: a Tensor that requires grad cannot be overwritten"):
        getattr(x, name)(*METHODS[name])
    assert x.tolist() == [1, 1, 1]
    with fastnn.no_grad():
        getattr(x, name)(*METHODS[name])


def test_shapes_dtypes_and_gradients():
    assert fastnn.rand().shape == ()
    assert fastnn.rand(0, 3).shape == fastnn.randn(size=(0, 3)).shape == (0, 3)
    assert fastnn.rand(2, dtype="float64", device="cpu").dtype == np.float64
    assert fastnn.randn(2, 3, requires_grad=True).requires_grad
    assert fastnn.rand(2, dtype=np.float16).dtype == np.float16
    out = fastnn.zeros(4, dtype="float64")
    assert fastnn.rand(4, out=out) is out
    assert out.numpy().all()
    x = fastnn.zeros(3, 4, dtype="float64").t()
    for like in (fastnn.rand_like(x), fastnn.randn_like(x), fastnn.randint_like(x, 3, 9)):
        assert (like.shape, like.dtype, like.stride()) == (x.shape, x.dtype, x.stride())
    assert fastnn.randn_like(x, dtype="float32").dtype == np.float32
    assert fastnn.randint_like(x, fastnn.tensor(3), dtype="int64").dtype == np.int64


def test_integers():
    assert fastnn.randint(3, (50,)).dtype == np.int64
    assert set(fastnn.randint(3, (50,)).tolist()) == {0, 1, 2}
    assert set(fastnn.randint(low=-2, high=0, size=(50,), dtype="int8").tolist()) == {-2, -1}
    assert set(fastnn.randint(0, 2, (50,), dtype=bool).tolist()) == {False, True}
    assert set(fastnn.randint(0, 2, (50,), dtype="float32").tolist()) == {0.0, 1.0}
    wide = fastnn.zeros(1000, dtype="int64").random_().numpy()
    assert wide.min() >= 0
    assert wide.max() > 2**62
    assert (fastnn.zeros(1000, dtype="int64").random_(-(2**63), None).numpy() < 0).any()
    assert set(fastnn.zeros(50, dtype="uint8").random_(254, 256).tolist()) == {254, 255}
    assert set(fastnn.zeros(50, dtype=bool).random_().tolist()) == {False, True}
    floats = fastnn.zeros(1000).random_().numpy()
    assert floats.max() <= 2**24
    assert floats.max() > 2**23
    assert set(fastnn.zeros(50).random_(to=2).tolist()) == {0, 1}


def test_permutations():
    for n in (0, 1, 2, 1000):
        assert sorted(fastnn.randperm(n).tolist()) == list(range(n))
    assert fastnn.randperm(5, dtype="int32").dtype == np.int32
    places = np.stack([fastnn.randperm(4, generator=Generator().manual_seed(s)).numpy() for s in range(2400)])
    _, counts = np.unique(places, axis=0, return_counts=True)
    assert len(counts) == 24
    assert abs(np.sum((counts - 100) ** 2 / 100) - 23) < 4 * math.sqrt(46)


def test_normal_by_tensors():
    fastnn.manual_seed(0)
    mean, std = fastnn.tensor([[0.0], [100.0]]), fastnn.full((50_000,), 3.0)
    x = fastnn.normal(mean, std).numpy()
    assert x.shape == (2, 50_000)
    np.testing.assert_allclose(x.mean(1), [0, 100], atol=0.06)
    np.testing.assert_allclose(x.std(1), 3, rtol=0.02)
    assert fastnn.normal(2.0, fastnn.zeros(3)).tolist() == [2, 2, 2]
    assert fastnn.normal(fastnn.tensor([1.0, 2.0])).shape == (2,)
    assert fastnn.normal(1.0, 0.0, (2, 2)).tolist() == [[1, 1], [1, 1]]


def test_bernoulli_of_each_element():
    p = fastnn.tensor([0.0, 1.0, 0.5], dtype="float64").expand(1000, 3)
    x = fastnn.bernoulli(p).numpy()
    assert x.dtype == np.float64
    assert (x[:, 0].any(), x[:, 1].all()) == (False, True)
    assert 400 < x[:, 2].sum() < 600
    assert set(fastnn.zeros(99, dtype="int64").bernoulli_(0.5).tolist()) == {0, 1}
    assert (
        fastnn.zeros(2, 3, dtype=bool).bernoulli_(fastnn.tensor([0.0, 1.0, 1.0])).tolist() == [[False, True, True]] * 2
    )
    assert fastnn.tensor([0.2, 0.3]).bernoulli(1.0).tolist() == [1, 1]
    assert fastnn.bernoulli(fastnn.zeros(0)).shape == (0,)


def test_multinomial_follows_its_weights():
    weights = fastnn.tensor([[0.0, 1.0, 3.0, 0.0], [5.0, 0.0, 0.0, 5.0]])
    x = fastnn.multinomial(weights, 40_000, replacement=True).numpy()
    assert x.dtype == np.int64
    for row, expected in zip(x, [[0, 0.25, 0.75, 0], [0.5, 0, 0, 0.5]], strict=True):
        np.testing.assert_allclose(np.bincount(row, minlength=4) / 40_000, expected, atol=0.01)
    assert fastnn.tensor([0.0, 0.0, 2.0]).multinomial(1).tolist() == [2]
    apart = fastnn.multinomial(fastnn.tensor([1.0, 2.0, 7.0]).expand(20_000, 3), 2).numpy()
    assert (apart[:, 0] != apart[:, 1]).all()
    np.testing.assert_allclose(np.bincount(apart[:, 0]) / 20_000, [0.1, 0.2, 0.7], atol=0.015)
    # second after first: p_j / (1 - p_i)
    np.testing.assert_allclose(np.mean(apart[apart[:, 0] == 2, 1] == 1), 2 / 3, atol=0.02)


def test_moments_of_the_methods_that_numpy_serves():
    fastnn.manual_seed(0)
    x = fastnn.zeros(100_000, dtype="float64")
    assert abs(x.geometric_(0.25).numpy().mean() - 4) < 0.05
    assert x.numpy().min() == 1
    assert abs(np.log(x.log_normal_(1, 0.5).numpy()).std() - 0.5) < 0.01
    assert abs(np.median(x.cauchy_(3, 2).numpy()) - 3) < 0.05
    assert abs(np.mean(np.abs(x.numpy() - 3) < 2) - 0.5) < 0.01
    assert abs(fastnn.poisson(fastnn.full((100_000,), 4.5)).numpy().mean() - 4.5) < 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fastnn.rand(-1), "rand: size must be at least 0"),
        (lambda: fastnn.rand(2, device="cuda"), "rand: the only device is cpu, got 'cuda'"),
        (lambda: fastnn.rand(3, out=fastnn.zeros(2)), r"rand: out must have shape \(3,\), got \(2,\)"),
        (lambda: fastnn.randint(3, 3, (2,)), "randint: low must be less than high, got 3 and 3"),
        (lambda: fastnn.randint(0, 257, (2,), dtype="uint8"), "randint: low and high - 1 must lie from 0 to 255"),
        (lambda: fastnn.randint(0, 2**24 + 2, (2,), dtype="float32"), "randint: low and high - 1 must lie from"),
        (lambda: fastnn.randperm(-1), "randperm: n must be at least 0, got -1"),
        (lambda: fastnn.randperm(300, dtype="uint8"), "randperm: n - 1 must fit dtype uint8, got n = 300"),
        (lambda: fastnn.normal(0.0, -1.0, (2,)), "normal: std must be at least 0, got -1"),
        (lambda: fastnn.normal(0.0, fastnn.tensor([-1.0])), "normal: all elements of std must be at least 0, got -1"),
        (lambda: fastnn.normal(fastnn.zeros(2), fastnn.zeros(3)), "normal: shapes of mean and std must broadcast"),
        (lambda: fastnn.bernoulli(fastnn.tensor([0.5, 1.5])), "bernoulli: p must lie from 0 to 1, got 1.5"),
        (lambda: fastnn.bernoulli(fastnn.tensor([math.nan])), "bernoulli: p must lie from 0 to 1"),
        (lambda: fastnn.zeros(2).bernoulli_(-0.5), "bernoulli_: p must lie from 0 to 1, got -0.5"),
        (lambda: fastnn.zeros(2).bernoulli_(fastnn.zeros(3)), r"bernoulli_: p must broadcast to \(2,\), got shape"),
        (lambda: fastnn.multinomial(fastnn.zeros(3), 1), "multinomial: each row must have a weight above 0"),
        (lambda: fastnn.multinomial(fastnn.tensor([-1.0, 2.0]), 1), "multinomial: weights must be finite and not"),
        (lambda: fastnn.multinomial(fastnn.tensor([math.inf, 2.0]), 1), "multinomial: weights must be finite and not"),
        (lambda: fastnn.multinomial(fastnn.ones(3), 4), "multinomial: num_samples must be at most 3 without"),
        (lambda: fastnn.multinomial(fastnn.ones(3), 0), "multinomial: num_samples must be at least 1, got 0"),
        (lambda: fastnn.multinomial(fastnn.ones(1, 1, 1), 1), "multinomial: input must have 1 or 2 axes"),
        (lambda: fastnn.poisson(fastnn.tensor([-1.0])), "poisson: rates must be at least 0, got -1"),
        (lambda: fastnn.zeros(2).uniform_(2, 1), "uniform_: from must not exceed to, got 2 and 1"),
        (lambda: fastnn.zeros(2).uniform_(-3e38, 3e38), "uniform_: to - from must be a finite float32"),
        (lambda: fastnn.zeros(2).normal_(0, -1), "normal_: std must be at least 0, got -1"),
        (lambda: fastnn.zeros(2).exponential_(0), "exponential_: lambd must be above 0, got 0"),
        (lambda: fastnn.zeros(2).geometric_(1), "geometric_: p must lie between 0 and 1, got 1"),
        (lambda: fastnn.zeros(2).log_normal_(0, 0), "log_normal_: std must be above 0, got 0"),
        (lambda: fastnn.zeros(2).cauchy_(0, 0), "cauchy_: sigma must be above 0, got 0"),
        (lambda: fastnn.zeros(1).expand(2).normal_(), "normal_: elements of the Tensor share memory"),
        (lambda: fastnn.zeros(2).random_(5, 3), "random_: low must be less than high, got 5 and 3"),
    ],
)
def test_values_that_arguments_cannot_have(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fastnn.rand(2, dtype="int64"), "rand: dtype must be a floating one, got int64"),
        (lambda: fastnn.rand("a"), "rand: size must be an integer"),
        (lambda: fastnn.rand_like(fastnn.zeros(2, dtype="int64")), "rand_like: dtype must be a floating one"),
        (lambda: fastnn.rand_like([1.0]), "rand_like: input must be a Tensor, got list"),
        (lambda: fastnn.randint(5), r"randint: takes \(high, size\) or \(low, high, size\)"),
        (lambda: fastnn.randint(0.5, 3, (2,)), "randint: low must be an integer, got 0.5"),
        (lambda: fastnn.randint_like(fastnn.zeros(2)), "randint_like: takes"),
        (lambda: fastnn.normal(0.0, 1.0), "normal: without size, mean or std must be a Tensor"),
        (lambda: fastnn.bernoulli(fastnn.tensor([1, 0])), "bernoulli: dtype must be a floating one, got int64"),
        (lambda: fastnn.multinomial(fastnn.tensor([1, 2]), 1), "multinomial: dtype must be a floating one, got int64"),
        (lambda: fastnn.zeros(2, dtype="int64").uniform_(), "uniform_: dtype must be a floating one, got int64"),
        (lambda: fastnn.zeros(2).uniform_(0, 1, 2), "uniform_: takes from and to"),
        (lambda: fastnn.zeros(2).random_(0, 1, 2), "random_: takes"),
        (lambda: fastnn.multinomial(fastnn.ones(2), 1, out=fastnn.zeros(1)), "multinomial: out must have dtype int64"),
        (lambda: fastnn.rand(2, out=np.zeros(2)), "rand: out must be a Tensor, got ndarray"),
    ],
)
def test_types_that_arguments_cannot_have(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_the_same_bits_for_any_number_of_threads():
    def draw():
        fastnn.manual_seed(8)
        return [
            fastnn.randn(300_001).numpy().tobytes(),
            fastnn.randperm(100_003).numpy().tobytes(),
            fastnn.nn.functional.dropout(fastnn.ones(200_001), 0.3).numpy().tobytes(),
        ]

    results = []
    for count in (1, 2, 5):
        with fastnn.threads(count):
            results.append(draw())
    assert results[0] == results[1] == results[2]


def test_without_kernels_the_numbers_are_the_same():
    fastnn.manual_seed(8)
    expected = [fastnn.rand(99).numpy(), fastnn.randint(-9, 1 << 40, (99,)).numpy(), fastnn.randn(99).numpy()]
    with fastnn.use_backend("numpy"):
        fastnn.manual_seed(8)
        np.testing.assert_array_equal(fastnn.rand(99).numpy(), expected[0])
        np.testing.assert_array_equal(fastnn.randint(-9, 1 << 40, (99,)).numpy(), expected[1])
        np.testing.assert_allclose(fastnn.randn(99).numpy(), expected[2], rtol=1e-5, atol=1e-6)
