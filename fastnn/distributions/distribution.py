"""What all distributions share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from fastnn import ops
from fastnn._numpy_views import shape_argument
from fastnn.autograd import no_grad
from fastnn.distributions.constraints import Constraint
from fastnn.errors import ArgumentError, ShapeError
from fastnn.tensor import Tensor, as_tensor

Shape = tuple[int, ...]


class Distribution:
    """Distributions of values of shape `event_shape`, independent ones for every place in `batch_shape`.

    Parameters
    ----------
    validate_args : whether parameters and values are checked (default: as `set_default_validate_args` says; true).

    Raises
    ------
    ArgumentError (a ValueError) : a parameter, or a value given to a method, that cannot be.
    NotImplementedError : a method that a distribution does not have.
    """

    has_rsample: ClassVar[bool] = False
    has_enumerate_support: ClassVar[bool] = False
    arg_constraints: ClassVar[Mapping[str, Constraint]] = {}
    _validate_args: bool = True

    def __init__(self, batch_shape: Shape = (), event_shape: Shape = (), validate_args: bool | None = None) -> None:
        self._batch_shape, self._event_shape = tuple(batch_shape), tuple(event_shape)
        if validate_args is not None:
            self._validate_args = bool(validate_args)
        if self._validate_args:
            for name, constraint in self.arg_constraints.items():
                if name in self.__dict__:
                    self._check(name, constraint, self.__dict__[name])

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Say whether distributions check what they get where their `validate_args` is None."""
        if not isinstance(value, bool):
            raise TypeError(f"set_default_validate_args: value must be a bool, got {value!r}")
        Distribution._validate_args = value

    def _check(self, what: str, constraint: Constraint, value: Any) -> None:
        held = constraint.holds(value)
        if not held.all():
            array = np.asarray(as_tensor(value).detach().numpy())
            wrong = array[~held] if held.shape == array.shape else array
            got = wrong.reshape(-1)[0].item() if held.shape == array.shape else array[~held][0].tolist()
            raise ArgumentError(f"{type(self).__name__}: {what} must be {constraint.words}, got {got}")

    def _checked(self, value: Any) -> Tensor:
        """A value as a Tensor; raises where it does not fit the shapes or the support."""
        given: Tensor = as_tensor(value)
        if not self._validate_args:
            return given
        ndim = len(self._event_shape)
        own = given.shape[len(given.shape) - ndim :] if ndim else ()
        if own != self._event_shape:
            raise ShapeError(f"{type(self).__name__}: value must end in {self._event_shape}, got shape {given.shape}")
        try:
            np.broadcast_shapes(given.shape, self._batch_shape + self._event_shape)
        except ValueError:
            raise ShapeError(
                f"{type(self).__name__}: value must broadcast with {self._batch_shape + self._event_shape}, "
                f"got shape {given.shape}"
            ) from None
        self._check("value", self.support, given)
        return given

    def _expanded(self, instance: Any, batch_shape: Any, **parameters: Tensor) -> Any:
        """An instance of the class (or the given one) with parameters expanded, without checking them again."""
        made = type(self).__new__(type(self)) if instance is None else instance
        made.__dict__.update(parameters)
        Distribution.__init__(made, tuple(batch_shape), self._event_shape, validate_args=False)
        made._validate_args = self._validate_args
        return made

    def _extended_shape(self, sample_shape: Any = ()) -> Shape:
        return (
            shape_argument(f"{type(self).__name__}: sample_shape", (tuple(sample_shape),), 0)
            + self._batch_shape
            + self._event_shape
        )

    def __repr__(self) -> str:
        words = []
        for name in self.arg_constraints:
            if name in self.__dict__:
                value = self.__dict__[name]
                words.append(f"{name}: {value.item() if value.numel() == 1 else value.shape}")
        return f"{type(self).__name__}({', '.join(words)})"

    def _lacks(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} has no {what}")

    @property
    def batch_shape(self) -> Shape:
        """The shape of the distributions' places."""
        return self._batch_shape

    @property
    def event_shape(self) -> Shape:
        """The shape of one value."""
        return self._event_shape

    @property
    def support(self) -> Constraint:
        """What values may be."""
        raise self._lacks("support")

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise self._lacks("mean")

    @property
    def mode(self) -> Tensor:
        """The most likely value."""
        raise self._lacks("mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise self._lacks("variance")

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return ops.sqrt(self.variance)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The distribution with its parameters expanded, without a copy, to another batch shape."""
        raise self._lacks("expand")

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Values (sample_shape, batch_shape, event_shape) through which gradients flow to the parameters."""
        raise self._lacks("rsample")

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Values (sample_shape, batch_shape, event_shape), outside the tape."""
        with no_grad():
            return self.rsample(sample_shape)

    def sample_n(self, n: int) -> Tensor:
        """As ``sample((n,))``."""
        return self.sample((n,))

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the density or probability of values."""
        raise self._lacks("log_prob")

    def cdf(self, value: Any) -> Tensor:
        """The probability of values up to these."""
        raise self._lacks("cdf")

    def icdf(self, value: Any) -> Tensor:
        """The values up to which these probabilities lie."""
        raise self._lacks("icdf")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values, along a new first axis; `expand` repeats them over the batch shape."""
        raise self._lacks("enumerate_support")

    def entropy(self) -> Tensor:
        """The entropy in nats."""
        raise self._lacks("entropy")

    def perplexity(self) -> Tensor:
        """The exponential of the entropy."""
        return ops.exp(self.entropy())
