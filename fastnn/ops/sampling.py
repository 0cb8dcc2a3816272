"""Random numbers as ops: each draws into the shape of its first input.

A draw is named by cells, the two halves of a seed and a number (`fastnn.random` hands them out), and the same cells
give the same numbers: for any number of threads, on any CPU to the last bits of a logarithm, and with another number
when a recorded call is repeated.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.ops.elementwise import contiguous
from fastnn.ops.lowering import Array, Lowering, reads
from fastnn.ops.op import Op
from fastnn.ops.philox import CELLS, draws, lies_in_order, words32, words64

CASES = [{"*": s} for s in [(), (1,), (7,), (31,), (33,), (3, 41), (0, 3), (2, 0), (2, 3, 1000)]]
BENCH = [{"*": (10,)}, {"*": (1 << 20,)}]
SEEDED: dict[str, Any] = {"seed_low": 1234.0, "seed_high": 5.0, "draw": 77.0}
DOC = """

    Only the shape and dtype of x count. seed_low and seed_high are the halves of a 64-bit seed; draw, a whole number
    below 2**53, tells draws from the same seed apart."""

# Nanoseconds an element.
COST = {"uniform": 0.4, "normal": 1.2, "exponential": 0.8, "bernoulli": 0.4, "integers": 1.5}


def _seeded(cases: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    return [{**case, **SEEDED, **more} for case in cases]


def _size(x: np.ndarray) -> int:
    return math.prod(x.shape)


def unit(x: np.ndarray, seed: dict[str, float]) -> np.ndarray:
    """Numbers in [0, 1), as many as x has, in its dtype's resolution."""
    if x.dtype == np.float64:
        return (words64(_size(x), **seed) >> np.uint64(11)) * 2.0**-53
    return (words32(_size(x), **seed) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _positive_unit(x: np.ndarray, seed: dict[str, float], count: int) -> np.ndarray:
    if x.dtype == np.float64:
        return (words64(count, **seed) >> np.uint64(11)) * 2.0**-53 + 2.0**-53
    return ((words32(count, **seed) >> np.uint32(1)) * 2.0**-31 + 2.0**-32).astype(np.float32)


def _uniform(x: np.ndarray, *, low: float, high: float, **seed: float) -> np.ndarray:
    """Numbers from [low, high), all as likely."""
    kind = np.float64 if x.dtype == np.float64 else np.float32
    u = unit(x, seed)
    least, most = kind(low), kind(high)
    made = (u.astype(np.float64) * (most - least) + least).astype(kind)
    return np.where(made < most, made, least).reshape(x.shape)


def _normal(x: np.ndarray, *, mean: float, std: float, **seed: float) -> np.ndarray:
    """Numbers from the normal distribution with a mean and a standard deviation.

    Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958.
    """
    wide = x.dtype == np.float64
    half = 8 if wide else 16
    tiles = -(-_size(x) // (2 * half))
    count = tiles * 2 * half
    one = _positive_unit(x, seed, count).reshape(tiles, 2, half)[:, 0].astype(np.float64)
    words = (words64 if wide else words32)(count, **seed).reshape(tiles, 2, half)[:, 1]
    turn = (words >> np.uint64(12)) * 2.0**-52 if wide else words * 2.0**-32
    radius, angle = np.sqrt(-2 * np.log(one)), 2 * np.pi * turn
    made = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[: _size(x)]
    return np.asarray(made * std + mean, x.dtype if x.dtype.kind == "f" else None).reshape(x.shape)


def _exponential(x: np.ndarray, *, rate: float, **seed: float) -> np.ndarray:
    """Positive numbers whose density falls as ``exp(-rate * number)``."""
    least = 2.0**-54 if x.dtype == np.float64 else 2.0**-25
    u = _positive_unit(x, seed, _size(x)).astype(np.float64)
    return (np.maximum(-np.log(u), least) / rate).astype(x.dtype).reshape(x.shape)


def fallen(count: int, p: float, seed: dict[str, float]) -> np.ndarray:
    """Where coins fall with probability p: the kernels' places."""
    return words32(count, **seed) < np.ceil(p * 2.0**32)


def _bernoulli(x: np.ndarray, *, p: float, **seed: float) -> np.ndarray:
    """1 with probability p, else 0."""
    return fallen(_size(x), p, seed).astype(x.dtype).reshape(x.shape)


def _bernoulli_each(x: np.ndarray, **seed: float) -> np.ndarray:
    """1 with the probability that x gives for each element, else 0."""
    return (unit(x, seed).reshape(x.shape) < x).astype(x.dtype)


def _split(number: int) -> tuple[float, float]:
    """The 32-bit halves of an integer, modulo 2**64."""
    return float(number & 0xFFFFFFFF), float(number >> 32 & 0xFFFFFFFF)


def range_cells(low: int, high: int) -> dict[str, float]:
    """The cells of `integers` for the range [low, high)."""
    low_low, low_high = _split(low)
    n_low, n_high = _split(high - low)
    return {"low_low": low_low, "low_high": low_high, "n_low": n_low, "n_high": n_high}


def _integers(
    x: np.ndarray, *, dtype: str, low_low: float, low_high: float, n_low: float, n_high: float, **seed: float
) -> np.ndarray:
    """Integers from a range, all as likely; the cells are the 32-bit halves of its first number and of its length.

    A length of 0 stands for 2**64. Lemire, "Fast Random Integer Generation in an Interval", 2019.
    """
    count = _size(x)
    n = int(n_low) | int(n_high) << 32
    made = words64(count, **seed)
    if n:
        surplus = (-n % (1 << 64)) % n
        product = [int(w) * n for w in made]
        attempt = 0
        while bad := [i for i, value in enumerate(product) if value & ((1 << 64) - 1) < surplus]:
            attempt += 1
            again = words64(count, attempt=attempt, **seed)
            for i in bad:
                product[i] = int(again[i]) * n
        made = np.array([value >> 64 for value in product], np.uint64)
    made = made + np.uint64(int(low_low) | int(low_high) << 32)
    return made.astype(np.int64).astype(dtype).reshape(x.shape)


def _op(name: str, reference: Any, cells: dict[str, float], case: dict[str, Any], doc: str = "", **declared: Any) -> Op:
    """An op whose kernel, ``sampling.<name>``, takes its own cells after those of the draw."""

    def lower(low: Lowering, x: Array) -> Array:
        dtype = low.attrs.get("dtype", x.dtype)
        out = low.output(x.shape, dtype, into=lies_in_order)
        cost = COST[name] * (2 if x.dtype == "float64" and name != "integers" else 1)
        return draws(low, f"sampling.{name}", out, [low.cell(n) for n in cells], cost, dtype=dtype)

    return Op(
        name=name,
        shapes="x:(*) -> y:(*)",
        reference=(reference, None),
        lower=(lower, None),
        cells={**cells, **CELLS},
        elementwise=True,
        cases=_seeded(CASES, **case),
        bench=_seeded(BENCH),
        doc=(reference.__doc__ or "") + DOC,
        **declared,
    )


def _check_integers(attributes: dict[str, Any]) -> dict[str, Any]:
    if attributes["dtype"] not in ("int32", "int64"):
        raise ValueError(f"integers: dtype must be 'int32' or 'int64', got {attributes['dtype']!r}")
    return attributes


def _lower_each(low: Lowering, x: Array) -> Array:
    out = low.output(x.shape, x.dtype, into=lies_in_order)
    if out.size == 0:
        return out
    p = contiguous(low, x)
    return draws(low, "sampling.bernoulli_each", out, [reads(p)], 0.5 * x.itemsize / 4, dtype=x.dtype)


uniform = _op("uniform", _uniform, {"low": 0.0, "high": 1.0}, {"low": -0.5, "high": 3.0})
normal = _op("normal", _normal, {"mean": 0.0, "std": 1.0}, {"mean": 0.5, "std": 2.0})
exponential = _op("exponential", _exponential, {"rate": 1.0}, {"rate": 2.5})
bernoulli = _op("bernoulli", _bernoulli, {"p": 0.5}, {"p": 0.3})
integers = _op(
    "integers",
    _integers,
    {"low_low": 0.0, "low_high": 0.0, "n_low": 0.0, "n_high": 0.0},
    range_cells(-3, 1 << 62),
    attributes={"dtype": "int64"},
    check=_check_integers,
    result="int64",
)
bernoulli_each = Op(
    name="bernoulli_each",
    shapes="x:(*) -> y:(*)",
    reference=(_bernoulli_each, None),
    lower=(_lower_each, None),
    cells=CELLS,
    elementwise=True,
    cases=_seeded(CASES),
    bench=_seeded(BENCH),
    domain={"x": (0.0, 1.0)},
)
