"""Softmax cross-entropy of maps of class labels, the classes along an axis that is not the last: (N, C, D).

Work goes along D, in tiles, one class after the other; so nothing is transposed. The loss is that of
`fastnn._kernels.softmax`, each sum over classes one chain in the order of the classes.
"""

from __future__ import annotations

from typing import Any

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.jit import kernel
from fastnn._kernels.mathematics.exponential import exp
from fastnn._kernels.mathematics.logarithm import log
from fastnn._kernels.reduction import converted
from fastnn._kernels.softmax import ClassWeights, Rows, label_at, smoothing_of
from fastnn._kernels.vector import Value, larger, select

TILE = 512  # places at a time
# Scratch: ones for absent class weights (`ClassWeights`), then rows of a tile.
SURPRISE, ALL, EACH, PICKED = (4096 * k for k in range(1, 5))


@kernel
def forward(dtype: str, labels: str) -> Any:
    """Each place's loss, its weight (0 if ignored), and the maximum and log of sum of its logits.

    args: losses (N, D), weights (N, D), stats (2, N, D), x, labels, class weights (or 0), N, C, D, tiles of D, items a
    chunk, distances of x's first two axes, of labels' two (elements), ignored label, the bits of label smoothing as a
    float64. The last axis of x is contiguous. An item is a tile of a sample.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        losses, row_weights = rows.numbers(args[0]), rows.numbers(args[1])
        samples, classes, depth, tiles, group = (args[k] for k in range(6, 11))
        weights = ClassWeights(rows, args[5], classes, scratch)
        smoothing = smoothing_of(rows, args[16])
        spread = smoothing / converted(classes, dtype)
        class_step = args[12] * rows.size
        with code.range(first * group, smaller(last * group, samples * tiles)) as item:
            n, start = item // tiles, (item % tiles) * TILE
            wide = smaller(depth - start, TILE)
            place = n * depth + start
            top, total = args[2] + place * rows.size, args[2] + (samples * depth + place) * rows.size
            x = args[3] + (n * args[11] + start) * rows.size
            surprise = scratch + SURPRISE
            rows.write(lambda v: v, top, [x], [], wide)
            with code.range(1, classes) as c:
                rows.write(larger, top, [top, x + c * class_step], [], wide)
            rows.write(lambda zero: zero, total, [], [rows.number(0.0)], wide)
            with code.range(0, classes) as c:
                rows.write(lambda s, v, t: s + exp(v - t), total, [total, x + c * class_step, top], [], wide)
            rows.write(log, total, [total], [], wide)
            with code.when(smoothing.compare("!=", 0.0)):
                rows.write(lambda zero: zero, surprise, [], [rows.number(0.0)], wide)
                with code.range(0, classes) as c:
                    rows.write(
                        lambda s, v, t, l, w: s + w * (l - (v - t)),
                        surprise,
                        [surprise, x + c * class_step, top, total],
                        [weights.of(c)],
                        wide,
                    )
            tops, totals, surprises = rows.numbers(top), rows.numbers(total), rows.numbers(surprise)
            with code.range(0, wide) as d:
                label = label_at(code, labels, args[4], n * args[13] + (start + d) * args[14])
                losses[place + d] = row_weights[place + d] = rows.number(0.0)
                with code.when(label.compare("!=", args[15])):
                    weight = weights.of(label)
                    own = rows.numbers(x + label * class_step)[d]
                    loss = code.local((1.0 - smoothing) * weight * (totals[d] - (own - tops[d])))
                    with code.when(smoothing.compare("!=", 0.0)):
                        loss.now = loss.now + spread * surprises[d]
                    losses[place + d] = loss.now
                    row_weights[place + d] = weight

    return traced(emit)


@kernel
def backward(dtype: str, labels: str) -> Any:
    """``dx = a softmax(x) - b w - c onehot(y)`` at each place, as `softmax.loss_backward` says; 0 where ignored.

    args: dx (N, C, D), dloss, x, labels, class weights (or 0), stats, sum of weights (or 0), N, C, D, tiles of D, items
    a chunk, distances of dloss's two axes, of x's first two, of labels' two (elements), ignored label, the bits of
    label smoothing as a float64.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        g = rows.numbers(args[1])
        samples, classes, depth, tiles, group = (args[k] for k in range(7, 12))
        weights = ClassWeights(rows, args[4], classes, scratch)
        smoothing = smoothing_of(rows, args[19])
        count = converted(classes, dtype)
        divisor = code.local(rows.number(1.0))
        with code.when(args[6].compare("!=", 0)):
            divisor.now = rows.numbers(args[6])[code.number(0)]
        all_, each, picked = (rows.numbers(scratch + at) for at in (ALL, EACH, PICKED))
        with code.range(first * group, smaller(last * group, samples * tiles)) as item:
            n, start = item // tiles, (item % tiles) * TILE
            wide = smaller(depth - start, TILE)
            place = n * depth + start
            top, total = args[5] + place * rows.size, args[5] + (samples * depth + place) * rows.size
            x = args[2] + (n * args[14] + start) * rows.size
            dx = args[0] + (n * classes * depth + start) * rows.size

            def label_of(d: Value, n: Value = n, start: Value = start) -> Value:
                return label_at(code, labels, args[3], n * args[16] + (start + d) * args[17])

            def counts(label: Value) -> Value:
                return label.compare("!=", args[18]) & label.compare(">=", 0) & label.compare("<", classes)

            with code.range(0, wide) as d:
                all_[d] = each[d] = picked[d] = rows.number(0.0)
                label = label_of(d)
                with code.when(counts(label)):
                    own = g[n * args[12] + (start + d) * args[13]] / divisor.now
                    c = (1.0 - smoothing) * own * weights.of(label)
                    b = smoothing * own / count
                    picked[d] = c
                    each[d] = b
                    all_[d] = c + b * weights.sum

            def slope(v: Value, top: Value, total: Value, a: Value, b: Value, w: Value) -> Value:
                absent = a.compare("==", 0.0) & b.compare("==", 0.0)
                return select(absent, 0.0, exp((v - top) - total) * a - w * b)

            with code.range(0, classes) as c:
                rows.write(
                    slope,
                    dx + c * depth * rows.size,
                    [x + c * args[15] * rows.size, top, total, all_.address, each.address],
                    [weights.of(c)],
                    wide,
                )
            with code.range(0, wide) as d:
                label = label_of(d)
                with code.when(counts(label)):
                    result = rows.numbers(dx + label * depth * rows.size)
                    result[d] = result[d] - picked[d]

    return traced(emit)
