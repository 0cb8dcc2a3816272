"""Random Tensors under torch's names and arguments, drawn from the default generator or the one that is given.

The i-th number of a call depends on the generator's state and on i alone: not on threads, nor on the order in which
elements lie in memory. The same seed gives other numbers than torch's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn import _default_dtype, ops
from fastnn._numpy_views import integer
from fastnn._runtime.memory import empty as empty_array
from fastnn._runtime.tensor import TensorBase, is_grad_enabled
from fastnn.errors import ArgumentError, DTypeError, GraphError, ShapeError
from fastnn.functions._options import (
    check_place,
    dtype_argument,
    finished,
    input_argument,
    like,
    size_argument,
    target,
)
from fastnn.ops.op import KERNEL_DTYPES
from fastnn.ops.sampling import range_cells
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

# One element for all: what an op that only asks for a shape is shown.
_ZEROS = {name: np.zeros((), name) for name in KERNEL_DTYPES}


def _shown(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An array of a shape that takes no memory."""
    return np.ndarray(shape, dtype, _ZEROS[dtype], 0, (0,) * len(shape))


def _draw(name: str, array: np.ndarray, generator: Any, *own: float) -> np.ndarray:
    """Fill an array with what an op draws; dtypes without kernels get float32's numbers."""
    op = getattr(ops, name)
    cells = generator_argument(name, generator).cells()
    if array.dtype.name in KERNEL_DTYPES:
        op(array, *own, *cells, out=array)
    else:
        with np.errstate(all="ignore"):
            array[...] = op(_shown(array.shape, "float32"), *own, *cells)
    return array


def _draw_integers(array: np.ndarray, low: int, high: int, generator: Any) -> np.ndarray:
    """Fill an array with integers from [low, high)."""
    cells = range_cells(low, high)
    draw = dict(zip(("seed_low", "seed_high", "draw"), generator_argument("randint", generator).cells(), strict=True))
    kind = "int32" if array.dtype == np.int32 else "int64"
    shown = _shown(array.shape, "float32")
    if array.dtype.name == kind:
        ops.integers(shown, dtype=kind, **cells, **draw, out=array)
    else:
        array[...] = ops.integers(shown, dtype=kind, **cells, **draw)
    return array


def _floating(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind != "f":
        raise DTypeError(f"{name}: dtype must be a floating one, got {dtype}")


def _created(
    name: str, op: str, shape: tuple[int, ...], *, generator: Any = None, names: Any = None, out: Any = None,
    dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    check_place(name, device, layout)
    array = target(name, shape, dtype, _default_dtype.floating, out)
    _floating(name, array.dtype)
    _draw(op, array, generator, *_STANDARD[op])
    return finished(name, array, out, requires_grad)


_STANDARD = {"uniform": (0.0, 1.0), "normal": (0.0, 1.0)}


def rand(*size: Any, **options: Any) -> Tensor:
    """Numbers from [0, 1), all as likely: multiples of 2**-24 (float64: of 2**-53)."""
    return _created("rand", "uniform", size_argument("rand", size, options.pop("size", None)), **options)


def randn(*size: Any, **options: Any) -> Tensor:
    """Numbers from the normal distribution with mean 0 and variance 1."""
    return _created("randn", "normal", size_argument("randn", size, options.pop("size", None)), **options)


def _drawn_like(
    name: str, op: str, input: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None, generator: Any = None,
) -> Tensor:  # fmt: skip
    check_place(name, device, layout)
    model = input_argument(name, input)
    array = like(model, dtype_argument(name, dtype, model.dtype))
    _floating(name, array.dtype)
    return finished(name, _draw(op, array, generator, *_STANDARD[op]), None, requires_grad)


def rand_like(input: Any, **options: Any) -> Tensor:
    """As `rand`, of the size and dtype of `input`."""
    return _drawn_like("rand_like", "uniform", input, **options)


def randn_like(input: Any, **options: Any) -> Tensor:
    """As `randn`, of the size and dtype of `input`."""
    return _drawn_like("randn_like", "normal", input, **options)


def _check_range(name: str, low: Any, high: Any, dtype: np.dtype[Any]) -> tuple[int, int]:
    low, high = (integer(f"{name}: {w}", int(x) if isinstance(x, float) and x.is_integer() else x)
                 for w, x in (("low", low), ("high", high)))  # fmt: skip
    if low >= high:
        raise ArgumentError(f"{name}: low must be less than high, got {low} and {high}")
    least, most = _limits(dtype)
    if low < least or high - 1 > most:
        raise ArgumentError(f"{name}: low and high - 1 must lie from {least} to {most} for {dtype}, got {low}, {high}")
    return low, high


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The least and the largest of the integers that random ones of a dtype are drawn from."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind in "iu":
        own = np.iinfo(dtype)
        return int(own.min), int(min(own.max, (1 << 63) - 1))
    if dtype.kind == "f":
        whole = 1 << (np.finfo(dtype).nmant + 1)
        return -whole, whole
    raise DTypeError(f"random integers: dtype must not be complex, got {dtype}")


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
    first, last = _check_range("randint", 0 if low is None else low, high, wanted)
    array = target("randint", shape, dtype, wanted, out)
    return finished("randint", _draw_integers(array, first, last, generator), out, requires_grad)


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
    first, last = _check_range("randint_like", 0 if low is None else _plain(low), _plain(high), array.dtype)
    return finished("randint_like", _draw_integers(array, first, last, generator), None, requires_grad)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


def random_order(count: int, generator: Any = None) -> np.ndarray:
    """The numbers from 0 to `count` - 1 in a random order, int64.

    They are sorted by random keys. A key's low bits are its number, so keys differ, and sorting them alone will do.
    """
    number = np.uint64((1 << count.bit_length()) - 1)
    keys = _draw_integers(empty_array((count,), np.int64), -(1 << 63), 1 << 63, generator).view(np.uint64)
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
    if count > 1 and count - 1 > _limits(array.dtype)[1]:
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
        _check_std("normal", std)
        array = target("normal", size_argument("normal", (size,)), dtype, _default_dtype.floating, out)
        _floating("normal", array.dtype)
        _draw("normal", array, generator, float(mean), float(std))
        return finished("normal", array, out, requires_grad)
    given = [x.array for x in (mean, std) if isinstance(x, TensorBase)]
    if not given:
        raise TypeError("normal: without size, mean or std must be a Tensor")
    for x in given:
        _floating("normal", x.dtype)
    means, stds = (x.array if isinstance(x, TensorBase) else x for x in (mean, std))
    _check_std("normal", stds)
    try:
        shape = np.broadcast_shapes(*(x.shape for x in given))
    except ValueError:
        raise ShapeError(f"normal: shapes of mean and std must broadcast, got {means.shape}, {stds.shape}") from None
    array = target("normal", shape, None, given[0].dtype, out)
    _draw("normal", array, generator, 0.0, 1.0)
    np.multiply(array, stds, out=array)
    np.add(array, means, out=array, casting="same_kind")
    return finished("normal", array, out, requires_grad)


def _check_std(name: str, std: Any) -> None:
    if not isinstance(std, np.ndarray):
        if not std >= 0:
            raise ArgumentError(f"{name}: std must be at least 0, got {std}")
    elif std.size and not std.min() >= 0:
        raise ArgumentError(f"{name}: all elements of std must be at least 0, got {std.min()}")


def _check_probability(name: str, p: Any) -> None:
    least, most = (p.min(initial=0), p.max(initial=0)) if isinstance(p, np.ndarray) else (p, p)
    if not (least >= 0 and most <= 1):
        raise ArgumentError(f"{name}: p must lie from 0 to 1, got {most if least >= 0 else least}")


def _coins(name: str, array: np.ndarray, p: np.ndarray, generator: Any) -> None:
    """Write 1 with the probability that `p` gives, broadcast, else 0."""
    _check_probability(name, p)
    kind = p.dtype if p.dtype.name in KERNEL_DTYPES else np.dtype(np.float32)
    given = np.broadcast_to(p.astype(kind, copy=False), array.shape)
    cells = generator_argument(name, generator).cells()
    if array.dtype == kind:
        ops.bernoulli_each(given, *cells, out=array)
    else:
        array[...] = ops.bernoulli_each(given, *cells)


def bernoulli(input: Any, p: Any = None, *, generator: Any = None, out: Any = None) -> Tensor:
    """1 with the probability that each element of `input` gives (with `p`: with probability p), else 0."""
    model = input_argument("bernoulli", input)
    if p is not None:
        array = like(model, model.dtype) if out is None else target("bernoulli", model.shape, None, model.dtype, out)
        made = finished("bernoulli", array, out)
        return bernoulli_(made, p, generator=generator)
    _floating("bernoulli", model.dtype)
    array = like(model, model.dtype) if out is None else target("bernoulli", model.shape, None, model.dtype, out)
    _coins("bernoulli", array, model, generator)
    return finished("bernoulli", array, out)


def multinomial(
    input: Any, num_samples: int, replacement: bool = False, *, generator: Any = None, out: Any = None
) -> Tensor:
    """Indices (..., num_samples) into the rows of `input`, each as likely as its weight among those of its row.

    Without replacement, weights over exponential numbers are ranked (Efraimidis and Spirakis, 2006).
    """
    weights = input_argument("multinomial", input)
    count = integer("multinomial: num_samples", num_samples)
    _floating("multinomial", weights.dtype)
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
    array = target("multinomial", chosen.shape, None, np.int64, out)
    array[...] = chosen
    return finished("multinomial", array, out)


def pick(rows: np.ndarray, count: int, generator: Any) -> np.ndarray:
    """Indices (rows, count) drawn with replacement by the weights (rows, categories), float64, of each row."""
    total = rows.shape[0]
    sums = np.cumsum(rows, axis=1)
    last = rows.shape[1] - 1 - np.argmax(rows[:, ::-1] > 0, axis=1) if total else np.zeros(0, np.int64)
    drawn = _draw("uniform", empty_array((total, count), np.float64), generator, 0.0, 1.0)
    drawn *= sums[:, -1:]
    found = np.empty((total, count), np.int64)
    for row in range(total):
        # the first whose sum exceeds what was drawn: never one of weight 0
        found[row] = np.searchsorted(sums[row], drawn[row], side="right")
    return np.minimum(found, last[:, None])


def _pick_apart(rows: np.ndarray, count: int, generator: Any) -> np.ndarray:
    waits = _draw("exponential", empty_array(rows.shape, np.float64), generator, 1.0)
    np.divide(rows, waits, out=waits)
    return np.argsort(-waits, axis=1, kind="stable")[:, :count]


def poisson(input: Any, generator: Any = None) -> Tensor:
    """Numbers from the Poisson distribution whose mean each element of `input` gives."""
    rates = input_argument("poisson", input)
    _floating("poisson", rates.dtype)
    if rates.size and not rates.min() >= 0:
        raise ArgumentError(f"poisson: rates must be at least 0, got {rates.min()}")
    source = generator_argument("poisson", generator).numpy()
    array = like(rates, rates.dtype)
    array[...] = source.poisson(rates)
    return finished("poisson", array, None)


# -- methods that overwrite


def _overwritten(name: str, self: Any) -> np.ndarray:
    if is_grad_enabled() and self.requires_grad:
        raise GraphError(f"{name}: a Tensor that requires grad cannot be overwritten; do it under no_grad()")
    array: np.ndarray = self.array
    if not array.flags.writeable:
        raise ValueError(f"{name}: the Tensor is read-only")
    return array


def uniform_(self: Any, *args: float, generator: Any = None, to: float | None = None, **named: float) -> Any:
    """Overwrite with numbers from [from, to), all as likely; ``from=0, to=1``."""
    low = args[0] if args else named.pop("from", 0.0)
    high = args[1] if len(args) > 1 else (1.0 if to is None else to)
    if named or len(args) > 2:
        raise TypeError(f"uniform_: takes from and to, got {sorted(named)}")
    array = _overwritten("uniform_", self)
    _floating("uniform_", array.dtype)
    if not low <= high:
        raise ArgumentError(f"uniform_: from must not exceed to, got {low} and {high}")
    if not math.isfinite(high - low) or high - low > float(np.finfo(array.dtype).max):
        raise ArgumentError(f"uniform_: to - from must be a finite {array.dtype}, got {low} and {high}")
    _draw("uniform", array, generator, float(low), float(high))
    self._touch()
    return self


def normal_(self: Any, mean: float = 0, std: float = 1, *, generator: Any = None) -> Any:
    """Overwrite with numbers from the normal distribution with a mean and a standard deviation."""
    array = _overwritten("normal_", self)
    _floating("normal_", array.dtype)
    _check_std("normal_", std)
    _draw("normal", array, generator, float(mean), float(std))
    self._touch()
    return self


def exponential_(self: Any, lambd: float = 1, *, generator: Any = None) -> Any:
    """Overwrite with positive numbers whose density falls as ``exp(-lambd * number)``."""
    array = _overwritten("exponential_", self)
    _floating("exponential_", array.dtype)
    if not lambd > 0:
        raise ArgumentError(f"exponential_: lambd must be above 0, got {lambd}")
    _draw("exponential", array, generator, float(lambd))
    self._touch()
    return self


def bernoulli_(self: Any, p: Any = 0.5, *, generator: Any = None) -> Any:
    """Overwrite with 1 with probability `p`, a number or a Tensor that broadcasts, else 0."""
    array = _overwritten("bernoulli_", self)
    if isinstance(p, (TensorBase, np.ndarray)):
        probabilities = p.array if isinstance(p, TensorBase) else p
        _floating("bernoulli_", probabilities.dtype)
        try:
            np.broadcast_to(probabilities, array.shape)
        except ValueError:
            raise ShapeError(
                f"bernoulli_: p must broadcast to {array.shape}, got shape {probabilities.shape}"
            ) from None
        _coins("bernoulli_", array, probabilities, generator)
    else:
        _check_probability("bernoulli_", p)
        _draw("bernoulli", array, generator, float(p))
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
    beyond = _limits(array.dtype)[1] + 1
    first, last = 0 if first is None else first, beyond if last is None else last
    low, high = _check_range("random_", first, last, array.dtype)
    _draw_integers(array, low, high, generator)
    self._touch()
    return self


def _uniform64(array: np.ndarray, generator: Any) -> np.ndarray:
    """Numbers from (0, 1) in float64."""
    drawn = _draw("uniform", empty_array(array.shape, np.float64), generator, 0.0, 1.0)
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
    _floating("log_normal_", array.dtype)
    if not std > 0:
        raise ArgumentError(f"log_normal_: std must be above 0, got {std}")
    _draw("normal", array, generator, float(mean), float(std))
    with np.errstate(over="ignore"):
        np.exp(array, out=array)
    self._touch()
    return self


def cauchy_(self: Any, median: float = 0, sigma: float = 1, *, generator: Any = None) -> Any:
    """Overwrite with numbers from the Cauchy distribution around `median`, half of them within `sigma` of it."""
    array = _overwritten("cauchy_", self)
    _floating("cauchy_", array.dtype)
    if not sigma > 0:
        raise ArgumentError(f"cauchy_: sigma must be above 0, got {sigma}")
    with np.errstate(over="ignore"):
        array[...] = median + sigma * np.tan(math.pi * (_uniform64(array, generator) - 0.5))
    self._touch()
    return self


__all__ = [
    "Generator",
    "bernoulli",
    "bernoulli_",
    "cauchy_",
    "default_generator",
    "exponential_",
    "geometric_",
    "get_rng_state",
    "initial_seed",
    "log_normal_",
    "multinomial",
    "normal",
    "normal_",
    "poisson",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "random_",
    "randperm",
    "seed",
    "set_rng_state",
    "uniform_",
]
