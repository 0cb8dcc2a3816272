"""The exponential distribution."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from fastnn import ops
from fastnn.distributions import constraints
from fastnn.distributions.distribution import Distribution
from fastnn.distributions.utils import parameters, value_argument
from fastnn.functions.creation import empty, zeros
from fastnn.tensor import Tensor


class Exponential(Distribution):
    """Waiting times between events of which `rate`, a number or Tensor, come in a unit of time."""

    has_rsample = True
    arg_constraints: ClassVar = {"rate": constraints.positive}

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,), _ = parameters("Exponential", rate=rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """Numbers from 0 on."""
        return constraints.nonnegative

    @property
    def mean(self) -> Tensor:
        """``1 / rate``."""
        return 1.0 / self.rate

    @property
    def mode(self) -> Tensor:
        """0."""
        return zeros(self.rate.shape, dtype=self.rate.dtype)

    @property
    def stddev(self) -> Tensor:
        """``1 / rate``."""
        return 1.0 / self.rate

    @property
    def variance(self) -> Tensor:
        """``1 / rate ** 2``."""
        return 1.0 / (self.rate * self.rate)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The same with another batch shape."""
        made: Self = self._expanded(_instance, batch_shape, rate=self.rate.expand(batch_shape))
        return made

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Waiting times at rate 1, over `rate`."""
        drawn: Tensor = empty(self._extended_shape(sample_shape), dtype=self.rate.dtype).exponential_()
        return drawn / self.rate

    def log_prob(self, value: Any) -> Tensor:
        """``log(rate) - rate * value``."""
        value = value_argument("Exponential", self._checked(value), self.rate)
        return ops.log(self.rate) - self.rate * value

    def cdf(self, value: Any) -> Tensor:
        """The probability of values up to these."""
        value = value_argument("Exponential", self._checked(value), self.rate)
        return -ops.expm1(-self.rate * value)

    def icdf(self, value: Any) -> Tensor:
        """The values up to which these probabilities lie."""
        return -ops.log1p(-value_argument("Exponential", value, self.rate)) / self.rate

    def entropy(self) -> Tensor:
        """``1 - log(rate)``."""
        return 1.0 - ops.log(self.rate)
