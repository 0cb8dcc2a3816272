"""Batch axes taken as part of one value."""

from __future__ import annotations

from typing import Any, Self

from fastnn._numpy_views import integer
from fastnn.distributions import constraints
from fastnn.distributions.distribution import Distribution
from fastnn.errors import ArgumentError
from fastnn.tensor import Tensor


def summed(x: Tensor, axes: int) -> Tensor:
    """The sum over the last so many axes."""
    return x.sum(tuple(range(x.ndim - axes, x.ndim))) if axes else x


class Independent(Distribution):
    """A distribution whose last `reinterpreted_batch_ndims` batch axes belong to its values.

    Its log-probability and entropy are sums over these axes.
    """

    def __init__(
        self, base_distribution: Distribution, reinterpreted_batch_ndims: int, validate_args: bool | None = None
    ) -> None:
        axes = integer("Independent: reinterpreted_batch_ndims", reinterpreted_batch_ndims)
        shape = base_distribution.batch_shape
        if not 0 <= axes <= len(shape):
            raise ArgumentError(f"Independent: reinterpreted_batch_ndims must be 0 to {len(shape)}, got {axes}")
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, axes
        cut = len(shape) - axes
        super().__init__(shape[:cut], shape[cut:] + base_distribution.event_shape, validate_args)

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """As the base."""
        return self.base_dist.has_rsample

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]
        """As the base, if no axis was taken."""
        return not self.reinterpreted_batch_ndims and self.base_dist.has_enumerate_support

    @property
    def support(self) -> constraints.Constraint:
        """The base's, for whole values."""
        return constraints.independent(self.base_dist.support, self.reinterpreted_batch_ndims)

    @property
    def mean(self) -> Tensor:
        """The base's."""
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        """The base's."""
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        """The base's."""
        return self.base_dist.variance

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The same with another batch shape."""
        taken = self._event_shape[: self.reinterpreted_batch_ndims]
        base = self.base_dist.expand((*batch_shape, *taken))
        made: Self = self._expanded(_instance, batch_shape)
        made.base_dist, made.reinterpreted_batch_ndims = base, self.reinterpreted_batch_ndims
        return made

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Values outside the tape."""
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Values through which gradients flow."""
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Any) -> Tensor:
        """The sum of the base's."""
        return summed(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self) -> Tensor:
        """The sum of the base's."""
        return summed(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """The base's, if no axis was taken."""
        if self.reinterpreted_batch_ndims:
            raise self._lacks("enumerate_support where axes were taken")
        return self.base_dist.enumerate_support(expand)
