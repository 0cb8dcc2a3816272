"""Distributions: densities against closed forms, samples against densities, gradients, shapes, errors."""

import math

import numpy as np
import pytest

import fastnn
from fastnn import distributions as D
from fastnn.testing import gradcheck

rng = np.random.default_rng(0)


def parameter(*shape, low=0.1, high=0.9):
    return fastnn.tensor(rng.uniform(low, high, size=shape), requires_grad=True)


# A distribution of parameters, the parameters, and a value.
KINDS = {
    "Normal": (D.Normal, (parameter(4), parameter(3, 4)), rng.normal(size=(3, 4))),
    "Uniform": (lambda low, high: D.Uniform(low - 1, high), (parameter(4), parameter(3, 4)), np.full((3, 4), 0.05)),
    "Exponential": (D.Exponential, (parameter(3, 4),), rng.uniform(size=(3, 4))),
    "Bernoulli probs": (D.Bernoulli, (parameter(3, 4),), rng.integers(0, 2, (3, 4))),
    "Bernoulli logits": (lambda x: D.Bernoulli(logits=x), (parameter(3, 4),), rng.integers(0, 2, (3, 4))),
    "Categorical probs": (D.Categorical, (parameter(3, 4),), rng.integers(0, 4, (3,))),
    "Categorical logits": (lambda x: D.Categorical(logits=x), (parameter(3, 4),), rng.integers(0, 4, (5, 3))),
    "Independent": (lambda m, s: D.Independent(D.Normal(m, s), 1), (parameter(4), parameter(3, 4)), np.ones((3, 4))),
}
DISCRETE = [name for name in KINDS if "Bern" in name or "Cat" in name]


def made(name):
    make, parameters, value = KINDS[name]
    return make(*parameters), parameters, fastnn.tensor(value)


@pytest.mark.parametrize("name", KINDS)
def test_gradients(name):
    make, parameters, value = KINDS[name]
    value = fastnn.tensor(value)
    assert gradcheck(lambda *ps: make(*ps).log_prob(value), parameters)
    assert gradcheck(lambda *ps: make(*ps).entropy(), parameters)
    if make(*parameters).has_rsample:

        def drawn(*ps):
            fastnn.manual_seed(3)
            return make(*ps).rsample((2,))

        assert gradcheck(drawn, parameters)


@pytest.mark.parametrize("name", KINDS)
def test_shapes(name):
    d, _, value = made(name)
    event = len(d.event_shape)
    for sample_shape in ((), (5,), (2, 3)):
        x = d.sample(sample_shape)
        assert x.shape == (*sample_shape, *d.batch_shape, *d.event_shape)
        assert not x.requires_grad
        assert d.log_prob(x).shape == (*sample_shape, *d.batch_shape)
    assert d.sample_n(4).shape == d.sample((4,)).shape
    assert d.log_prob(value).shape == value.shape[: value.ndim - event]
    assert d.entropy().shape == d.batch_shape
    wide = d.expand((7, *d.batch_shape))
    assert type(wide) is type(d)
    assert (wide.batch_shape, wide.event_shape) == ((7, *d.batch_shape), d.event_shape)
    np.testing.assert_array_equal(wide.entropy().detach().numpy()[3], d.entropy().detach().numpy())
    assert wide.sample().shape == (7, *d.batch_shape, *d.event_shape)
    np.testing.assert_allclose(d.perplexity().detach().numpy(), np.exp(d.entropy().detach().numpy()))
    np.testing.assert_allclose(d.stddev.detach().numpy() ** 2, d.variance.detach().numpy())


@pytest.mark.parametrize("name", ["Normal", "Uniform", "Exponential"])
def test_samples_follow_the_distribution_function(name):
    fastnn.manual_seed(1)
    d, _, _ = made(name)
    n = 20_000
    x = d.sample((n,))
    p = np.sort(d.cdf(x).detach().numpy().reshape(n, -1), axis=0)
    places = np.arange(n)[:, None]
    assert np.max(np.maximum((places + 1) / n - p, p - places / n)) * math.sqrt(n) < 2.3
    np.testing.assert_allclose(x.numpy().mean(0), d.mean.detach().numpy(), atol=0.4 if name == "Exponential" else 0.05)
    np.testing.assert_allclose(d.icdf(d.cdf(x)).detach().numpy(), x.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["Normal", "Uniform", "Exponential"])
def test_densities_are_slopes_of_distribution_functions(name):
    d, _, value = made(name)
    step = 1e-6
    slope = (d.cdf(value + step) - d.cdf(value - step)).detach().numpy() / (2 * step)
    np.testing.assert_allclose(np.exp(d.log_prob(value).detach().numpy()), slope, rtol=1e-6)


@pytest.mark.parametrize("name", DISCRETE)
def test_all_values_sum_to_one_and_samples_follow_them(name):
    fastnn.manual_seed(2)
    d, _, _ = made(name)
    values = d.enumerate_support()
    assert values.shape[1:] == d.batch_shape
    assert d.enumerate_support(expand=False).shape[1:] == (1,) * len(d.batch_shape)
    p = np.exp(d.log_prob(values).detach().numpy())
    np.testing.assert_allclose(p.sum(0), 1)
    np.testing.assert_allclose(d.entropy().detach().numpy(), -(p * np.log(p)).sum(0))
    x = d.sample((20_000,)).numpy()
    shares = np.stack([(x == v).mean(0) for v in range(len(p))])
    np.testing.assert_allclose(shares, p, atol=0.02)
    assert set(np.unique(x)) <= set(range(len(p)))


def test_entropies_are_means_of_log_probabilities():
    fastnn.manual_seed(0)
    for name in ("Normal", "Uniform", "Exponential", "Independent"):
        d, _, _ = made(name)
        found = -d.log_prob(d.sample((50_000,))).detach().numpy().mean(0)
        np.testing.assert_allclose(found, d.entropy().detach().numpy(), atol=0.04)


def test_seeds():
    d = D.Normal(fastnn.zeros(3), 1.0)
    fastnn.manual_seed(4)
    first = d.sample((5,)).tolist()
    assert d.sample((5,)).tolist() != first
    fastnn.manual_seed(4)
    assert d.sample((5,)).tolist() == first


def test_modes():
    assert D.Normal(2.0, 1.0).mode.item() == 2
    assert D.Categorical(fastnn.tensor([[0.1, 0.7, 0.2]])).mode.tolist() == [1]
    np.testing.assert_array_equal(D.Bernoulli(fastnn.tensor([0.2, 0.5, 0.8])).mode.numpy(), [0, np.nan, 1])
    assert D.Exponential(3.0).mode.item() == 0
    assert np.isnan(D.Uniform(0.0, 1.0).mode.item())
    assert np.isnan(D.Categorical(fastnn.ones(3)).mean.item())
    assert D.Independent(D.Normal(fastnn.ones(2), 1.0), 1).mode.tolist() == [1, 1]


def test_edges():
    assert D.Bernoulli(1.0).entropy().item() == pytest.approx(0, abs=1e-5)
    assert D.Bernoulli(fastnn.tensor(0.0)).log_prob(0.0).item() == pytest.approx(0, abs=1e-6)
    assert np.isfinite(D.Bernoulli(1.0).log_prob(0.0).item())
    certain = D.Categorical(fastnn.tensor([0.0, 1.0]))
    assert certain.entropy().item() == pytest.approx(0, abs=1e-5)
    assert set(certain.sample((50,)).tolist()) == {1}
    assert certain.sample().shape == ()
    minus = D.Categorical(logits=fastnn.tensor([-math.inf, 0.0]))
    assert minus.log_prob(fastnn.tensor([0, 1])).tolist() == [-math.inf, 0]
    assert minus.entropy().item() == 0
    assert D.Uniform(0.0, 1.0).log_prob(1.0).item() == -math.inf
    loose = D.Uniform(0.0, 1.0, validate_args=False)
    assert loose.log_prob(fastnn.tensor([-1.0, 0.5, 2.0])).tolist() == [-math.inf, 0, -math.inf]
    assert loose.cdf(fastnn.tensor([-1.0, 2.0])).tolist() == [0, 1]
    np.testing.assert_array_equal(
        D.Normal(0.0, 1.0).icdf(fastnn.tensor([0.0, 0.5, 1.0, 2.0])).numpy(), [-math.inf, 0, math.inf, math.nan]
    )
    x = fastnn.tensor([0.0], requires_grad=True)
    D.Bernoulli(logits=x).log_prob(fastnn.tensor([1.0])).sum().backward()
    assert x.grad.tolist() == [0.5]


def test_policy_gradient():
    logits = fastnn.tensor(np.zeros((2, 3), np.float32), requires_grad=True)
    d = D.Categorical(logits=logits)
    action = fastnn.tensor([2, 0])
    (-d.log_prob(action) * fastnn.tensor([1.0, -2.0])).sum().backward()
    third = 1 / 3
    expected = [[third, third, third - 1], [-2 * third + 2, -2 * third, -2 * third]]
    np.testing.assert_allclose(logits.grad.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_divergences(name):
    make, parameters, _ = KINDS[name]
    p, q = make(*parameters), make(*(x.detach() * 0.9 + 0.05 for x in parameters))
    np.testing.assert_allclose(D.kl_divergence(p, p).detach().numpy(), 0, atol=1e-12)
    if name == "Uniform":
        q = D.Uniform((p.low - 0.1).detach(), (p.high + 0.2).detach())
    found = D.kl_divergence(p, q)
    assert found.shape == p.batch_shape
    assert gradcheck(lambda *ps: D.kl_divergence(make(*ps), q), parameters)
    fastnn.manual_seed(0)
    x = p.sample((100_000,))
    mean = (p.log_prob(x) - q.log_prob(x)).detach().numpy().mean(0)
    np.testing.assert_allclose(mean, found.detach().numpy(), atol=0.03)


def test_divergences_that_are_infinite_or_unknown():
    assert D.kl_divergence(D.Uniform(0.0, 2.0), D.Uniform(0.0, 1.0)).item() == math.inf
    one, two = D.Categorical(fastnn.tensor([0.5, 0.5])), D.Categorical(fastnn.tensor([0.0, 1.0]))
    assert D.kl_divergence(one, two).item() == math.inf
    assert D.kl_divergence(two, one).item() == pytest.approx(math.log(2))
    with pytest.raises(NotImplementedError, match="kl_divergence: no function for Normal and Bernoulli"):
        D.kl_divergence(D.Normal(0.0, 1.0), D.Bernoulli(0.5))
    base = D.Normal(fastnn.zeros(2, 3), 1.0)
    with pytest.raises(NotImplementedError, match="Independent with 1 and 2 axes"):
        D.kl_divergence(D.Independent(base, 1), D.Independent(base, 2))
    with pytest.raises(TypeError, match="register_kl: expected subclasses of Distribution"):
        D.register_kl(int, D.Normal)


def test_divergences_of_subclasses_can_be_registered():
    class Own(D.Normal):
        pass

    assert D.kl_divergence(Own(0.0, 1.0), D.Normal(0.0, 1.0)).item() == 0

    @D.register_kl(Own, Own)
    def own(p, q):
        return p.loc + 7

    assert D.kl_divergence(Own(0.0, 1.0), Own(0.0, 1.0)).item() == 7


def test_numbers_take_the_dtype_of_tensors_beside_them():
    assert D.Normal(0, fastnn.ones(2, dtype="float64")).loc.dtype == np.float64
    assert D.Normal(0, 1).sample().dtype == np.float32
    assert D.Bernoulli(fastnn.full((2,), 0.5, dtype="float64")).sample().dtype == np.float64
    assert D.Exponential(np.array([1.0, 2.0])).rate.dtype == np.float64
    assert repr(D.Normal(0.0, fastnn.ones(2))) == "Normal(loc: (2,), scale: (2,))"
    assert repr(D.Independent(D.Bernoulli(0.5), 0)) == "Independent(Bernoulli(probs: 0.5), 0)"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: D.Normal(0.0, -1.0), ValueError, "Normal: scale must be above 0, got -1.0"),
        (lambda: D.Normal(math.nan, 1.0), ValueError, "Normal: loc must be a number, got nan"),
        (lambda: D.Normal("a", 1.0), TypeError, "Normal: loc must be a Tensor or a number, got str"),
        (lambda: D.Normal(fastnn.zeros(2), fastnn.ones(3)), ValueError, "Normal: parameters must broadcast together"),
        (lambda: D.Normal(0.0, 1.0).log_prob(math.nan), ValueError, "Normal: value must be a number, got nan"),
        (lambda: D.Normal(fastnn.zeros(2), 1.0).log_prob(fastnn.zeros(3)), ValueError, "value must broadcast with"),
        (lambda: D.Uniform(1.0, 0.0), ValueError, "Uniform: high must be above 1.0, got 0.0"),
        (lambda: D.Uniform(0.0, 1.0).log_prob(2.0), ValueError, "Uniform: value must be from 0.0 to 1.0, got 2.0"),
        (lambda: D.Exponential(0.0), ValueError, "Exponential: rate must be above 0, got 0.0"),
        (lambda: D.Exponential(1.0).log_prob(-1.0), ValueError, "Exponential: value must be at least 0, got -1.0"),
        (lambda: D.Bernoulli(), ValueError, "Bernoulli: either probs or logits must be given, and not both"),
        (lambda: D.Bernoulli(0.5, 0.5), ValueError, "Bernoulli: either probs or logits must be given, and not both"),
        (lambda: D.Bernoulli(1.5), ValueError, "Bernoulli: probs must be from 0 to 1, got 1.5"),
        (lambda: D.Bernoulli(0.5).log_prob(0.25), ValueError, "Bernoulli: value must be 0 or 1, got 0.25"),
        (lambda: D.Categorical(), ValueError, "Categorical: either probs or logits must be given"),
        (lambda: D.Categorical(fastnn.tensor(0.5)), ValueError, "Categorical: probs must have at least one axis"),
        (lambda: D.Categorical(fastnn.tensor([-0.5, 1.0])), ValueError, "probs must be probabilities that sum to 1"),
        (lambda: D.Categorical(fastnn.ones(3)).log_prob(3), ValueError, "value must be a whole number from 0 to 2"),
        (lambda: D.Independent(D.Normal(0.0, 1.0), 1), ValueError, "reinterpreted_batch_ndims must be 0 to 0, got 1"),
        (lambda: D.Normal(0.0, 1.0).sample((-1,)), ValueError, "Normal: sample_shape must be at least 0"),
        (lambda: D.Normal(0.0, 1.0).enumerate_support(), NotImplementedError, "Normal has no enumerate_support"),
        (lambda: D.Categorical(fastnn.ones(3)).rsample(), NotImplementedError, "Categorical has no rsample"),
        (lambda: D.Bernoulli(0.5).cdf(1.0), NotImplementedError, "Bernoulli has no cdf"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_checks_can_be_left_out():
    assert D.Normal(0.0, -1.0, validate_args=False).scale.item() == -1
    D.Distribution.set_default_validate_args(False)
    try:
        assert D.Bernoulli(3.0).probs.item() == 3
        with pytest.raises(ValueError, match="probs must be from 0 to 1"):
            D.Bernoulli(3.0, validate_args=True)
    finally:
        D.Distribution.set_default_validate_args(True)
    with pytest.raises(TypeError, match="value must be a bool"):
        D.Distribution.set_default_validate_args(1)


def test_constraints():
    c = D.constraints
    assert c.simplex.check(fastnn.tensor([[0.5, 0.5], [0.5, 0.6]])).tolist() == [True, False]
    assert c.real_vector.check(fastnn.tensor([[math.nan, 1.0], [1.0, 2.0]])).tolist() == [False, True]
    assert c.less_than(1).check(fastnn.tensor([0.5, 1.0])).tolist() == [True, False]
    both = D.Independent(D.Bernoulli(fastnn.full((2,), 0.5)), 1).support
    assert (both.event_dim, both.is_discrete) == (1, True)
    assert both.check(fastnn.tensor([[0.0, 1.0], [0.5, 1.0]])).tolist() == [True, False]
    assert repr(c.positive) == "Constraint(above 0)"
