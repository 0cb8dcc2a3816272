"""The normal distribution."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, ClassVar, Self

import numpy as np

from fastnn import ops
from fastnn._runtime.tensor import derived
from fastnn.distributions import constraints
from fastnn.distributions.distribution import Distribution
from fastnn.distributions.utils import parameters, value_argument
from fastnn.functions.sampling import randn
from fastnn.tensor import Tensor

_STANDARD = NormalDist()


def _quantile(p: float) -> float:
    if 0 < p < 1:
        return _STANDARD.inv_cdf(p)
    return {0.0: -math.inf, 1.0: math.inf}.get(p, math.nan)


_quantiles = np.vectorize(_quantile, otypes=[np.float64])


def quantile(p: Tensor) -> Tensor:
    """The standard normal distribution's values up to which probabilities lie (Wichura's AS 241)."""
    found = np.asarray(_quantiles(p.array))
    slope = np.exp(found * found / 2) * math.sqrt(2 * math.pi)
    return derived(p, found.astype(p.dtype), "quantile", lambda g: (g * slope).astype(g.dtype), False)


class Normal(Distribution):
    """Normal with mean `loc` and standard deviation `scale`, numbers or Tensors that broadcast."""

    has_rsample = True
    arg_constraints: ClassVar = {"loc": constraints.real, "scale": constraints.positive}

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        (self.loc, self.scale), _ = parameters("Normal", loc=loc, scale=scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """All numbers."""
        return constraints.real

    @property
    def mean(self) -> Tensor:
        """`loc`."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """`loc`."""
        return self.loc

    @property
    def stddev(self) -> Tensor:
        """`scale`."""
        return self.scale

    @property
    def variance(self) -> Tensor:
        """``scale ** 2``."""
        return self.scale * self.scale

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The same with another batch shape."""
        made: Self = self._expanded(
            _instance, batch_shape, loc=self.loc.expand(batch_shape), scale=self.scale.expand(batch_shape)
        )
        return made

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """``loc + scale * z``, z standard normal."""
        z = randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + z * self.scale

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the density."""
        value = value_argument("Normal", self._checked(value), self.loc)
        z = (value - self.loc) / self.scale
        return z * z * -0.5 - ops.log(self.scale) - math.log(math.sqrt(2 * math.pi))

    def cdf(self, value: Any) -> Tensor:
        """The probability of values up to these."""
        value = value_argument("Normal", self._checked(value), self.loc)
        return (ops.erf((value - self.loc) / (self.scale * math.sqrt(2))) + 1.0) * 0.5

    def icdf(self, value: Any) -> Tensor:
        """The values up to which these probabilities lie."""
        return self.loc + self.scale * quantile(value_argument("Normal", value, self.loc))

    def entropy(self) -> Tensor:
        """``1/2 + log(2 pi)/2 + log(scale)``."""
        return ops.log(self.scale) + (0.5 + 0.5 * math.log(2 * math.pi))
