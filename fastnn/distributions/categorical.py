"""The categorical distribution: one of some numbered categories."""

from __future__ import annotations

import functools
from typing import Any, ClassVar, Self

import numpy as np

from fastnn import ops
from fastnn.distributions import constraints
from fastnn.distributions.distribution import Distribution
from fastnn.distributions.utils import logits_to_probs, parameters, probs_to_logits
from fastnn.errors import ArgumentError, ShapeError
from fastnn.functions.sampling import pick
from fastnn.tensor import Tensor, from_numpy


class Categorical(Distribution):
    """A whole number from 0 to K - 1.

    Parameters
    ----------
    probs : (..., K) weights, at least 0, that are divided by their sum.
    logits : (..., K), in place of `probs`: logarithms of weights.
    """

    has_enumerate_support = True
    arg_constraints: ClassVar = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        if (probs is None) == (logits is None):
            raise ArgumentError("Categorical: either probs or logits must be given, and not both")
        name = "probs" if logits is None else "logits"
        (given,), _ = parameters("Categorical", **{name: probs if logits is None else logits})
        if given.ndim < 1:
            raise ShapeError(f"Categorical: {name} must have at least one axis, got shape {given.shape}")
        if name == "probs":
            self.__dict__["probs"] = given / given.sum(-1, keepdim=True)
        else:
            self.__dict__["logits"] = ops.log_softmax(given, axis=-1)
        self._given = self.__dict__[name]
        super().__init__(given.shape[:-1], validate_args=validate_args)

    @functools.cached_property
    def probs(self) -> Tensor:
        """The categories' probabilities (..., K)."""
        return logits_to_probs(self.logits)

    @functools.cached_property
    def logits(self) -> Tensor:
        """The logarithms of the categories' probabilities (..., K)."""
        return probs_to_logits(self.probs)

    @property
    def param_shape(self) -> tuple[int, ...]:
        """The shape of the parameter."""
        shape: tuple[int, ...] = self._given.shape
        return shape

    @property
    def _categories(self) -> int:
        return self.param_shape[-1]

    @property
    def support(self) -> constraints.Constraint:
        """The categories' numbers."""
        return constraints.integer_interval(0, self._categories - 1)

    @property
    def mean(self) -> Tensor:
        """NaN: categories have no order."""
        return from_numpy(np.full(self._batch_shape, np.nan, self._given.dtype))

    @property
    def variance(self) -> Tensor:
        """NaN: categories have no order."""
        return self.mean

    @property
    def mode(self) -> Tensor:
        """The most likely category."""
        return self.probs.detach().argmax(-1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The same with another batch shape."""
        shape = (*batch_shape, self._categories)
        expanded = {n: self.__dict__[n].expand(shape) for n in ("probs", "logits") if n in self.__dict__}
        made: Self = self._expanded(_instance, batch_shape, _given=next(iter(expanded.values())), **expanded)
        return made

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Numbers of categories, int64."""
        shape = self._extended_shape(sample_shape)
        rows = np.reshape(self.probs.detach().numpy(), (-1, self._categories)).astype(np.float64)
        lead = shape[: len(shape) - len(self._batch_shape)]
        count = int(np.prod(lead, dtype=np.int64))
        return from_numpy(np.array(pick(rows, count, None).T.reshape(shape)))

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the probability of categories."""
        index = self._checked(value).detach().numpy()
        shape = np.broadcast_shapes(index.shape, self._batch_shape)
        rows = self.logits.expand((*shape, self._categories))
        places = np.broadcast_to(index, shape).astype(np.int64)[..., None]
        found: Tensor = ops.gather(rows, from_numpy(places), axis=-1).squeeze(-1)
        return found

    def entropy(self) -> Tensor:
        """The entropy in nats."""
        least = float(np.finfo(self._given.dtype).min)
        return -(ops.maximum(self.logits, least) * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All categories along a new first axis."""
        values = from_numpy(np.arange(self._categories)).reshape((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values
