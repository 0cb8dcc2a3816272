"""The uniform distribution over an interval."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from fastnn import ops
from fastnn.distributions import constraints
from fastnn.distributions.distribution import Distribution
from fastnn.distributions.utils import parameters, value_argument
from fastnn.functions.sampling import rand
from fastnn.tensor import Tensor, from_numpy


class Uniform(Distribution):
    """All numbers from `low` to `high` (below it) as likely; Tensors or numbers that broadcast."""

    has_rsample = True
    arg_constraints: ClassVar = {"low": constraints.real, "high": constraints.real}

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        (self.low, self.high), _ = parameters("Uniform", low=low, high=high)
        super().__init__(self.low.shape, validate_args=validate_args)
        if self._validate_args:
            self._check("high", constraints.greater_than(self.low), self.high)

    @property
    def support(self) -> constraints.Constraint:
        """The interval with both its ends."""
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        """The middle."""
        return (self.low + self.high) * 0.5

    @property
    def mode(self) -> Tensor:
        """NaN: no number is likelier than others."""
        return self.high * float("nan")

    @property
    def variance(self) -> Tensor:
        """A twelfth of the squared width."""
        width = self.high - self.low
        return width * width / 12

    @property
    def stddev(self) -> Tensor:
        """The width over the root of 12."""
        return (self.high - self.low) / 12**0.5

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The same with another batch shape."""
        made: Self = self._expanded(
            _instance, batch_shape, low=self.low.expand(batch_shape), high=self.high.expand(batch_shape)
        )
        return made

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """``low + (high - low) * u``, u from [0, 1)."""
        u = rand(self._extended_shape(sample_shape), dtype=self.low.dtype)
        return self.low + u * (self.high - self.low)

    def log_prob(self, value: Any) -> Tensor:
        """Minus the logarithm of the width; minus infinity outside [low, high)."""
        given = value_argument("Uniform", self._checked(value), self.low).detach().numpy()
        inside = (self.low.detach().numpy() <= given) & (self.high.detach().numpy() > given)
        with np.errstate(divide="ignore"):
            edge = from_numpy(np.asarray(np.log(inside.astype(self.low.dtype))))
        return edge - ops.log(self.high - self.low)

    def cdf(self, value: Any) -> Tensor:
        """The probability of values up to these."""
        value = value_argument("Uniform", self._checked(value), self.low)
        return ops.clip((value - self.low) / (self.high - self.low), 0.0, 1.0)

    def icdf(self, value: Any) -> Tensor:
        """The values up to which these probabilities lie."""
        return self.low + value_argument("Uniform", value, self.low) * (self.high - self.low)

    def entropy(self) -> Tensor:
        """The logarithm of the width."""
        return ops.log(self.high - self.low)
