"""Losses that pick out classes by label: negative log likelihood, and the margins of right classes over wrong ones.

Labels are checked first, by a kernel of their own (`check`), so the others trust them. Rows follow one another, so that
a place in a chunk changes no bit.
"""

from __future__ import annotations

from typing import Any

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.elementwise import number_of
from fastnn._kernels.jit import kernel
from fastnn._kernels.reduction import converted
from fastnn._kernels.softmax import Numbers, Rows, label_at
from fastnn._kernels.vector import Value, select


@kernel
def check(labels: str) -> Any:
    """Write 0, or 1 + the index (in C order) of the first bad label of a matrix, to a status (int64).

    args: labels, rows, columns, distances of rows and of columns (elements), classes, ignored label, status. One chunk.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        columns, status = args[2], code.local(0)
        with code.range(0, args[1]) as r, code.range(0, columns) as c:
            label = label_at(code, labels, args[0], r * args[3] + c * args[4])
            outside = label.compare("<", 0) | label.compare(">=", args[5])
            bad = outside & label.compare("!=", args[6]) & status.now.compare("==", 0)
            status.now = select(bad, r * columns + c + 1, status.now)
        code.words(args[7])[0] = status.now

    return traced(emit)


class Weights:
    """The weight of each class, or 1 where the address is 0."""

    def __init__(self, rows: Rows, address: Value) -> None:
        self.rows, self.address = rows, address

    def of(self, label: Value) -> Value:
        """The weight of a class."""
        weight = self.rows.code.local(self.rows.number(1.0))
        with self.rows.code.when(self.address.compare("!=", 0)):
            weight.now = self.rows.numbers(self.address)[label]
        return weight.now


@kernel
def picked(dtype: str, labels: str) -> Any:
    """``-w[t] * x[n, t, d]`` and ``w[t]`` for each place (n, d), 0 where the label t is ignored.

    args: losses (places), weights (places), x, labels, class weights (or 0), places, extent of d, places a chunk,
    distances of x's three axes, of labels' two (elements), ignored label.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        losses, row_weights, x = (rows.numbers(args[k]) for k in range(3))
        weights, group = Weights(rows, args[4]), args[7]
        start, depth = first * group, args[6]
        sample, within = code.local(start // depth), code.local(start % depth)
        with code.range(start, smaller(last * group, args[5])) as place:
            n, d = sample.now, within.now
            ends = (d + 1).compare("==", depth)
            sample.now = select(ends, n + 1, n)
            within.now = select(ends, code.number(0), d + 1)
            label = label_at(code, labels, args[3], n * args[11] + d * args[12])
            losses[place] = row_weights[place] = rows.number(0.0)
            with code.when(label.compare("!=", args[13])):
                weight = weights.of(label)
                losses[place] = -(x[n * args[8] + label * args[9] + d * args[10]] * weight)
                row_weights[place] = weight

    return traced(emit)


@kernel
def picked_backward(dtype: str, labels: str) -> Any:
    """The gradient for x, contiguous: ``-w[t] * g / total`` at (n, t, d), 0 elsewhere.

    args: dx, g, labels, class weights (or 0), total (or 0), samples, classes, extent of d, samples a chunk, distances
    of g's two axes, of labels' two (elements), ignored label.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        g, weights = rows.numbers(args[1]), Weights(rows, args[3])
        classes, depth, group = args[6], args[7], args[8]
        divisor = code.local(rows.number(1.0))
        with code.when(args[4].compare("!=", 0)):
            divisor.now = rows.numbers(args[4])[code.number(0)]
        with code.range(first * group, smaller(last * group, args[5])) as n:
            target = args[0] + n * classes * depth * rows.size
            rows.write(lambda zero: zero, target, [], [rows.number(0.0)], classes * depth)
            dx = rows.numbers(target)
            with code.range(0, depth) as d:
                label = label_at(code, labels, args[2], n * args[11] + d * args[12])
                counts = label.compare("!=", args[13]) & label.compare(">=", 0) & label.compare("<", classes)
                with code.when(counts):
                    dx[label * depth + d] = -(weights.of(label) * (g[n * args[9] + d * args[10]] / divisor.now))

    return traced(emit)


def _power(z: Value, p: int) -> Value:
    return z if p == 1 else z * z


@kernel
def margins(dtype: str, labels: str, p: int) -> Any:
    """``w[t] / C * sum over j != t of max(margin - x[t] + x[j], 0)**p`` for each row.

    args: losses, x, labels, class weights (or 0), rows, classes, rows a chunk, distances of x's rows, of labels
    (elements), address of margin.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        losses, weights = rows.numbers(args[0]), Weights(rows, args[3])
        classes, group = args[5], args[6]
        margin = number_of(code.words(args[9]), dtype)
        with code.range(first * group, smaller(last * group, args[4])) as row:
            x = rows.numbers(args[1] + row * args[7] * rows.size)
            label = label_at(code, labels, args[2], row * args[8])
            lead, total = margin - x[label], code.local(rows.number(0.0))
            with code.range(0, classes) as j:
                z = lead + x[j]
                z = select(z.compare("<=", 0.0) | j.compare("==", label), 0.0, z)
                total.now = total.now + _power(z, p)
            losses[row] = total.now * weights.of(label) / converted(classes, dtype)

    return traced(emit)


@kernel
def margins_backward(dtype: str, labels: str, p: int) -> Any:
    """The gradient of `margins` for x, contiguous.

    args: dx, g, x, labels, class weights (or 0), rows, classes, rows a chunk, distances of g, of x's rows, of labels
    (elements), address of margin.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        g, weights = rows.numbers(args[1]), Weights(rows, args[4])
        classes, group = args[6], args[7]
        margin = number_of(code.words(args[11]), dtype)
        with code.range(first * group, smaller(last * group, args[5])) as row:
            dx = rows.numbers(args[0] + row * classes * rows.size)
            x = rows.numbers(args[2] + row * args[9] * rows.size)
            label = label_at(code, labels, args[3], row * args[10])
            each = g[row * args[8]] * weights.of(label) / converted(classes, dtype)
            lead, total = margin - x[label], code.local(rows.number(0.0))
            with code.range(0, classes) as j:
                z = lead + x[j]
                slope = each if p == 1 else (z + z) * each
                slope = select(z.compare("<=", 0.0) | j.compare("==", label), 0.0, slope)
                dx[j] = slope
                total.now = total.now - slope
            dx[label] = total.now

    return traced(emit)


class Labelled:
    """One row's labels, up to the first that is negative, and its classes' marks: 1 where a label names the class."""

    def __init__(self, code: Code, labels: str, address: Value, start: Value, step: Value, classes: Value) -> None:
        self.code, self.labels, self.address, self.start, self.step = code, labels, address, start, step
        self.count = code.local(0)
        going = code.local(1)
        with code.range(0, classes) as k:
            going.now = select(self.at(k).compare("<", 0), code.number(0), going.now)
            self.count.now = self.count.now + going.now

    def at(self, k: Value) -> Value:
        """A label."""
        return label_at(self.code, self.labels, self.address, self.start + k * self.step)

    def mark(self, rows: Rows, marks: Numbers, classes: Value) -> None:
        """Write the marks."""
        rows.write(lambda zero: zero, marks.address, [], [rows.number(0.0)], classes)
        with self.code.range(0, self.count.now) as k:
            marks[self.at(k)] = rows.number(1.0)


@kernel
def many_margins(dtype: str, labels: str) -> Any:
    """``1 / C * sum over labels t and classes j that are none of max(1 - x[t] + x[j], 0)`` for each row; the marks.

    args: losses, marks (rows, classes), x, labels, rows, classes, rows a chunk, distances of x's rows, of labels' two
    axes (elements).
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        losses, classes, group = rows.numbers(args[0]), args[5], args[6]
        with code.range(first * group, smaller(last * group, args[4])) as row:
            x = rows.numbers(args[2] + row * args[7] * rows.size)
            marks = rows.numbers(args[1] + row * classes * rows.size)
            own = Labelled(code, labels, args[3], row * args[8], args[9], classes)
            own.mark(rows, marks, classes)
            total = code.local(rows.number(0.0))
            with code.range(0, own.count.now) as k:
                lead = 1.0 - x[own.at(k)]
                with code.range(0, classes) as j:
                    z = lead + x[j]
                    total.now = total.now + select(z.compare("<=", 0.0) | marks[j].compare("!=", 0.0), 0.0, z)
            losses[row] = total.now / converted(classes, dtype)

    return traced(emit)


@kernel
def many_margins_backward(dtype: str, labels: str) -> Any:
    """The gradient of `many_margins` for x, contiguous.

    args: dx, g, marks, x, labels, rows, classes, rows a chunk, distances of g, of x's rows, of labels' two axes
    (elements).
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        rows = Rows(code, dtype)
        g, classes, group = rows.numbers(args[1]), args[6], args[7]
        with code.range(first * group, smaller(last * group, args[5])) as row:
            target = args[0] + row * classes * rows.size
            rows.write(lambda zero: zero, target, [], [rows.number(0.0)], classes)
            dx, marks = rows.numbers(target), rows.numbers(args[2] + row * classes * rows.size)
            x = rows.numbers(args[3] + row * args[9] * rows.size)
            own = Labelled(code, labels, args[4], row * args[10], args[11], classes)
            each = g[row * args[8]] / converted(classes, dtype)
            with code.range(0, own.count.now) as k:
                label = own.at(k)
                lead, total = 1.0 - x[label], code.local(rows.number(0.0))
                with code.range(0, classes) as j:
                    apart = (lead + x[j]).compare("<=", 0.0) | marks[j].compare("!=", 0.0)
                    slope = select(apart, 0.0, each)
                    dx[j] = dx[j] + slope
                    total.now = total.now + slope
                dx[label] = dx[label] - total.now

    return traced(emit)
