"""Gradients over a table of segments: their norm as one vector, and limits to it or to each element.

The segment and chunk tables are those of `fastnn._kernels.optimizer`, with the gradient as the only column. A norm
takes two phases, one number a chunk, then these together; both sum in float64, in an order that the lengths fix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fastnn._kernels.control import Code, Words, traced
from fastnn._kernels.jit import kernel
from fastnn._kernels.mathematics.exponential import exp
from fastnn._kernels.mathematics.logarithm import log
from fastnn._kernels.optimizer import update
from fastnn._kernels.vector import (
    ELEMENTS,
    ITEMSIZES,
    Lanes,
    Value,
    absolute,
    added,
    fold,
    maximum,
    select,
    sqrt,
)


def minimum(x: Value, y: Value) -> Value:
    """The smaller; NaN if either is."""
    smaller = select(y.compare("<", x), y, x)
    return select(y.compare("!=", y), y, smaller)


class Norm(NamedTuple):
    """A norm: what an element's size gives, how these combine, and what comes of it in the end.

    `order` is a value like the first argument: the norm's order.
    """

    term: Callable[[Value, Value], Value]
    combine: Callable[[Value, Value], Value]
    end: Callable[[Value, Value], Value]
    start: float = 0.0


NORMS: dict[str, Norm] = {
    "one": Norm(lambda a, order: a, added, lambda s, order: s),
    "two": Norm(lambda a, order: a * a, added, lambda s, order: sqrt(s)),
    "most": Norm(lambda a, order: a, maximum, lambda s, order: s),
    "least": Norm(lambda a, order: a, minimum, lambda s, order: s, math.inf),
    "power": Norm(
        lambda a, order: exp(order * log(a)), added, lambda s, order: exp(log(s) / order)
    ),
}  # fmt: skip


def cell(code: Code, address: Value) -> Value:
    """The float64 at an address."""
    return Value(code.builder, code.builder.bitcast(code.words(address)[0].value, ELEMENTS["float64"]))


def folded(code: Code, dtype: str, norm: Norm, address: Value, length: Value, term: Callable[[Value], Value]) -> Value:
    """Elements at an address, as float64, each through `term`, combined."""
    builder = code.builder

    def at(pair: Lanes, index: Any, mask: Any | None) -> Value:
        lanes = Lanes(builder, dtype, pair.count)
        loaded = lanes.load(lanes.pointer(address.value, index), mask)
        if dtype == "float32":
            loaded = Value(builder, builder.fpext(loaded.value, pair.kind))
        value = term(loaded)
        return value if mask is None else select(Value(builder, mask), value, norm.start)

    return fold(Lanes(builder, "float64"), length.value, norm.start, norm.combine, at)


@kernel
def measure(dtype: str, norm: str) -> Any:
    """What each chunk adds to a norm. args: segments, chunks, result (float64, one a chunk), cell of the order."""
    rule = NORMS[norm]

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        order = cell(code, args[3])
        with code.range(first, last) as chunk:
            row = code.words(args[1] + chunk * 24)
            start = code.words(args[0] + row[0] * 16)[0] + row[1] * ITEMSIZES[dtype]

            def term(x: Value) -> Value:
                return rule.term(absolute(x), order.splat(x.kind.count))

            found = folded(code, dtype, rule, start, row[2] - row[1], term)
            code.words(args[2])[chunk] = Value(code.builder, code.builder.bitcast(found.value, chunk.kind))

    return traced(emit)


@kernel
def total(norm: str) -> Any:
    """The norm from what all chunks added, and the factor that brings it down to a limit.

    args: what the chunks added, number of chunks, result (two float64: norm, factor), cells of order and limit. The
    factor is ``min(limit / (norm + 1e-6), 1)``, as torch's.
    """
    rule = NORMS[norm]

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        builder = code.builder
        found = folded(code, "float64", rule, args[0], args[1], lambda x: x)
        size = rule.end(found, cell(code, args[3]))
        factor = cell(code, args[4]) / (size + 1e-6)
        factor = select(factor.compare(">", 1.0), 1.0, factor)
        result = code.words(args[2])
        for k, number in enumerate((size, factor)):
            result[k] = Value(builder, builder.bitcast(number.value, args[1].kind))

    return traced(emit)


@kernel
def scale(dtype: str) -> Any:
    """Multiply by a factor, unless it is 1. Cells: factor."""

    def step(x: Value, factor: Value) -> Value:
        return x * factor

    def numbers(factor: Value) -> Sequence[Value]:
        return [factor]

    return update(dtype, step, numbers, 1, flags=0, kept=-1, needed=lambda factor: factor.compare("!=", 1.0))


@kernel
def clip(dtype: str) -> Any:
    """Limit each element from below and above; NaN stays. Cells: the limits."""

    def step(x: Value, low: Value, high: Value) -> Value:
        return select(x.compare("<", low), low, select(x.compare(">", high), high, x))

    def numbers(low: Value, high: Value) -> Sequence[Value]:
        return [low, high]

    return update(dtype, step, numbers, 1, flags=0, kept=-1)
