"""Layer and root-mean-square normalisation: each row by its own moments.

Rows lie side by side (their distance is an argument). A row's sums run in blocks of 1,024 elements, a block in 64 lanes
(32 of float64), blocks combined pairwise: an order that depends on the row's width only. The variance is taken in a
second pass, of the distances from the mean.

The gradients of weight and bias are sums over rows: each chunk of rows has a row of partial sums of its own, which a
reduction combines in the order of the chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.jit import kernel
from fastnn._kernels.reduction import BLOCK, Levels, collapse, converted, pairwise
from fastnn._kernels.softmax import LEVELS, Rows, load
from fastnn._kernels.vector import Lanes, Value, added, fma, fold, select, sqrt, sweep_loop


def _sum(rows: Rows, width: Value, scratch: Value, term: Callable[[Lanes, Any, Any | None], Value]) -> Value:
    """The sum of ``term(lanes, index, mask)`` over a row of any length, block by block."""
    code = rows.code
    levels = Levels(code, rows.dtype, scratch + LEVELS)
    start, top, blocks = code.local(0), code.local(0), code.local(0)
    levels.put(top.now, rows.number(0.0))
    with code.while_(lambda: start.now.compare("<", width)):
        base = start.now

        def shifted(lanes: Lanes, index: Any, mask: Any | None, base: Value = base) -> Value:
            return term(lanes, lanes.builder.add(index, base.value), mask)

        block = smaller(width - base, BLOCK)
        levels.put(top.now, fold(rows.lanes, block.value, 0.0, added, shifted))
        pairwise(code, blocks, top, levels.merge)
        start.now = base + block
    collapse(code, top, levels.merge)
    return levels.get(code.number(0))


def within(mask: Any | None, value: Value) -> Value:
    """0 in the lanes that a mask leaves out."""
    return value if mask is None else select(Value(value.builder, mask), value, 0.0)


def float64_at(code: Code, address: Value, dtype: str) -> Value:
    """The float64 at an address, as a number of the dtype."""
    lanes = Lanes(code.builder, "float64")
    return Value(code.builder, code.builder.load(lanes.pointer(address.value))).converted(dtype)


@kernel
def forward(dtype: str, centered: bool, weighted: bool, biased: bool) -> Any:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, or without `centered` ``x / sqrt(mean(x x) + eps) * weight``.

    args: y, means (rows; or 0), rstd (rows), x, weight (or 0), bias (or 0), address of eps, rows, width, rows a chunk,
    distances of y's and x's rows (elements).
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        width = args[8]
        eps, count = float64_at(code, args[6], dtype), converted(width, dtype)
        with code.range(first * args[9], smaller(last * args[9], args[7])) as row:
            y = args[0] + row * args[10] * rows.size
            x = args[3] + row * args[11] * rows.size
            mean = rows.number(0.0)
            if centered:
                mean = _sum(rows, width, scratch, lambda lanes, i, mask: load(lanes, x, i, mask)) / count
                rows.numbers(args[1])[row] = mean

            def square(lanes: Lanes, index: Any, mask: Any | None) -> Value:
                d = load(lanes, x, index, mask)
                d = d - mean.splat(lanes.count) if centered else d
                return within(mask, d * d)

            rstd = 1.0 / sqrt(_sum(rows, width, scratch, square) / count + eps)
            rows.numbers(args[2])[row] = rstd

            def normalised(x: Value, *more: Value) -> Value:
                operands, (mean, rstd) = list(more[:-2]), more[-2:]
                value = (x - mean if centered else x) * rstd
                weight = operands.pop(0) if weighted else None
                if biased:
                    return value + operands[0] if weight is None else fma(value, weight, operands[0])
                return value if weight is None else value * weight

            sources = [x, *([args[4]] if weighted else []), *([args[5]] if biased else [])]
            rows.write(normalised, y, sources, [mean, rstd], width)

    return traced(emit)


@kernel
def backward(dtype: str, centered: bool, weighted: bool, summed: bool) -> Any:
    """With ``z = (x - mean) rstd`` and ``g = dy weight``: ``dx = rstd (g - mean(g) - z mean(g z))``.

    Without `centered` the means and ``mean(g)`` are left out. With `summed`, sums of ``dy z`` and of ``dy`` over the
    chunk's rows go to a pair of rows of the chunk's own.
    args: dx, partial sums (chunks, 2, width; or 0), dy, x, means (or 0), rstd, weight (or 0), rows, width, rows a
    chunk, distances of dx's, dy's and x's rows (elements).
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        width, group = args[8], args[9]
        count = converted(width, dtype)
        zero, one = code.number(0).value, code.number(1).value

        def one_row(row: Value, sums: list[Value]) -> None:
            dx, dy, x = (args[k] + row * args[at] * rows.size for k, at in ((0, 10), (2, 11), (3, 12)))
            mean = rows.numbers(args[4])[row] if centered else rows.number(0.0)
            rstd = rows.numbers(args[5])[row]

            def gradient(lanes: Lanes, index: Any, mask: Any | None) -> Value:
                g = load(lanes, dy, index, mask)
                return g * load(lanes, args[6], index, mask) if weighted else g

            def product(lanes: Lanes, index: Any, mask: Any | None) -> Value:
                d = load(lanes, x, index, mask)
                d = d - mean.splat(lanes.count) if centered else d
                return within(mask, gradient(lanes, index, mask) * d)

            along = _sum(rows, width, scratch, product) * rstd / count
            level = _sum(rows, width, scratch, gradient) / count if centered else rows.number(0.0)

            def result(dy: Value, x: Value, *more: Value) -> Value:
                weight, (mean, rstd, along, level) = more[:-4], more[-4:]
                g = dy * weight[0] if weighted else dy
                g = g - level if centered else g
                return (g - (x - mean if centered else x) * rstd * along) * rstd

            def results(
                dy: Value, x: Value, products: Value, total: Value, mean: Value, rstd: Value
            ) -> tuple[Value, ...]:
                return fma(dy, (x - mean if centered else x) * rstd, products), total + dy

            rows.write(result, dx, [dy, x, *([args[6]] if weighted else [])], [mean, rstd, along, level], width)
            if sums:
                places = [*sums, dy, x, *sums]
                entry = [p.value for p in places] + [one] * len(places)
                sweep_loop(code.builder, results, [dtype] * 6, 2, entry, [mean, rstd], width.value)

        with code.range(first, last) as chunk:
            sums = []
            if summed:
                sums = [args[1] + (chunk * 2 + k) * width * rows.size for k in range(2)]
                blank = [sums[0].value, sums[0].value, one, zero]
                sweep_loop(code.builder, lambda v: v.number(0.0), [dtype] * 2, 1, blank, [], (width * 2).value)
            with code.range(chunk * group, smaller(chunk * group + group, args[7])) as row:
                one_row(row, sums)

    return traced(emit)
