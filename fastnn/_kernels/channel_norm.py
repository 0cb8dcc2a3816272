"""Batch, group and instance normalisation: channels of images by moments over space, samples or groups of channels.

A. An image is (samples N, space S, channels C). Either the channels lie side by side (`last`) or space does; samples
   may be any distance apart. Batch normalisation of images whose channels lie side by side sees one sample.
B. Moments. Space is cut into blocks. Within a block, which stays in the cache, a channel's mean is taken first and the
   squares of the distances from it afterwards; blocks are then combined, in their order and in float64, as Chan, Golub
   and LeVeque do ("Updating formulae and a pairwise algorithm for computing sample variances", 1979):
   ``mean = sum(n_b m_b) / n``, ``M2 = sum(M2_b + n_b (m_b - mean)**2)``. The second pass also sums the distances
   themselves, which says by how much a block's mean is wrong: m_b is corrected by it. Memory is read once.
C. Order. Where channels lie side by side, a block's rows are added in runs of 16, the runs one after the other; where
   space does, in 64 lanes (32 of float64). Blocks follow from S and C alone.
D. What is done with the elements takes a center, a factor, and so on of each channel (of each sample's channel, where
   samples have moments of their own): `apply`, whose forms are the table `FORMS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from numba.core import cgutils

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.functions import relu, relu_backward
from fastnn._kernels.jit import kernel
from fastnn._kernels.reduction import FOLDS, converted, total_of
from fastnn._kernels.row_norm import float64_at, within
from fastnn._kernels.softmax import load
from fastnn._kernels.vector import (
    I64,
    ITEMSIZES,
    Lanes,
    Value,
    added,
    constant,
    fma,
    fold,
    in_steps,
    loop,
    mask_of,
    select,
    sqrt,
    sweep_loop,
)

RUN = 16  # rows whose sum is taken before it is added to the others
WIDE = 8  # channels that are combined at once, in float64
INPUT = 5  # where `Blocks` finds its arguments
GATE = INPUT + 15  # where `products` finds scales and biases


class Blocks:
    """The blocks of an image, as args[5:] describes them.

    Samples, space, channels, rows a block, blocks a sample, items a chunk; then for each array the distance of samples,
    of places in space and of channels (elements). Results of blocks are (samples, blocks, channels).
    """

    def __init__(self, code: Code, args: Words, dtype: str) -> None:
        self.code, self.args, self.lanes = code, args, Lanes(code.builder, dtype)
        self.samples, self.space, self.channels, self.rows, self.blocks, self.group = (
            args[INPUT + k] for k in range(6)
        )

    def place(self, array: int, sample: Value, row: Value, channel: Value) -> Value:
        """The address of an element of args[array]; arrays count from the first input."""
        steps = INPUT + 6 + 3 * array
        elements = sample * self.args[steps] + row * self.args[steps + 1] + channel * self.args[steps + 2]
        return self.args[2 + array] + elements * self.lanes.itemsize

    def count(self, block: Value) -> Value:
        """Rows of a block."""
        return smaller(self.space - block * self.rows, self.rows)

    def result(self, array: int, sample: Value, block: Value, channel: Value) -> Value:
        """The address of a block's result."""
        return self.args[array] + ((sample * self.blocks + block) * self.channels + channel) * self.lanes.itemsize


def _sums_of_rows(
    code: Code, kinds: Sequence[Any], rows: Value, terms: Callable[[Value], Sequence[Value]]
) -> list[Value]:
    """The sums of ``terms(row)``, vectors of the given types, in runs."""
    builder = code.builder
    totals, runs = ([cgutils.alloca_once(builder, kind) for kind in kinds] for _ in range(2))

    def clear(places: Sequence[Any]) -> None:
        for place, kind in zip(places, kinds, strict=True):
            builder.store(constant(kind, 0), place)

    clear(totals)
    with code.range(0, (rows + (RUN - 1)) // RUN) as run:
        clear(runs)
        with code.range(run * RUN, smaller(run * RUN + RUN, rows)) as row:
            for place, term in zip(runs, terms(row), strict=True):
                builder.store(builder.fadd(builder.load(place), term.value), place)
        for total, place in zip(totals, runs, strict=True):
            builder.store(builder.fadd(builder.load(total), builder.load(place)), total)
    return [Value(builder, builder.load(total)) for total in totals]


def _over_channels(code: Code, lanes: Lanes, channels: Value, ways: int, body: Callable[..., None]) -> None:
    """Emit ``body(channel, offsets, mask)`` for tiles of `ways` vectors of channels, for vectors, for what is left."""
    counts = sorted({ways * lanes.count, lanes.count}, reverse=True)

    def tile(index: Any, mask: Any | None, count: int) -> None:
        body(Value(code.builder, index), range(0, count, lanes.count), mask)

    in_steps(code.builder, channels.value, counts, tile)


@kernel
def moments(dtype: str, last: bool) -> Any:
    """Means, and sums of the distances from them and of their squares, of each channel over each block.

    args: means, squares, x, distances, 0; see `Blocks`. An item is a block (`last`) or a sample's channel.
    """

    def emit(code: Code, args: Words, first: Value, last_chunk: Value, scratch: Value) -> None:
        own = Blocks(code, args, dtype)
        lanes = own.lanes

        def columns(item: Value) -> None:
            sample, block = item // own.blocks, item % own.blocks
            rows = own.count(block)
            number = converted(rows, dtype)
            step = args[INPUT + 7] * lanes.itemsize

            def tile(channel: Value, offsets: Sequence[int], mask: Any | None) -> None:
                base = own.place(0, sample, block * own.rows, channel)

                def at(row: Value) -> list[Value]:
                    return [load(lanes, base + row * step, I64(k), mask) for k in offsets]

                kinds = [lanes.kind] * len(offsets)
                means = [total / number.splat(lanes.count) for total in _sums_of_rows(code, kinds, rows, at)]

                def distances(row: Value) -> list[Value]:
                    found = [x - m for x, m in zip(at(row), means, strict=True)]
                    return found + [d * d for d in found]

                sums = _sums_of_rows(code, kinds * 2, rows, distances)
                for array, found in ((0, means), (3, sums[: len(offsets)]), (1, sums[len(offsets) :])):
                    place = own.result(array, sample, block, channel)
                    for k, value in zip(offsets, found, strict=True):
                        lanes.store(value, lanes.pointer(place.value, I64(k)), mask)

            _over_channels(code, lanes, own.channels, 2, tile)

        def line(item: Value) -> None:
            sample, channel = item // own.channels, item % own.channels
            with code.range(0, own.blocks) as block:
                rows = own.count(block)
                x = own.place(0, sample, block * own.rows, channel)
                mean = total_of(lanes, x, rows) / converted(rows, dtype)

                def distance(lanes: Lanes, index: Any, mask: Any | None) -> Value:
                    return within(mask, load(lanes, x, index, mask) - mean.splat(lanes.count))

                rest = fold(lanes, rows.value, 0.0, added, distance)
                squares = total_of(lanes, x, rows, FOLDS["deviations"], mean)
                for array, value in ((0, mean), (3, rest), (1, squares)):
                    code.builder.store(value.value, lanes.pointer(own.result(array, sample, block, channel).value))

        items = own.samples * (own.blocks if last else own.channels)
        with code.range(first * own.group, smaller(last_chunk * own.group, items)) as item:
            (columns if last else line)(item)

    return traced(emit)


def _gated(dy: Value, distance: Value, line: Sequence[Value]) -> Value:
    """What a relu after ``fma(distance, scale, bias)`` lets through; without a line, dy itself."""
    return relu_backward(dy, fma(distance, *line)) if line else dy


@kernel
def products(dtype: str, last: bool, gated: bool) -> Any:
    """Sums of dy and of ``dy (x - mean)`` of each channel over each block.

    args: sums of dy, of products, dy, x, means; see `Blocks`, whose last three words are the means' distances. Where dy
    is `gated`, that of a relu after ``fma(x - mean, scale, bias)``, scales and biases of the channels follow.
    """

    def emit(code: Code, args: Words, first: Value, last_chunk: Value, scratch: Value) -> None:
        own = Blocks(code, args, dtype)
        lanes = own.lanes

        def of_channel(channel: Value) -> list[Any]:
            """Pointers to a channel's scale and bias."""
            return [lanes.pointer(args[GATE + k].value, channel.value) for k in range(2)] if gated else []

        def store(found: Sequence[Value], sample: Value, block: Value, channel: Value, at: int, mask: Any) -> None:
            for array, value in enumerate(found):
                place = own.result(array, sample, block, channel)
                lanes.store(value, lanes.pointer(place.value, I64(at)), mask)

        def columns(item: Value) -> None:
            sample, block = item // own.blocks, item % own.blocks
            steps = [args[INPUT + 7 + 3 * k] * lanes.itemsize for k in range(2)]

            def tile(channel: Value, offsets: Sequence[int], mask: Any | None) -> None:
                dy, x = (own.place(k, sample, block * own.rows, channel) for k in range(2))
                center = own.place(2, sample, block * 0, channel)
                means = [load(lanes, center, I64(k), mask) for k in offsets]
                lines = [[lanes.load(p, mask) for p in of_channel(channel + k)] for k in offsets]

                def terms(row: Value) -> list[Value]:
                    found = []
                    for k, mean, line in zip(offsets, means, lines, strict=True):
                        d = load(lanes, x + row * steps[1], I64(k), mask) - mean
                        g = _gated(load(lanes, dy + row * steps[0], I64(k), mask), d, line)
                        found += [g, g * d]
                    return found

                sums = _sums_of_rows(code, [lanes.kind] * 2 * len(offsets), own.count(block), terms)
                for k, offset in enumerate(offsets):
                    store(sums[2 * k : 2 * k + 2], sample, block, channel, offset, mask)

            # two vectors, their sums and what gates them would not fit the registers of AVX2
            _over_channels(code, lanes, own.channels, 1 if gated else 2, tile)

        def line(item: Value) -> None:
            sample, channel = item // own.channels, item % own.channels
            center = lanes.pointer(own.place(2, sample, item * 0, channel).value)
            numbers = [Value(code.builder, code.builder.load(p)) for p in (center, *of_channel(channel))]
            with code.range(0, own.blocks) as block:
                rows = own.count(block)
                dy, x = (own.place(k, sample, block * own.rows, channel) for k in range(2))

                def both(lanes: Lanes, index: Any, mask: Any | None) -> tuple[Value, Value]:
                    mean, *line = (number.splat(lanes.count) for number in numbers)
                    d = load(lanes, x, index, mask) - mean
                    return _gated(load(lanes, dy, index, mask), d, line), d

                def product(lanes: Lanes, index: Any, mask: Any | None) -> Value:
                    g, d = both(lanes, index, mask)
                    return within(mask, g * d)

                def own_gradient(lanes: Lanes, index: Any, mask: Any | None) -> Value:
                    return within(mask, both(lanes, index, mask)[0])

                total = fold(lanes, rows.value, 0.0, added, own_gradient) if gated else total_of(lanes, dy, rows)
                for array, value in enumerate((total, fold(lanes, rows.value, 0.0, added, product))):
                    code.builder.store(value.value, lanes.pointer(own.result(array, sample, block, channel).value))

        items = own.samples * (own.blocks if last else own.channels)
        with code.range(first * own.group, smaller(last_chunk * own.group, items)) as item:
            (columns if last else line)(item)

    return traced(emit)


def _wide(code: Code, dtype: str, first: Value, last: Value, body: Callable[..., None]) -> None:
    """Emit ``body(channel, read, write)`` for vectors of channels in float64; `read` and `write` take addresses."""
    lanes = Lanes(code.builder, dtype, WIDE)
    with loop(code.builder, first.value, last.value, WIDE) as index:
        channel = Value(code.builder, index)
        mask = mask_of(code.builder, (last - channel).value, WIDE)

        def read(address: Value, step: Value | int = 1) -> Value:
            found = lanes.load(lanes.pointer((address + channel * step * lanes.itemsize).value), mask)
            return found.converted("float64")

        def write(address: Value, value: Value) -> None:
            place = lanes.pointer((address + channel * lanes.itemsize).value)
            lanes.store(value.converted(dtype), place, mask)

        body(read, write)


def _channels_of(args: Words, at: int, first: Value, last: Value) -> tuple[Value, Value]:
    """The channels of chunks: args[at:] are channels and channels a chunk."""
    return first * args[at + 1], smaller(last * args[at + 1], args[at])


def _sum_of_blocks(code: Code, blocks: Value, term: Callable[[Value], Value]) -> Value:
    """The sum of vectors of float64, one block after the other."""
    lanes = Lanes(code.builder, "float64", WIDE)
    total = code.local(lanes.zero())
    with code.range(0, blocks) as block:
        total.now = total.now + term(block)
    return total.now


def _optional(code: Code, given: Value, read: Callable[[], Value], otherwise: float) -> Value:
    """What is read from an argument, or a number where it is 0."""
    lanes = Lanes(code.builder, "float64", WIDE)
    found = code.local(Value(code.builder, constant(lanes.kind, otherwise)))
    with code.when(given.compare("!=", 0)):
        found.now = read()
    return found.now


@kernel
def pooled(dtype: str) -> Any:
    """Moments of each channel over all blocks of all samples.

    args: means, variances (of n - 1), rstd, scales (rstd times weight), blocks' means, distances, squares, weight (or
    0), address of eps, channels, channels a chunk, samples, space, rows a block, blocks a sample.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        channels, space, rows, blocks = args[9], args[12], args[13], args[14]
        size = ITEMSIZES[dtype]
        eps = float64_at(code, args[8], "float64").splat(WIDE)
        every = args[11] * blocks
        number = converted(args[11] * space, "float64")

        def count(block: Value) -> Value:
            return converted(smaller(space - block % blocks * rows, rows), "float64").splat(WIDE)

        def body(read: Callable[..., Value], write: Callable[..., None]) -> None:
            def of(block: Value, array: int) -> Value:
                return read(args[array] + block * channels * size)

            mean = _sum_of_blocks(code, every, lambda b: fma(count(b), of(b, 4), of(b, 5))) / number.splat(WIDE)

            def square(block: Value) -> Value:
                rest = of(block, 5)
                d = of(block, 4) - mean
                # with m the rounded mean of n elements: sum (x - mean)**2 = sum (x - m)**2 + 2 d sum (x - m) + n d**2
                return fma(fma(count(block), d, rest * 2.0), d, of(block, 6))

            squares = _sum_of_blocks(code, every, square)
            rstd = 1.0 / sqrt(squares / number.splat(WIDE) + eps)
            write(args[0], mean)
            write(args[1], squares / (number - 1.0).splat(WIDE))
            write(args[2], rstd)
            write(args[3], rstd * _optional(code, args[7], lambda: read(args[7]), 1.0))

        _wide(code, dtype, *_channels_of(args, 9, first, last), body)

    return traced(emit)


@kernel
def scales(dtype: str) -> Any:
    """``1 / sqrt(variance + eps)``, and that times the weight. args: rstd, scales, variance, weight (or 0), address of
    eps, channels, channels a chunk.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        eps = float64_at(code, args[4], "float64").splat(WIDE)

        def body(read: Callable[..., Value], write: Callable[..., None]) -> None:
            rstd = 1.0 / sqrt(read(args[2]) + eps)
            write(args[0], rstd)
            write(args[1], rstd * _optional(code, args[3], lambda: read(args[3]), 1.0))

        _wide(code, dtype, *_channels_of(args, 5, first, last), body)

    return traced(emit)


@kernel
def channel_sums(dtype: str) -> Any:
    """Gradients of bias and weight: sums over samples and blocks of dy, and of ``dy (x - mean) rstd``.

    args: sums of dy, of products, blocks' sums of dy, of products, rstd, channels, channels a chunk, samples, blocks a
    sample, distance of samples' rstd (elements).
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        channels, blocks, size = args[5], args[8], ITEMSIZES[dtype]
        every = args[7] * blocks

        def body(read: Callable[..., Value], write: Callable[..., None]) -> None:
            write(args[0], _sum_of_blocks(code, every, lambda b: read(args[2] + b * channels * size)))

            def product(block: Value) -> Value:
                rstd = read(args[4] + block // blocks * args[9] * size)
                return read(args[3] + block * channels * size) * rstd

            write(args[1], _sum_of_blocks(code, every, product))

        _wide(code, dtype, *_channels_of(args, 5, first, last), body)

    return traced(emit)


@kernel
def pooled_coefficients(dtype: str) -> Any:
    """What `apply` needs for ``dx = a dy + b (x - mean) + c`` where a channel has one mean for all samples.

    args: a, b, c, sums of dy, of products, rstd, weight (or 0), gradient of the means (or 0), of the variances (or 0),
    channels, channels a chunk, elements a channel.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        number = converted(args[11], "float64")

        def body(read: Callable[..., Value], write: Callable[..., None]) -> None:
            def given(array: int, otherwise: float = 0.0) -> Value:
                return _optional(code, args[array], lambda: read(args[array]), otherwise)

            rstd, n = read(args[5]), number.splat(WIDE)
            scale = rstd * given(6, 1.0)
            dmean, dvariance = (given(k) for k in (7, 8))
            write(args[0], scale)
            spread = dvariance * 2.0 / (number - 1.0).splat(WIDE)
            # one value has no variance: without a gradient for it nothing is to be divided by zero
            spread = select(dvariance.compare("==", 0.0), dvariance, spread)
            write(args[1], spread - scale * rstd * read(args[4]) / n)
            write(args[2], (dmean - scale * read(args[3])) / n)

        _wide(code, dtype, *_channels_of(args, 9, first, last), body)

    return traced(emit)


class Group(NamedTuple):
    """A sample's group of channels: scalars of float64, read and written by (array, block or sample, channel)."""

    code: Code
    lanes: Lanes
    args: Words
    sample: Value
    channel: Value  # the first
    width: Value  # channels of the group
    channels: Value  # of all groups

    def place(self, array: int, row: Value, channel: Value) -> Any:
        """Pointer to an element of args[array], (rows, channels)."""
        return self.lanes.pointer((self.args[array] + (row * self.channels + channel) * self.lanes.itemsize).value)

    def read(self, array: int, row: Value, channel: Value) -> Value:
        """An element in float64."""
        return Value(self.code.builder, self.code.builder.load(self.place(array, row, channel))).converted("float64")

    def write(self, array: int, channel: Value, value: Value) -> None:
        """Set an element of the sample's row."""
        self.code.builder.store(value.converted(self.lanes.dtype).value, self.place(array, self.sample, channel))

    def weight(self, array: int, channel: Value) -> Value:
        """The channel's weight, or 1 where there are none."""
        found = self.code.local(Value(self.code.builder, constant(Lanes(self.code.builder, "float64").element, 1.0)))
        with self.code.when(self.args[array].compare("!=", 0)):
            found.now = self.read(array, channel * 0, channel)
        return found.now

    def sum(self, blocks: Value, term: Callable[[Value, Value], Value]) -> Value:
        """The sum of ``term(block, channel)`` over the group's channels, block by block."""
        total = self.code.local(Value(self.code.builder, Lanes(self.code.builder, "float64").element(0.0)))
        with self.code.range(0, blocks) as block, self.code.range(0, self.width) as k:
            total.now = total.now + term(block, self.channel + k)
        return total.now


def _groups(code: Code, args: Words, dtype: str, first: Value, last: Value, body: Callable[[Group], None]) -> None:
    """Emit ``body(group)``: args[8:] are samples, groups, channels a group, groups a chunk."""
    groups, count = args[9], args[10]
    with code.range(first * args[11], smaller(last * args[11], args[8] * groups)) as item:
        sample, group = item // groups, item % groups
        body(Group(code, Lanes(code.builder, dtype), args, sample, group * count, count, groups * count))


@kernel
def grouped(dtype: str) -> Any:
    """Moments of each sample's groups of channels, for each channel of a group.

    args: means, rstd, scales (rstd times weight), blocks' means, their squares, weight (or 0), address of eps,
    blocks' distances,
    samples, groups, channels a group, groups a chunk, space, rows a block, blocks a sample.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        space, rows, blocks = args[12], args[13], args[14]
        eps = float64_at(code, args[6], "float64")

        def count(block: Value) -> Value:
            return converted(smaller(space - block * rows, rows), "float64")

        def body(group: Group) -> None:
            number = converted(space * group.width, "float64")

            def of(array: int, block: Value, channel: Value) -> Value:
                return group.read(array, group.sample * blocks + block, channel)

            mean = group.sum(blocks, lambda b, c: fma(count(b), of(3, b, c), of(7, b, c))) / number

            def square(block: Value, channel: Value) -> Value:
                d = of(3, block, channel) - mean
                return fma(
                    fma(count(block), d, of(7, block, channel) * 2.0), d, of(4, block, channel)
                )  # as in `pooled`

            rstd = 1.0 / sqrt(group.sum(blocks, square) / number + eps)
            with code.range(group.channel, group.channel + group.width) as channel:
                group.write(0, channel, mean)
                group.write(1, channel, rstd)
                group.write(2, channel, rstd * group.weight(5, channel))

        _groups(code, args, dtype, first, last, body)

    return traced(emit)


@kernel
def grouped_coefficients(dtype: str) -> Any:
    """What `apply` needs for ``dx = a dy + b (x - mean) + c`` where a sample's group of channels has a mean.

    args: a, b, c, blocks' sums of dy, of products, rstd, weight (or 0), 0, samples, groups, channels a group, groups a
    chunk, space, blocks a sample.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        blocks = args[13]

        def body(group: Group) -> None:
            number = converted(args[12] * group.width, "float64")
            rstd = group.read(5, group.sample, group.channel)

            def weighted(array: int) -> Value:
                def term(block: Value, channel: Value) -> Value:
                    return group.weight(6, channel) * group.read(array, group.sample * blocks + block, channel)

                return group.sum(blocks, term)

            level, along = -rstd * weighted(3) / number, -rstd * rstd * rstd * weighted(4) / number
            with code.range(group.channel, group.channel + group.width) as channel:
                group.write(0, channel, rstd * group.weight(6, channel))
                group.write(1, channel, along)
                group.write(2, channel, level)

        _groups(code, args, dtype, first, last, body)

    return traced(emit)


class Form(NamedTuple):
    """What is done with each element.

    Attributes
    ----------
    streams : arrays of elements. function : of an element of each, then of the channel's numbers.
    """

    streams: int
    numbers: int
    function: Callable[..., Value]


def _backward_relu(dy: Value, x: Value, mean: Value, a: Value, b: Value, c: Value, scale: Value, bias: Value) -> Value:
    d = x - mean
    return fma(a, _gated(dy, d, (scale, bias)), fma(b, d, c))


FORMS = {
    "centered": Form(1, 2, lambda x, mean, scale: (x - mean) * scale),
    "affine": Form(1, 3, lambda x, mean, scale, bias: fma(x - mean, scale, bias)),
    "affine_relu": Form(1, 3, lambda x, mean, scale, bias: relu(fma(x - mean, scale, bias))),
    "scaled": Form(1, 1, lambda x, scale: x * scale),
    "backward": Form(2, 4, lambda dy, x, mean, a, b, c: fma(a, dy, fma(b, x - mean, c))),
    "backward_relu": Form(2, 6, _backward_relu),
}


TILES = 1 << 14  # bytes of scratch for each array of numbers


class Elements:
    """What is done by `apply`, as its arguments describe it.

    Result, arrays of elements, arrays of numbers; samples, lines a sample, elements a line, lines a chunk, lines at
    once; then for each array of numbers the distance of samples (elements). A line is a place in space or a channel,
    and lines lie side by side.
    """

    def __init__(self, code: Code, args: Words, dtype: str, form: Form) -> None:
        self.code, self.form, self.dtype, self.size = code, form, dtype, ITEMSIZES[dtype]
        first = 1 + form.streams
        self.streams = [args[k] for k in range(first)]
        numbers = range(first, first + form.numbers)
        self.samples, self.lines, self.length, self.group, self.at_once = (args[numbers.stop + k] for k in range(5))
        self.numbers = [(args[k], args[k + form.numbers + 5]) for k in numbers]

    def sweep(self, start: Value, length: Value, rows: Sequence[Value], given: Sequence[Value]) -> None:
        """Evaluate elements from number `start` on, with rows of numbers or a number for all of them."""
        places = [array + start * self.size for array in self.streams] + list(rows)
        entry = [p.value for p in places] + [self.code.number(1).value] * len(places)
        dtypes = [self.dtype] * len(places)
        sweep_loop(self.code.builder, self.form.function, dtypes, 1, entry, given, length.value)

    def repeated(self, source: Value, target: Value) -> None:
        """Copy a line's numbers as often as lines are taken at once."""
        have, whole = self.code.local(self.length * self.size), self.length * self.at_once * self.size
        self.code.copy(target, source, have.now)
        with self.code.while_(lambda: have.now.compare("<", whole)):
            more = smaller(have.now, whole - have.now)
            self.code.copy(target + have.now, target, more)
            have.now = have.now + more


@kernel
def apply(dtype: str, last: bool, form: str) -> Any:
    """A form of all elements; args: see `Elements`.

    Where channels lie side by side (`last`), some lines are taken at once, with their numbers repeated in scratch:
    lines of a few channels would leave most of a vector empty.
    """

    def emit(code: Code, args: Words, first: Value, last_chunk: Value, scratch: Value) -> None:
        own = Elements(code, args, dtype, FORMS[form])
        lanes = Lanes(code.builder, dtype)
        start = code.local(first * own.group)
        stop = smaller(last_chunk * own.group, own.samples * own.lines)

        def of(array: Value, step: Value, sample: Value) -> Value:
            return array + sample * step * own.size

        def lines_of_channels() -> None:
            sample = start.now // own.lines
            end = smaller(stop, (sample + 1) * own.lines)
            rows = []
            for k, (array, step) in enumerate(own.numbers):
                row = code.local(of(array, step, sample))
                with code.when(own.at_once.compare(">", 1)):
                    own.repeated(row.now, scratch + k * TILES)
                    row.now = scratch + k * TILES
                rows.append(row.now)
            with code.while_(lambda: start.now.compare("<", end)):
                count = smaller(end - start.now, own.at_once)
                own.sweep(start.now * own.length, count * own.length, rows, [])
                start.now = start.now + count

        def line_of_space() -> None:
            sample, line = start.now // own.lines, start.now % own.lines
            places = [lanes.pointer(of(array, step, sample).value, line.value) for array, step in own.numbers]
            own.sweep(
                start.now * own.length, own.length, [], [Value(code.builder, code.builder.load(p)) for p in places]
            )
            start.now = start.now + 1

        with code.while_(lambda: start.now.compare("<", stop)):
            (lines_of_channels if last else line_of_space)()

    return traced(emit)
