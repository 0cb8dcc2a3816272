"""The Bernoulli distribution: 0 or 1."""

from __future__ import annotations

import functools
from typing import Any, ClassVar, Self

import numpy as np

from fastnn import ops
from fastnn.autograd import no_grad
from fastnn.distributions import constraints
from fastnn.distributions.distribution import Distribution
from fastnn.distributions.utils import logits_to_probs, parameters, probs_to_logits, value_argument
from fastnn.errors import ArgumentError
from fastnn.functions.sampling import bernoulli
from fastnn.tensor import Tensor, from_numpy


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """What 0 and 1, 1 with probability `target`, cost in nats under a distribution of these logits."""
    return (1.0 - target) * logits - ops.logsigmoid(logits)


class Bernoulli(Distribution):
    """1 with probability `probs`, or with log odds `logits`, else 0; numbers or Tensors."""

    has_enumerate_support = True
    arg_constraints: ClassVar = {"probs": constraints.unit_interval, "logits": constraints.real}

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        if (probs is None) == (logits is None):
            raise ArgumentError("Bernoulli: either probs or logits must be given, and not both")
        name = "probs" if logits is None else "logits"
        (given,), _ = parameters("Bernoulli", **{name: probs if logits is None else logits})
        self.__dict__[name] = given
        super().__init__(given.shape, validate_args=validate_args)

    @functools.cached_property
    def probs(self) -> Tensor:
        """The probability of 1."""
        return logits_to_probs(self.logits, is_binary=True)

    @functools.cached_property
    def logits(self) -> Tensor:
        """The logarithm of the odds."""
        return probs_to_logits(self.probs, is_binary=True)

    @property
    def _given(self) -> tuple[str, Tensor]:
        name = "probs" if "probs" in self.__dict__ else "logits"
        return name, self.__dict__[name]

    @property
    def param_shape(self) -> tuple[int, ...]:
        """The shape of the parameter."""
        return self._given[1].shape

    @property
    def support(self) -> constraints.Constraint:
        """0 and 1."""
        return constraints.boolean

    @property
    def mean(self) -> Tensor:
        """`probs`."""
        return self.probs

    @property
    def mode(self) -> Tensor:
        """The likelier value; NaN where both are as likely."""
        p = self.probs.detach().numpy()
        return from_numpy(np.asarray(np.where(p == 0.5, np.nan, p > 0.5).astype(p.dtype)))

    @property
    def variance(self) -> Tensor:
        """``probs * (1 - probs)``."""
        return self.probs * (1.0 - self.probs)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The same with another batch shape."""
        made: Self = self._expanded(
            _instance, batch_shape, **{n: self.__dict__[n].expand(batch_shape) for n in ("probs", "logits")
                                       if n in self.__dict__}
        )  # fmt: skip
        return made

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Zeros and ones, of the parameter's dtype."""
        with no_grad():
            return bernoulli(self.probs.detach().expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the probability."""
        return -cross_entropy(self.logits, value_argument("Bernoulli", self._checked(value), self._given[1]))

    def entropy(self) -> Tensor:
        """The entropy in nats."""
        return cross_entropy(self.logits, self.probs)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """0 and 1 along a new first axis."""
        values = from_numpy(np.arange(2, dtype=self._given[1].dtype)).reshape((2,) + (1,) * len(self._batch_shape))
        return values.expand((2, *self._batch_shape)) if expand else values
