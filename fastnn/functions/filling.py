"""Tensor's methods that overwrite it with random numbers, under torch's names and arguments.

Numbers come from the default generator or the one that is given; see `fastnn.functions.sampling`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn._runtime.memory import empty as empty_array
from fastnn._runtime.tensor import TensorBase, is_grad_enabled
from fastnn.errors import ArgumentError, GraphError, ShapeError
from fastnn.functions._draws import (
    check_probability,
    check_range,
    check_std,
    coins,
    draw,
    draw_integers,
    floating,
    limits,
)
from fastnn.functions._options import check_writable

_LARGEST = {np.dtype(name).char: float(np.finfo(name).max) for name in ("float16", "float32", "float64")}


def _overwritten(name: str, self: Any) -> np.ndarray:
    if is_grad_enabled() and self.requires_grad:
        raise GraphError(f"{name}: a Tensor that requires grad cannot be overwritten; do it under no_grad()")
    array: np.ndarray = self.array
    check_writable(name, "the Tensor", array)
    return array


def uniform_(self: Any, *args: float, generator: Any = None, to: float | None = None, **named: float) -> Any:
    """Overwrite with numbers from [from, to), all as likely; ``from=0, to=1``."""
    low = args[0] if args else named.pop("from", 0.0)
    high = args[1] if len(args) > 1 else (1.0 if to is None else to)
    if named or len(args) > 2:
        raise TypeError(f"uniform_: takes from and to, got {sorted(named)}")
    array = _overwritten("uniform_", self)
    floating("uniform_", array.dtype)
    if not low <= high:
        raise ArgumentError(f"uniform_: from must not exceed to, got {low} and {high}")
    if not high - low <= _LARGEST[array.dtype.char]:
        raise ArgumentError(f"uniform_: to - from must be a finite {array.dtype}, got {low} and {high}")
    draw("uniform", array, generator, float(low), float(high))
    self._touch()
    return self


def normal_(self: Any, mean: float = 0, std: float = 1, *, generator: Any = None) -> Any:
    """Overwrite with numbers from the normal distribution with a mean and a standard deviation."""
    array = _overwritten("normal_", self)
    floating("normal_", array.dtype)
    check_std("normal_", std)
    draw("normal", array, generator, float(mean), float(std))
    self._touch()
    return self


def exponential_(self: Any, lambd: float = 1, *, generator: Any = None) -> Any:
    """Overwrite with positive numbers whose density falls as ``exp(-lambd * number)``."""
    array = _overwritten("exponential_", self)
    floating("exponential_", array.dtype)
    if not lambd > 0:
        raise ArgumentError(f"exponential_: lambd must be above 0, got {lambd}")
    draw("exponential", array, generator, float(lambd))
    self._touch()
    return self


def bernoulli_(self: Any, p: Any = 0.5, *, generator: Any = None) -> Any:
    """Overwrite with 1 with probability `p`, a number or a Tensor that broadcasts, else 0."""
    array = _overwritten("bernoulli_", self)
    if isinstance(p, (TensorBase, np.ndarray)):
        probabilities = p.array if isinstance(p, TensorBase) else p
        floating("bernoulli_", probabilities.dtype)
        try:
            np.broadcast_to(probabilities, array.shape)
        except ValueError:
            raise ShapeError(
                f"bernoulli_: p must broadcast to {array.shape}, got shape {probabilities.shape}"
            ) from None
        coins("bernoulli_", array, probabilities, generator)
    else:
        check_probability("bernoulli_", p)
        draw("bernoulli", array, generator, float(p))
    self._touch()
    return self


def random_(self: Any, *args: int, generator: Any = None, to: int | None = None, **named: int) -> Any:
    """Overwrite with integers from [from, to), or [0, to), all exactly as likely.

    Without `to` they reach the largest of the dtype (of a floating one: up to which all integers are numbers).
    """
    array = _overwritten("random_", self)
    given = list(args)
    first = named.pop("from", None)
    if first is None and (len(given) == 2 or (given and to is not None)):
        first = given.pop(0)
    last = given.pop(0) if given else to
    if given or named:
        raise TypeError("random_: takes (), (to) or (from, to)")
    beyond = limits(array.dtype)[1] + 1
    first, last = 0 if first is None else first, beyond if last is None else last
    low, high = check_range("random_", first, last, array.dtype)
    draw_integers(array, low, high, generator)
    self._touch()
    return self


def _uniform64(array: np.ndarray, generator: Any) -> np.ndarray:
    """Numbers from (0, 1) in float64."""
    drawn = draw("uniform", empty_array(array.shape, np.float64), generator, 0.0, 1.0)
    np.maximum(drawn, 2.0**-54, out=drawn)
    return drawn


def geometric_(self: Any, p: float, *, generator: Any = None) -> Any:
    """Overwrite with the number of trials up to the first success, each with probability `p` in (0, 1)."""
    array = _overwritten("geometric_", self)
    if not 0 < p < 1:
        raise ArgumentError(f"geometric_: p must lie between 0 and 1, got {p}")
    array[...] = np.maximum(np.ceil(np.log(_uniform64(array, generator)) / math.log1p(-p)), 1)
    self._touch()
    return self


def log_normal_(self: Any, mean: float = 1, std: float = 2, *, generator: Any = None) -> Any:
    """Overwrite with numbers whose logarithm is normal with a mean and a standard deviation."""
    array = _overwritten("log_normal_", self)
    floating("log_normal_", array.dtype)
    if not std > 0:
        raise ArgumentError(f"log_normal_: std must be above 0, got {std}")
    draw("normal", array, generator, float(mean), float(std))
    with np.errstate(over="ignore"):
        np.exp(array, out=array)
    self._touch()
    return self


def cauchy_(self: Any, median: float = 0, sigma: float = 1, *, generator: Any = None) -> Any:
    """Overwrite with numbers from the Cauchy distribution around `median`, half of them within `sigma` of it."""
    array = _overwritten("cauchy_", self)
    floating("cauchy_", array.dtype)
    if not sigma > 0:
        raise ArgumentError(f"cauchy_: sigma must be above 0, got {sigma}")
    with np.errstate(over="ignore"):
        array[...] = median + sigma * np.tan(math.pi * (_uniform64(array, generator) - 0.5))
    self._touch()
    return self


__all__ = [
    "bernoulli_",
    "cauchy_",
    "exponential_",
    "geometric_",
    "log_normal_",
    "normal_",
    "random_",
    "uniform_",
]
