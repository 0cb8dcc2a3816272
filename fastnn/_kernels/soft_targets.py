"""Cross-entropy of a softmax against probabilities of classes, rows as in `fastnn._kernels.softmax`.

With ``q = softmax(x)``, target t, class weights w, smoothing s, C classes and ``u = w (t (1 - s) + s / C)``, a row's
loss is ``-sum_c u_c log q_c``. For a row's gradient g, ``dx = g (q sum u - u)`` and ``dt = -g (1 - s) w log q``.
"""

from __future__ import annotations

from typing import Any

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.jit import kernel
from fastnn._kernels.mathematics.exponential import exp
from fastnn._kernels.mathematics.logarithm import log
from fastnn._kernels.reduction import converted
from fastnn._kernels.softmax import BLOCK, LOGS, SUMS, TOPS, ClassWeights, Rows, load, smoothing_of
from fastnn._kernels.vector import Lanes, Value, added, fma, fold


class Targets:
    """The weighed, smoothed targets of a row."""

    def __init__(self, rows: Rows, weights: ClassWeights, width: Value, bits: Value) -> None:
        self.rows, self.weights, self.width = rows, weights, width
        smoothing = smoothing_of(rows, bits)
        self.share, self.spread = 1.0 - smoothing, smoothing / converted(width, rows.dtype)

    def at(self, lanes: Lanes, target: Value, index: Any, mask: Any | None) -> Value:
        """A vector of them; 0 in the lanes that the mask leaves out."""
        weight = load(lanes, self.weights.address, lanes.builder.mul(index, self.weights.step.value), mask)
        smoothed = fma(load(lanes, target, index, mask), self.share.splat(lanes.count), self.spread.splat(lanes.count))
        return weight * smoothed if mask is None else _within(mask, weight * smoothed)

    def sum(self, target: Value) -> Value:
        """Their sum."""
        return fold(self.rows.lanes, self.width.value, 0.0, added, lambda v, i, m: self.at(v, target, i, m))

    def surprise(self, x: Value, target: Value, top: Value, total: Value) -> Value:
        """The sum of them times ``-log q``."""

        def term(lanes: Lanes, index: Any, mask: Any | None) -> Value:
            cost = total.splat(lanes.count) - (load(lanes, x, index, mask) - top.splat(lanes.count))
            value = self.at(lanes, target, index, mask) * cost
            return value if mask is None else _within(mask, value)

        return fold(self.rows.lanes, self.width.value, 0.0, added, term)


def _within(mask: Any, value: Value) -> Value:
    """0 in the lanes that the mask leaves out."""
    return Value(value.builder, value.builder.select(mask, value.value, value.number(0.0).value))


@kernel
def forward(dtype: str) -> Any:
    """Each row's loss, and what the backward pass needs: the row's maximum and log of sum.

    args: losses (rows), stats (rows, 2), x, target, class weights (or 0), rows, width, rows a chunk, distances of x's
    and of target's rows (elements), the bits of label smoothing as a float64.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        losses, stats = rows.numbers(args[0]), rows.numbers(args[1])
        tops, sums, logs = (rows.numbers(scratch + at) for at in (TOPS, SUMS, LOGS))
        width, group = args[6], args[7]
        targets = Targets(rows, ClassWeights(rows, args[4], width, scratch), width, args[10])
        start = code.local(first * group)
        stop = smaller(last * group, args[5])
        with code.while_(lambda: start.now.compare("<", stop)):
            block = smaller(stop - start.now, BLOCK)
            with code.range(0, block) as r:
                x = args[2] + (start.now + r) * args[8] * rows.size
                top = rows.largest(x, width)
                tops[r] = top
                sums[r] = rows.exp_sum(x, width, top)
            rows.write(log, logs.address, [sums.address], [], block)
            with code.range(0, block) as r:
                row = start.now + r
                x, target = (args[k] + row * args[6 + k] * rows.size for k in (2, 3))
                stats[row * 2] = tops[r]
                stats[row * 2 + 1] = logs[r]
                losses[row] = targets.surprise(x, target, tops[r], logs[r])
            start.now = start.now + block

    return traced(emit)


@kernel
def backward(dtype: str, of: str) -> Any:
    """The gradient for x (`of` "input") or for the target, contiguous.

    args: result, g, x, target, class weights (or 0), stats, rows, width, rows a chunk, distances of g, of x's and of
    target's rows (elements), the bits of label smoothing as a float64.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        g, stats = rows.numbers(args[1]), rows.numbers(args[5])
        width, group = args[7], args[8]
        weights = ClassWeights(rows, args[4], width, scratch)
        targets = Targets(rows, weights, width, args[12])
        with code.range(first * group, smaller(last * group, args[6])) as row:
            result = args[0] + row * width * rows.size
            x, target = args[2] + row * args[10] * rows.size, args[3] + row * args[11] * rows.size
            own, top, total = g[row * args[9]], stats[row * 2], stats[row * 2 + 1]
            if of == "input":
                rows.write(
                    lambda x, t, w, g, top, total, all_, share, spread: (
                        g * (exp((x - top) - total) * all_ - w * fma(t, share, spread))
                    ),
                    result,
                    [x, target, weights.address],
                    [own, top, total, targets.sum(target), targets.share, targets.spread],
                    width,
                    weights.step,
                )
            else:
                rows.write(
                    lambda x, w, g, top, total: g * w * (total - (x - top)),
                    result,
                    [x, weights.address],
                    [own * targets.share, top, total],
                    width,
                    weights.step,
                )

    return traced(emit)
