"""The Kullback-Leibler divergence between distributions of one family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import ops
from fastnn.distributions.bernoulli import Bernoulli
from fastnn.distributions.categorical import Categorical
from fastnn.distributions.distribution import Distribution
from fastnn.distributions.exponential import Exponential
from fastnn.distributions.independent import Independent, summed
from fastnn.distributions.normal import Normal
from fastnn.distributions.uniform import Uniform
from fastnn.tensor import Tensor, from_numpy

Divergence = Callable[[Any, Any], Tensor]

_known: dict[tuple[type, type], Divergence] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Divergence], Divergence]:
    """Decorate a function of two distributions that gives the divergence of these classes and their subclasses."""
    for kind in (type_p, type_q):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"register_kl: expected subclasses of Distribution, got {kind!r}")

    def register(function: Divergence) -> Divergence:
        _known[type_p, type_q] = function
        return function

    return register


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The mean over p of ``log p - log q``, for each place in the batch.

    Raises NotImplementedError for classes that no function was registered for.
    """
    for one in type(p).__mro__:
        for two in type(q).__mro__:
            if (one, two) in _known:
                return _known[one, two](p, q)
    raise NotImplementedError(f"kl_divergence: no function for {type(p).__name__} and {type(q).__name__}")


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Tensor:
    ratio, step = p.scale / q.scale, (p.loc - q.loc) / q.scale
    square = ratio * ratio
    return (square + step * step - 1.0 - ops.log(square)) * 0.5


def _term(terms: Tensor, here: Tensor, there: Tensor) -> Tensor:
    """Terms of a mean of logarithms: 0 where p is 0, infinite where only q is."""
    none, alone = (np.broadcast_to(x.detach().numpy() == 0, terms.shape) for x in (here, there))
    return ops.where(from_numpy(none), 0.0, ops.where(from_numpy(alone), float("inf"), terms))


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    ones = p.probs * (ops.logsigmoid(p.logits) - ops.logsigmoid(q.logits))
    rest, other = 1.0 - p.probs, 1.0 - q.probs
    zeros = rest * (ops.logsigmoid(-p.logits) - ops.logsigmoid(-q.logits))
    return _term(ones, p.probs, q.probs) + _term(zeros, rest, other)


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Tensor:
    return _term(p.probs * (p.logits - q.logits), p.probs, q.probs).sum(-1)


@register_kl(Uniform, Uniform)
def _uniform(p: Uniform, q: Uniform) -> Tensor:
    found = ops.log((q.high - q.low) / (p.high - p.low))
    beyond = (q.low.detach().numpy() > p.low.detach().numpy()) | (q.high.detach().numpy() < p.high.detach().numpy())
    return ops.where(from_numpy(np.asarray(beyond)), float("inf"), found)


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - 1.0 - ops.log(ratio)


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    axes = p.reinterpreted_batch_ndims
    if axes != q.reinterpreted_batch_ndims:
        raise NotImplementedError(
            f"kl_divergence: Independent with {axes} and {q.reinterpreted_batch_ndims} axes have no common values"
        )
    return summed(kl_divergence(p.base_dist, q.base_dist), axes)
