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

from typing import Any

from numba import types

from fastnn._kernels.functions import exp, log
from fastnn._kernels.jit import inline, kernel
from fastnn._kernels.pointer import DTYPES, bits, pointer
from fastnn._kernels.reduction import total_of
from fastnn._kernels.vector import ITEMSIZES, Lanes, Value, added, emitted, fold, larger, sweep

BLOCK = 64  # rows whose logarithms are taken together
# Scratch: the sweep's table, numbers of an expression, one vector that stands for absent weights, sums, logarithms.
NUMBERS, ONES, SUMS, LOGS, LEVELS = 256, 512, 1024, 2048, 4096


def row_max(dtype: str) -> Any:
    """``largest(x, length)``; a NaN may or may not show."""

    def emit(builder: Any, x: Any, length: Any) -> Any:
        lanes = Lanes(builder, dtype)
        low = float("-inf")
        found = fold(lanes, length, low, larger, lambda i, mask: lanes.load(lanes.pointer(x, i), mask, low))
        return found.combined(larger).value

    return emitted((DTYPES[dtype], types.int64, types.int64), emit)


def exp_sum(dtype: str, stored: bool = False) -> Any:
    """``sum(x, length, top, y)``: the sum of ``exp(x - top)``, each of them stored to y if `stored`."""

    def emit(builder: Any, x: Any, length: Any, top: Any, y: Any) -> Any:
        lanes = Lanes(builder, dtype)
        shift = Value(builder, top).splat(lanes.count)

        def term(index: Any, mask: Any | None) -> Value:
            value = exp(lanes.load(lanes.pointer(x, index), mask, float("-inf")) - shift)
            if stored:
                lanes.store(value, lanes.pointer(y, index), mask)
            return value

        return fold(lanes, length, 0.0, added, term).combined(added).value

    return emitted((DTYPES[dtype], types.int64, types.int64, DTYPES[dtype], types.int64), emit)


def dot(dtype: str) -> Any:
    """``sum(x, y, length)``: the sum of ``x * y``."""

    def emit(builder: Any, x: Any, y: Any, length: Any) -> Any:
        lanes = Lanes(builder, dtype)

        def term(index: Any, mask: Any | None) -> Value:
            return lanes.load(lanes.pointer(x, index), mask) * lanes.load(lanes.pointer(y, index), mask)

        return fold(lanes, length, 0.0, added, term).combined(added).value

    return emitted((DTYPES[dtype], types.int64, types.int64, types.int64), emit)


def block_sum(dtype: str) -> Any:
    """``sum(x, length)``: the sum of contiguous elements."""

    def emit(builder: Any, x: Any, length: Any) -> Any:
        return total_of(Lanes(builder, dtype), Value(builder, x), Value(builder, length)).value

    return emitted((DTYPES[dtype], types.int64, types.int64), emit)


@inline
def aim(words: Any, target: Any, first: Any, second: Any, step: Any) -> None:
    """Fill a sweep's table: a result and up to two operands, the second read with `step` 0 or 1."""
    words[0], words[1], words[2] = target, first, second
    words[3], words[4], words[5] = 1, 1, step


@inline
def aim_one(words: Any, target: Any, first: Any) -> None:
    """Fill a sweep's table: a result and one operand."""
    words[0], words[1] = target, first
    words[2], words[3] = 1, 1


@kernel
def forward(dtype: str, log_result: bool) -> Any:
    """Softmax or log-softmax. args: y, x, rows, width, rows a chunk, distance of y's rows, of x's rows (elements)."""
    size = ITEMSIZES[dtype]
    largest, sum_exp = row_max(dtype), exp_sum(dtype, stored=not log_result)
    logarithm = sweep(log, [dtype], [dtype])
    shift = sweep(lambda x, top, total: (x - top) - total, [dtype], [dtype], 2)
    scale = sweep(lambda y, factor: y * factor, [dtype], [dtype], 1)

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        words = pointer(scratch, "int64")
        numbers = pointer(scratch + NUMBERS, dtype)
        sums = pointer(scratch + SUMS, dtype)
        logs = pointer(scratch + LOGS, dtype)
        tops = pointer(scratch + LEVELS, dtype)
        width = args[3]
        stop = min(args[2], last * args[4])
        for start in range(first * args[4], stop, BLOCK):
            block = min(BLOCK, stop - start)
            for r in range(block):
                y = args[0] + (start + r) * args[5] * size
                x = args[1] + (start + r) * args[6] * size
                tops[r] = largest(x, width)
                sums[r] = sum_exp(x, width, tops[r], y)
                if not log_result:
                    numbers[0] = 1.0 / sums[r]
                    aim_one(words, y, y)
                    scale(scratch, scratch + NUMBERS, width)
            if log_result:
                aim_one(words, scratch + LOGS, scratch + SUMS)
                logarithm(scratch, 0, block)
                for r in range(block):
                    numbers[0] = tops[r]
                    numbers[1] = logs[r]
                    aim_one(words, args[0] + (start + r) * args[5] * size, args[1] + (start + r) * args[6] * size)
                    shift(scratch, scratch + NUMBERS, width)

    return body


@kernel
def backward(dtype: str, log_result: bool) -> Any:
    """From the result y: ``y (dy - sum dy y)``, or for log-softmax ``dy - exp(y) sum dy``.

    args: dx, dy, y, rows, width, rows a chunk, distances of dx's, dy's and y's rows (elements).
    """
    size = ITEMSIZES[dtype]
    if log_result:
        total = block_sum(dtype)
        run_over = sweep(lambda dy, y, d: dy - exp(y) * d, [dtype], [dtype, dtype], 1)
    else:
        product = dot(dtype)
        run_over = sweep(lambda dy, y, d: (dy - d) * y, [dtype], [dtype, dtype], 1)

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        words = pointer(scratch, "int64")
        numbers = pointer(scratch + NUMBERS, dtype)
        width = args[4]
        for row in range(first * args[5], min(args[3], last * args[5])):
            dy = args[1] + row * args[7] * size
            y = args[2] + row * args[8] * size
            if log_result:
                numbers[0] = total(dy, width)
            else:
                numbers[0] = product(dy, y, width)
            aim(words, args[0] + row * args[6] * size, dy, y, 1)
            run_over(scratch, scratch + NUMBERS, width)

    return body


@kernel
def check_labels(labels: str) -> Any:
    """Write 0, or 1 + the index of the first bad label, to a status (int64).

    args: labels, count, distance of labels (elements), classes, ignored label, status. One chunk.
    """

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        given = pointer(args[0], labels)
        status = 0
        for i in range(args[1] - 1, -1, -1):
            label = given[i * args[2]]
            if (label < 0 or label >= args[3]) and label != args[4]:
                status = i + 1
        pointer(args[5], "int64")[0] = status

    return body


@kernel
def loss_rows(dtype: str, labels: str) -> Any:
    """Each row's loss, its weight (0 if ignored), and what the backward pass needs: the row's maximum and log of sum.

    args: losses (rows), weights (rows), stats (rows, 2), x, labels, class weights (or 0), rows, width, rows a
    chunk, distance of x's rows, of labels, of class weights (elements), ignored label, the bits of label
    smoothing as a float64.
    """
    size = ITEMSIZES[dtype]
    number = DTYPES[dtype]
    largest, sum_exp, total = row_max(dtype), exp_sum(dtype), block_sum(dtype)
    logarithm = sweep(log, [dtype], [dtype])

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        words = pointer(scratch, "int64")
        sums = pointer(scratch + SUMS, dtype)
        logs = pointer(scratch + LOGS, dtype)
        losses = pointer(args[0], dtype)
        row_weights = pointer(args[1], dtype)
        stats = pointer(args[2], dtype)
        given = pointer(args[4], labels)
        class_weights = pointer(args[5], dtype)
        width = args[7]
        smoothing = number(bits(args[13]))
        spread = smoothing / number(width)
        weight_sum = number(width)
        if args[5] != 0:
            weight_sum = number(0)
            for c in range(width):
                weight_sum += class_weights[c * args[11]]
        stop = min(args[6], last * args[8])
        for start in range(first * args[8], stop, BLOCK):
            block = min(BLOCK, stop - start)
            for r in range(block):
                place = args[3] + (start + r) * args[9] * size
                stats[2 * (start + r)] = largest(place, width)
                sums[r] = sum_exp(place, width, stats[2 * (start + r)], 0)
            aim_one(words, scratch + LOGS, scratch + SUMS)
            logarithm(scratch, 0, block)
            for r in range(block):
                row = start + r
                stats[2 * row + 1] = logs[r]
                label = given[row * args[10]]
                weight = number(0)
                loss = number(0)
                if label != args[12]:
                    place = args[3] + row * args[9] * size
                    x = pointer(place, dtype)
                    top = stats[2 * row]
                    weight = class_weights[label * args[11]] if args[5] != 0 else number(1)
                    loss = (number(1) - smoothing) * weight * (logs[r] - (x[label] - top))
                    if smoothing != 0:
                        # sum of w_c (-log p_c) = sum of w_c (log of sum + top - x_c)
                        if args[5] == 0:
                            loss += spread * (weight_sum * (logs[r] + top) - total(place, width))
                        else:
                            weighted = number(0)
                            for c in range(width):
                                weighted += class_weights[c * args[11]] * (logs[r] - (x[c] - top))
                            loss += spread * weighted
                losses[row] = loss
                row_weights[row] = weight

    return body


@kernel
def loss_total(dtype: str) -> Any:
    """The sum of the rows' losses or, divided by the sum of their weights, their mean. One chunk.

    args: loss, sum of weights, losses, weights, rows, mean (0 or 1).
    """
    size = ITEMSIZES[dtype]
    sum_block = block_sum(dtype)

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        levels = pointer(scratch + LEVELS, dtype)
        for k in range(2):
            rows = args[4]
            start = 0
            top = 0
            blocks = 0
            while True:
                block = min(1024, rows - start)
                total = sum_block(args[2 + k] + start * size, block)
                carry = blocks
                while carry & 1:
                    top -= 1
                    total = levels[top] + total
                    carry >>= 1
                levels[top] = total
                top += 1
                blocks += 1
                start += block
                if start >= rows:
                    break
            top -= 1
            total = levels[top]
            while top > 0:
                top -= 1
                total = levels[top] + total
            pointer(args[k], dtype)[0] = total
        if args[5] != 0:
            loss = pointer(args[0], dtype)
            loss[0] = loss[0] / pointer(args[1], dtype)[0]

    return body


@kernel
def loss_backward(dtype: str, labels: str) -> Any:
    """``dx = a softmax(x) - b w - c onehot(y)``.

    With the row's incoming gradient g (divided by the sum of weights for a mean): ``c = (1 - s) w_y g``,
    ``b = s g / C``, ``a = c + b sum(w)``; a row that is ignored gets 0.
    args: dx, dloss, x, labels, class weights (or 0), stats, sum of weights (or 0), rows, width, rows a chunk, distances
    of dx's rows, of dloss, of x's rows, of labels, of class weights (elements), ignored label, the bits of label
    smoothing as a float64.
    """
    size = ITEMSIZES[dtype]
    number = DTYPES[dtype]
    run_over = sweep(lambda x, w, top, total, a, b: exp((x - top) - total) * a - w * b, [dtype], [dtype, dtype], 4)
    clear = sweep(lambda zero: zero, [dtype], [], 1)

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        words = pointer(scratch, "int64")
        numbers = pointer(scratch + NUMBERS, dtype)
        ones = pointer(scratch + ONES, dtype)
        incoming = pointer(args[1], dtype)
        given = pointer(args[3], labels)
        class_weights = pointer(args[4], dtype)
        stats = pointer(args[5], dtype)
        width = args[8]
        smoothing = number(bits(args[16]))
        weight_sum = number(width)
        for k in range(64 // size):
            ones[k] = 1
        if args[4] != 0:
            weight_sum = number(0)
            for c in range(width):
                weight_sum += class_weights[c * args[14]]
        for row in range(first * args[9], min(args[7], last * args[9])):
            label = given[row * args[13]]
            target = args[0] + row * args[10] * size
            if label == args[15] or label < 0 or label >= width:
                numbers[0] = 0
                words[0], words[1] = target, 1
                clear(scratch, scratch + NUMBERS, width)
                continue
            g = incoming[row * args[11]]
            if args[6] != 0:
                g /= pointer(args[6], dtype)[0]
            picked = (number(1) - smoothing) * g
            if args[4] != 0:
                picked *= class_weights[label * args[14]]
            b = smoothing * g / number(width)
            numbers[0] = stats[2 * row]
            numbers[1] = stats[2 * row + 1]
            numbers[2] = picked + b * weight_sum
            numbers[3] = b
            weights = args[4] if args[4] != 0 else scratch + ONES
            aim(words, target, args[2] + row * args[12] * size, weights, 1 if args[4] != 0 else 0)
            run_over(scratch, scratch + NUMBERS, width)
            pointer(target, dtype)[label] -= picked

    return body
