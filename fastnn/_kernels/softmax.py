"""Softmax, log-softmax and softmax cross-entropy over the last axis.

Rows lie side by side (their distance is an argument). A row's sum of exponentials runs in 64 lanes (32 of float64),
in an order that depends on the row's width only. Logarithms are taken for many rows at once.

Cross-entropy is four kernels. `check_labels` is a check: it looks at every label before anything else happens and
writes a status, 0, or 1 + the index of the first label that is out of range; the runtime then raises. With
``p = softmax(x)``, label ``y``, class weights ``w``, smoothing ``s`` and ``C`` classes, a row's loss is

    (1 - s) w_y (-log p_y) + s / C sum_c w_c (-log p_c)

as torch defines it; the mean divides by ``sum w_y`` over the rows that are not ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.jit import kernel
from fastnn._kernels.mathematics.exponential import exp
from fastnn._kernels.mathematics.logarithm import log
from fastnn._kernels.reduction import BLOCK as SUMMED
from fastnn._kernels.reduction import Levels, collapse, converted, pairwise, total_of
from fastnn._kernels.vector import ELEMENTS, ITEMSIZES, Lanes, Value, added, fold, larger, select, sweep_loop

BLOCK = 64  # rows whose logarithms are taken together
# Scratch: a pair of vectors of ones that stands for absent class weights; a block's maxima, sums and logarithms.
ONES, TOPS, SUMS, LOGS, LEVELS = 0, 1024, 2048, 3072, 4096


class Numbers:
    """Contiguous numbers at an address, read and written as ``x[i]``."""

    def __init__(self, lanes: Lanes, address: Value) -> None:
        self.lanes, self.address = lanes, address

    def _place(self, index: Value) -> Any:
        return self.lanes.pointer(self.address.value, index.value)

    def __getitem__(self, index: Value) -> Value:
        return Value(self.lanes.builder, self.lanes.builder.load(self._place(index)))

    def __setitem__(self, index: Value, value: Value) -> None:
        self.lanes.builder.store(value.value, self._place(index))


def load(lanes: Lanes, address: Value, index: Any, mask: Any | None, other: float = 0.0) -> Value:
    """A vector of a row; `other` in the lanes that the mask leaves out."""
    return lanes.load(lanes.pointer(address.value, index), mask, other)


class Rows:
    """What is done with whole rows of one dtype."""

    def __init__(self, code: Code, dtype: str) -> None:
        self.code, self.dtype, self.size = code, dtype, ITEMSIZES[dtype]
        self.lanes = Lanes(code.builder, dtype)

    def numbers(self, address: Value) -> Numbers:
        """The numbers at an address."""
        return Numbers(self.lanes, address)

    def number(self, value: float) -> Value:
        """A constant."""
        return Value(self.code.builder, ELEMENTS[self.dtype](value))

    def largest(self, x: Value, width: Value) -> Value:
        """The largest element; a NaN may or may not show."""
        low = float("-inf")
        return fold(self.lanes, width.value, low, larger, lambda v, i, m: load(v, x, i, m, low))

    def exp_sum(self, x: Value, width: Value, top: Value, y: Value | None = None) -> Value:
        """The sum of ``exp(x - top)``, each of them stored to `y` if given."""

        def term(lanes: Lanes, index: Any, mask: Any | None) -> Value:
            value = exp(load(lanes, x, index, mask, float("-inf")) - top.splat(lanes.count))
            if y is not None:
                lanes.store(value, lanes.pointer(y.value, index), mask)
            return value

        return fold(self.lanes, width.value, 0.0, added, term)

    def dot(self, x: Value, y: Value, width: Value) -> Value:
        """The sum of ``x * y``."""

        def term(lanes: Lanes, index: Any, mask: Any | None) -> Value:
            return load(lanes, x, index, mask) * load(lanes, y, index, mask)

        return fold(self.lanes, width.value, 0.0, added, term)

    def write(
        self,
        expression: Callable[..., Value],
        target: Value,
        sources: Sequence[Value],
        given: Sequence[Value],
        width: Value,
        last_step: Value | None = None,
    ) -> None:
        """Evaluate an expression of rows and numbers into a row; `last_step` 0 reads the last source's vector again."""
        steps = [self.code.number(1)] * (len(sources) + 1)
        if last_step is not None:
            steps[-1] = last_step
        entry = [v.value for v in (target, *sources, *steps)]
        sweep_loop(self.code.builder, expression, [self.dtype] * (len(sources) + 1), 1, entry, given, width.value)


@kernel
def forward(dtype: str, log_result: bool) -> Any:
    """Softmax or log-softmax. args: y, x, rows, width, rows a chunk, distance of y's rows, of x's rows (elements)."""

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        tops, sums, logs = (rows.numbers(scratch + at) for at in (TOPS, SUMS, LOGS))
        width, group = args[3], args[4]
        start = code.local(first * group)
        stop = smaller(last * group, args[2])
        with code.while_(lambda: start.now.compare("<", stop)):
            block = smaller(stop - start.now, BLOCK)
            with code.range(0, block) as r:
                y = args[0] + (start.now + r) * args[5] * rows.size
                x = args[1] + (start.now + r) * args[6] * rows.size
                top = rows.largest(x, width)
                total = rows.exp_sum(x, width, top, None if log_result else y)
                tops[r] = top
                sums[r] = total
                if not log_result:
                    rows.write(lambda e, factor: e * factor, y, [y], [1.0 / total], width)
            if log_result:
                rows.write(log, logs.address, [sums.address], [], block)
                with code.range(0, block) as r:
                    y = args[0] + (start.now + r) * args[5] * rows.size
                    x = args[1] + (start.now + r) * args[6] * rows.size
                    rows.write(lambda v, top, total: (v - top) - total, y, [x], [tops[r], logs[r]], width)
            start.now = start.now + block

    return traced(emit)


@kernel
def backward(dtype: str, log_result: bool) -> Any:
    """From the result y: ``y (dy - sum dy y)``, or for log-softmax ``dy - exp(y) sum dy``.

    args: dx, dy, y, rows, width, rows a chunk, distances of dx's, dy's and y's rows (elements).
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        width = args[4]
        with code.range(first * args[5], smaller(last * args[5], args[3])) as row:
            dx, dy, y = (args[k] + row * args[6 + k] * rows.size for k in range(3))
            if log_result:
                total = total_of(rows.lanes, dy, width)
                rows.write(lambda g, v, d: g - exp(v) * d, dx, [dy, y], [total], width)
            else:
                total = rows.dot(dy, y, width)
                rows.write(lambda g, v, d: (g - d) * v, dx, [dy, y], [total], width)

    return traced(emit)


def label_at(code: Code, labels: str, address: Value, index: Value) -> Value:
    """A label as an int64."""
    lanes = Lanes(code.builder, labels)
    label = code.builder.load(lanes.pointer(address.value, index.value))
    return Value(code.builder, label if labels == "int64" else code.builder.sext(label, ELEMENTS["int64"]))


@kernel
def check_labels(labels: str) -> Any:
    """Write 0, or 1 + the index of the first bad label, to a status (int64).

    args: labels, count, distance of labels (elements), classes, ignored label, status. One chunk.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        status = code.local(0)
        with code.range(0, args[1]) as left:
            i = args[1] - 1 - left
            label = label_at(code, labels, args[0], i * args[2])
            outside = label.compare("<", 0) | label.compare(">=", args[3])
            status.now = select(outside & label.compare("!=", args[4]), i + 1, status.now)
        code.words(args[5])[0] = status.now

    return traced(emit)


class ClassWeights:
    """The weight of each class, or ones where the address is 0.

    Attributes
    ----------
    given : whether there are weights. sum : their sum.
    """

    def __init__(self, rows: Rows, address: Value, classes: Value, scratch: Value) -> None:
        self.rows, self.given = rows, address.compare("!=", 0)
        ones = rows.numbers(scratch + ONES)
        with rows.code.range(0, 2 * rows.lanes.count) as k:
            ones[k] = rows.number(1.0)
        self.address = select(self.given, address, ones.address)
        self.step = select(self.given, rows.code.number(1), rows.code.number(0))
        total = rows.code.local(converted(classes, rows.dtype))
        with rows.code.when(self.given):
            total.now = total_of(rows.lanes, address, classes)
        self.sum = total.now

    def of(self, label: Value) -> Value:
        """The weight of a class."""
        return self.rows.numbers(self.address)[label * self.step]


def smoothing_of(rows: Rows, bits: Value) -> Value:
    """A float64's bits as a number of the dtype."""
    builder = rows.code.builder
    value = builder.bitcast(bits.value, ELEMENTS["float64"])
    return Value(builder, builder.fptrunc(value, ELEMENTS["float32"]) if rows.dtype == "float32" else value)


@kernel
def loss_rows(dtype: str, labels: str) -> Any:
    """Each row's loss, its weight (0 if ignored), and what the backward pass needs: the row's maximum and log of sum.

    args: losses (rows), weights (rows), stats (rows, 2), x, labels, class weights (or 0), rows, width, rows a chunk,
    distance of x's rows, of labels (elements), ignored label, the bits of label smoothing as a float64.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        losses, row_weights, stats = (rows.numbers(args[k]) for k in range(3))
        tops, sums, logs = (rows.numbers(scratch + at) for at in (TOPS, SUMS, LOGS))
        width, group = args[7], args[8]
        weights = ClassWeights(rows, args[5], width, scratch)
        smoothing = smoothing_of(rows, args[12])
        spread = smoothing / converted(width, dtype)
        start = code.local(first * group)
        stop = smaller(last * group, args[6])
        with code.while_(lambda: start.now.compare("<", stop)):
            block = smaller(stop - start.now, BLOCK)
            with code.range(0, block) as r:
                place = args[3] + (start.now + r) * args[9] * rows.size
                top = rows.largest(place, width)
                tops[r] = top
                sums[r] = rows.exp_sum(place, width, top)
            rows.write(log, logs.address, [sums.address], [], block)
            with code.range(0, block) as r:
                row = start.now + r
                place = args[3] + row * args[9] * rows.size
                top, total = tops[r], logs[r]
                stats[row * 2] = top
                stats[row * 2 + 1] = total
                label = label_at(code, labels, args[4], row * args[10])
                losses[row] = row_weights[row] = rows.number(0.0)
                with code.when(label.compare("!=", args[11])):
                    weight = weights.of(label)
                    loss = code.local(total - (rows.numbers(place)[label] - top))
                    loss.now = (1.0 - smoothing) * weight * loss.now
                    with code.when(smoothing.compare("!=", 0.0)):
                        loss.now = loss.now + spread * surprise(rows, place, weights, width, top, total)
                    losses[row] = loss.now
                    row_weights[row] = weight
            start.now = start.now + block

    return traced(emit)


def surprise(rows: Rows, x: Value, weights: ClassWeights, width: Value, top: Value, total: Value) -> Value:
    """The sum over classes of weight times ``-log p``."""

    def term(lanes: Lanes, index: Any, mask: Any | None) -> Value:
        w = load(lanes, weights.address, lanes.builder.mul(index, weights.step.value), mask)
        return w * (total.splat(lanes.count) - (load(lanes, x, index, mask) - top.splat(lanes.count)))

    return fold(rows.lanes, width.value, 0.0, added, term)


@kernel
def loss_total(dtype: str) -> Any:
    """The sum of the rows' losses or, divided by the sum of their weights, their mean. One chunk.

    The order of the sums is that of `fastnn._kernels.reduction.rows`.
    args: loss, sum of weights, losses, weights, rows, mean (0 or 1).
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        levels = Levels(code, dtype, scratch + LEVELS)
        zero = code.number(0)
        with code.range(0, 2) as which:
            start, top, blocks = code.local(0), code.local(0), code.local(0)
            more = code.local(1)
            with code.while_(lambda: more.now.compare("!=", 0)):
                block = smaller(args[4] - start.now, SUMMED)
                levels.put(top.now, total_of(rows.lanes, args[which + 2] + start.now * rows.size, block))
                pairwise(code, blocks, top, levels.merge)
                start.now = start.now + block
                more.now = select(start.now.compare("<", args[4]), code.number(1), zero)
            collapse(code, top, levels.merge)
            rows.numbers(args[which])[zero] = levels.get(zero)
        with code.when(args[5].compare("!=", 0)):
            loss = rows.numbers(args[0])
            loss[zero] = loss[zero] / rows.numbers(args[1])[zero]

    return traced(emit)


@kernel
def loss_backward(dtype: str, labels: str) -> Any:
    """``dx = a softmax(x) - b w - c onehot(y)``.

    With the row's incoming gradient g (divided by the sum of weights for a mean): ``c = (1 - s) w_y g``,
    ``b = s g / C``, ``a = c + b sum(w)``; a row that is ignored gets 0.
    args: dx, dloss, x, labels, class weights (or 0), stats, sum of weights (or 0), rows, width, rows a chunk, distances
    of dx's rows, of dloss, of x's rows, of labels (elements), ignored label, the bits of label smoothing as a float64.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        width, group = args[8], args[9]
        weights = ClassWeights(rows, args[4], width, scratch)
        smoothing = smoothing_of(rows, args[15])
        classes = converted(width, dtype)
        stats = rows.numbers(args[5])
        divisor = code.local(rows.number(1.0))
        with code.when(args[6].compare("!=", 0)):
            divisor.now = rows.numbers(args[6])[code.number(0)]
        with code.range(first * group, smaller(last * group, args[7])) as row:
            label = label_at(code, labels, args[3], row * args[13])
            target = args[0] + row * args[10] * rows.size
            counts = label.compare("!=", args[14]) & label.compare(">=", 0) & label.compare("<", width)
            with code.builder.if_else(counts.value) as (counted, ignored):
                with counted:
                    g = rows.numbers(args[1])[row * args[11]] / divisor.now
                    c = (1.0 - smoothing) * g * weights.of(label)
                    b = smoothing * g / classes
                    given = [stats[row * 2], stats[row * 2 + 1], c + b * weights.sum, b]
                    x = args[2] + row * args[12] * rows.size
                    rows.write(
                        lambda x, w, top, total, a, b: exp((x - top) - total) * a - w * b,
                        target,
                        [x, weights.address],
                        given,
                        width,
                        weights.step,
                    )
                    dx = rows.numbers(target)
                    dx[label] = dx[label] - c
                with ignored:
                    rows.write(lambda zero: zero, target, [], [rows.number(0.0)], width)

    return traced(emit)
