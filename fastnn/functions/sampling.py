"""Random Tensors under torch's names and arguments, drawn from the default generator or the one that is given.

The i-th number of a call depends on the generator's state and on i alone: not on threads, nor on the order in which
elements lie in memory. The same seed gives other numbers than torch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _default_dtype, ops
from fastnn._numpy_views import integer
from fastnn._runtime.memory import empty as empty_array
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import ArgumentError, ShapeError
from fastnn.functions._draws import (
    check_probability,
    check_range,
    check_std,
    coins,
    draw,
    draw_integers,
    floating,
    limits,
    model_of,
)
from fastnn.functions._options import (
    check_place,
    dtype_argument,
    finished,
    input_argument,
    like,
    size_argument,
    target,
)
from fastnn.random import (
    Generator,
    default_generator,
    generator_argument,
    get_rng_state,
    initial_seed,
    seed,
    set_rng_state,
)
from fastnn.tensor import Tensor


def _created(
    name: str, op: str, shape: tuple[int, ...], *, generator: Any = None, names: Any = None, out: Any = None,
    dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    check_place(name, device, layout)
    array = target(name, shape, dtype, _default_dtype.floating, out)
    floating(name, array.dtype)
    draw(op, array, generator, *_STANDARD[op])
    return finished(name, array, out, requires_grad)


_STANDARD = {"uniform": (0.0, 1.0), "normal": (0.0, 1.0)}


def rand(*size: Any, **options: Any) -> Tensor:
    """Numbers from [0, 1), all as likely: multiples of 2**-24 (float64: of 2**-53)."""
    if not options and _default_dtype.floating == np.float32:
        model = model_of(size)
        if model is not None:
            drawn: Tensor = ops.uniform(model, 0.0, 1.0, *default_generator.cells())
            return drawn
    return _created("rand", "uniform", size_argument("rand", size, options.pop("size", None)), **options)


def randn(*size: Any, **options: Any) -> Tensor:
    """Numbers from the normal distribution with mean 0 and variance 1."""
    if not options and _default_dtype.floating == np.float32:
        model = model_of(size)
        if model is not None:
            drawn: Tensor = ops.normal(model, 0.0, 1.0, *default_generator.cells())
            return drawn
    return _created("randn", "normal", size_argument("randn", size, options.pop("size", None)), **options)


def _drawn_like(
    name: str, op: str, input: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None, generator: Any = None,
) -> Tensor:  # fmt: skip
    check_place(name, device, layout)
    model = input_argument(name, input)
    array = like(model, dtype_argument(name, dtype, model.dtype))
    floating(name, array.dtype)
    return finished(name, draw(op, array, generator, *_STANDARD[op]), None, requires_grad)


def rand_like(input: Any, **options: Any) -> Tensor:
    """As `rand`, of the size and dtype of `input`."""
    return _drawn_like("rand_like", "uniform", input, **options)


def randn_like(input: Any, **options: Any) -> Tensor:
    """As `randn`, of the size and dtype of `input`."""
    return _drawn_like("randn_like", "normal", input, **options)


def randint(
    *args: Any, low: Any = None, high: Any = None, size: Any = None, generator: Any = None, out: Any = None,
    dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Integers from [low, high), all exactly as likely: ``randint(high, size)`` or ``randint(low, high, size)``."""
    check_place("randint", device, layout)
    given = list(args)
    if size is None and given:
        size = given.pop()
    if high is None and given:
        high = given.pop()
    if low is None and given:
        low = given.pop()
    if given or size is None or high is None:
        raise TypeError("randint: takes (high, size) or (low, high, size)")
    shape = size_argument("randint", (size,))
    wanted = dtype_argument("randint", dtype, out.dtype if isinstance(out, TensorBase) else np.int64)
    first, last = check_range("randint", 0 if low is None else low, high, wanted)
    array = target("randint", shape, dtype, wanted, out)
    return finished("randint", draw_integers(array, first, last, generator), out, requires_grad)


def randint_like(
    input: Any, *args: Any, low: Any = None, high: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None,
    generator: Any = None,
) -> Tensor:  # fmt: skip
    """As `randint`, of the size and dtype of `input`: ``(input, high)`` or ``(input, low, high)``."""
    check_place("randint_like", device, layout)
    given = [_plain(x) for x in args]
    if high is None and given:
        high = given.pop()
    if low is None and given:
        low = given.pop()
    if given or high is None:
        raise TypeError("randint_like: takes (input, high) or (input, low, high)")
    model = input_argument("randint_like", input)
    array = like(model, dtype_argument("randint_like", dtype, model.dtype))
    first, last = check_range("randint_like", 0 if low is None else _plain(low), _plain(high), array.dtype)
    return finished("randint_like", draw_integers(array, first, last, generator), None, requires_grad)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


def random_order(count: int, generator: Any = None) -> np.ndarray:
    """The numbers from 0 to `count` - 1 in a random order, int64.

    They are sorted by random keys. A key's low bits are its number, so keys differ, and sorting them alone will do.
    """
    number = np.uint64((1 << count.bit_length()) - 1)
    keys = draw_integers(empty_array((count,), np.int64), -(1 << 63), 1 << 63, generator).view(np.uint64)
    keys &= ~number
    keys |= np.arange(count, dtype=np.uint64)
    keys.sort()
    keys &= number
    return keys.view(np.int64)


def randperm(
    n: Any, *, generator: Any = None, out: Any = None, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """The integers from 0 to n - 1 in a random order."""
    check_place("randperm", device, layout)
    count = integer("randperm: n", n)
    if count < 0:
        raise ArgumentError(f"randperm: n must be at least 0, got {count}")
    array = target("randperm", (count,), dtype, np.int64, out)
    if count > 1 and count - 1 > limits(array.dtype)[1]:
        raise ArgumentError(f"randperm: n - 1 must fit dtype {array.dtype}, got n = {count}")
    array[...] = random_order(count, generator)
    return finished("randperm", array, out, requires_grad)


# -- distributions


def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Any = None, out: Any = None, dtype: Any = None,
    layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Normal numbers: `mean` and `std` are numbers, with a `size`, or Tensors that say mean and deviation of each."""
    check_place("normal", device, layout)
    if size is not None:
        check_std("normal", std)
        array = target("normal", size_argument("normal", (size,)), dtype, _default_dtype.floating, out)
        floating("normal", array.dtype)
        draw("normal", array, generator, float(mean), float(std))
        return finished("normal", array, out, requires_grad)
    given = [x.array for x in (mean, std) if isinstance(x, TensorBase)]
    if not given:
        raise TypeError("normal: without size, mean or std must be a Tensor")
    for x in given:
        floating("normal", x.dtype)
    means, stds = (x.array if isinstance(x, TensorBase) else x for x in (mean, std))
    check_std("normal", stds)
    try:
        shape = np.broadcast_shapes(*(x.shape for x in given))
    except ValueError:
        raise ShapeError(f"normal: shapes of mean and std must broadcast, got {means.shape}, {stds.shape}") from None
    array = target("normal", shape, None, given[0].dtype, out)
    draw("normal", array, generator, 0.0, 1.0)
    np.multiply(array, stds, out=array)
    np.add(array, means, out=array, casting="same_kind")
    return finished("normal", array, out, requires_grad)


def bernoulli(input: Any, p: Any = None, *, generator: Any = None, out: Any = None) -> Tensor:
    """1 with the probability that each element of `input` gives (with `p`: with probability p), else 0."""
    model = input_argument("bernoulli", input)
    if p is not None:
        array = like(model, model.dtype) if out is None else target("bernoulli", model.shape, None, model.dtype, out)
        check_probability("bernoulli", p)
        return finished("bernoulli", draw("bernoulli", array, generator, float(p)), out)
    floating("bernoulli", model.dtype)
    array = like(model, model.dtype) if out is None else target("bernoulli", model.shape, None, model.dtype, out)
    coins("bernoulli", array, model, generator)
    return finished("bernoulli", array, out)


def multinomial(
    input: Any, num_samples: int, replacement: bool = False, *, generator: Any = None, out: Any = None
) -> Tensor:
    """Indices (..., num_samples) into the rows of `input`, each as likely as its weight among those of its row.

    Without replacement, weights over exponential numbers are ranked (Efraimidis and Spirakis, 2006).
    """
    weights = input_argument("multinomial", input)
    count = integer("multinomial: num_samples", num_samples)
    floating("multinomial", weights.dtype)
    if weights.ndim not in (1, 2):
        raise ShapeError(f"multinomial: input must have 1 or 2 axes, got shape {weights.shape}")
    if count < 1:
        raise ArgumentError(f"multinomial: num_samples must be at least 1, got {count}")
    categories = weights.shape[-1]
    if not replacement and count > categories:
        raise ArgumentError(f"multinomial: num_samples must be at most {categories} without replacement, got {count}")
    rows = np.atleast_2d(weights).astype(np.float64)
    if not (np.isfinite(rows).all() and (rows >= 0).all()):
        raise ArgumentError("multinomial: weights must be finite and not negative")
    if rows.shape[0] and not (rows.sum(1) > 0).all():
        raise ArgumentError("multinomial: each row must have a weight above 0")
    chosen = pick(rows, count, generator) if replacement else _pick_apart(rows, count, generator)
    chosen = chosen.reshape(*weights.shape[:-1], count)
    array = target("multinomial", chosen.shape, np.int64, np.int64, out)
    array[...] = chosen
    return finished("multinomial", array, out)


def pick(rows: np.ndarray, count: int, generator: Any) -> np.ndarray:
    """Indices (rows, count) drawn with replacement by the weights (rows, categories), float64, of each row."""
    total = rows.shape[0]
    sums = np.cumsum(rows, axis=1)
    last = rows.shape[1] - 1 - np.argmax(rows[:, ::-1] > 0, axis=1) if total else np.zeros(0, np.int64)
    drawn = draw("uniform", empty_array((total, count), np.float64), generator, 0.0, 1.0)
    drawn *= sums[:, -1:]
    found = np.empty((total, count), np.int64)
    for row in range(total):
        # the first whose sum exceeds what was drawn: never one of weight 0
        found[row] = np.searchsorted(sums[row], drawn[row], side="right")
    return np.minimum(found, last[:, None])


def _pick_apart(rows: np.ndarray, count: int, generator: Any) -> np.ndarray:
    waits = draw("exponential", empty_array(rows.shape, np.float64), generator, 1.0)
    np.divide(rows, waits, out=waits)
    return np.argsort(-waits, axis=1, kind="stable")[:, :count]


def poisson(input: Any, generator: Any = None) -> Tensor:
    """Numbers from the Poisson distribution whose mean each element of `input` gives."""
    rates = input_argument("poisson", input)
    floating("poisson", rates.dtype)
    if rates.size and not rates.min() >= 0:
        raise ArgumentError(f"poisson: rates must be at least 0, got {rates.min()}")
    source = generator_argument("poisson", generator).numpy()
    array = like(rates, rates.dtype)
    array[...] = source.poisson(rates)
    return finished("poisson", array, None)


__all__ = [
    "Generator",
    "bernoulli",
    "default_generator",
    "get_rng_state",
    "initial_seed",
    "multinomial",
    "normal",
    "poisson",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
]
