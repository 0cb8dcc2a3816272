"""What parameters and values of distributions may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.tensor import Tensor, as_tensor, from_numpy

Test = Callable[[np.ndarray], np.ndarray]


class Constraint:
    """A set of values.

    Parameters
    ----------
    words : as errors call it: "above 0".
    test : function of an array that says which elements (for `event_dim` 1: rows) lie in the set.
    is_discrete : whether the set is countable.
    event_dim : how many axes one value has.
    """

    def __init__(self, words: str, test: Test, *, is_discrete: bool = False, event_dim: int = 0) -> None:
        self.words, self.test, self.is_discrete, self.event_dim = words, test, is_discrete, event_dim

    def __repr__(self) -> str:
        return f"Constraint({self.words})"

    def holds(self, value: Any) -> np.ndarray:
        """Which elements (or rows) of an array or Tensor lie in the set."""
        array = np.asarray(as_tensor(value).detach().numpy())
        with np.errstate(invalid="ignore"):
            return np.asarray(self.test(array))

    def check(self, value: Any) -> Tensor:
        """Which elements (or rows) lie in the set, as a Tensor of bools."""
        return from_numpy(self.holds(value))


def _sums_to_one(x: np.ndarray) -> np.ndarray:
    tolerance = 1e-6 if x.dtype != np.float16 else 1e-3
    return np.asarray((x >= 0).all(-1) & (np.abs(x.sum(-1) - 1) < tolerance))


real = Constraint("a number", lambda x: x == x)
real_vector = Constraint("numbers", lambda x: (x == x).all(-1), event_dim=1)
positive = Constraint("above 0", lambda x: x > 0)
nonnegative = Constraint("at least 0", lambda x: x >= 0)
unit_interval = Constraint("from 0 to 1", lambda x: (x >= 0) & (x <= 1))
boolean = Constraint("0 or 1", lambda x: (x == 0) | (x == 1), is_discrete=True)
simplex = Constraint("probabilities that sum to 1", _sums_to_one, event_dim=1)


def _plain(bound: Any) -> Any:
    return bound.detach().numpy() if isinstance(bound, Tensor) else bound


def _words(bound: Any) -> Any:
    return bound.item() if isinstance(bound, Tensor) and bound.numel() == 1 else bound


def interval(low: Any, high: Any) -> Constraint:
    """Numbers from `low` to `high`, both included."""
    words = f"from {_words(low)} to {_words(high)}"
    return Constraint(words, lambda x: (x >= _plain(low)) & (x <= _plain(high)))


def integer_interval(low: Any, high: Any) -> Constraint:
    """Integers from `low` to `high`, both included."""
    words = f"a whole number from {_words(low)} to {_words(high)}"
    return Constraint(
        words, lambda x: (x % 1 == 0) & (x >= _plain(low)) & (x <= _plain(high)), is_discrete=True
    )  # fmt: skip


def greater_than(low: Any) -> Constraint:
    """Numbers above `low`."""
    return Constraint(f"above {_words(low)}", lambda x: x > _plain(low))


def less_than(high: Any) -> Constraint:
    """Numbers below `high`."""
    return Constraint(f"below {_words(high)}", lambda x: x < _plain(high))


def independent(base: Constraint, axes: int) -> Constraint:
    """Values whose last `axes` further axes all lie in the base's set."""

    def test(x: np.ndarray) -> np.ndarray:
        held = np.asarray(base.test(x))
        return np.asarray(held.all(tuple(range(held.ndim - axes, held.ndim)))) if axes else held

    return Constraint(base.words, test, is_discrete=base.is_discrete, event_dim=base.event_dim + axes)
