"""Convolutions with one channel a group: every channel of an image meets taps of its own.

A. Images are (samples, rows, columns, channels), weights (rows, columns, channels), channels side by side: a vector
   holds neighbouring channels.
B. Columns come in tiles: each vector of the source is loaded once and added to all columns of the tile that it meets.
   A tile at an edge reads a pixel of zeros in place of columns that do not exist, and stores only what does; rows
   that do not exist are left out. So nothing is copied to make room for the padding.
C. An element is one chain of FMAs over the taps in order, in any tile.
D. Forward, a place o meets source ``stride * o - padding + dilation * tap``. Transposed, as in the gradient of the
   input, it meets the sources s with ``stride * s - padding + dilation * tap == o``.
E. The gradient of the weight sums over the places of a chunk, in order; partial sums of chunks are combined elsewhere.

Extents and strides of arrays are run-time arguments; what belongs to the kernel is known when it is compiled.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from llvmlite import ir

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.convolution.columns import TILE_SUMMED, Columns
from fastnn._kernels.jit import kernel
from fastnn._kernels.vector import I32, ITEMSIZES, Lanes, Value, call, fma, mask_of, select

CACHE_LINE = 64
UNROLLED = 64  # taps up to which a tile's rows of the kernel are no loop


class Word(IntEnum):
    """Arguments of both kernels. Distances are in bytes; the target's pixels, or the partial sums, lie densely."""

    TARGET = 0  # or partial sums (chunks, taps, channels rounded up to vectors)
    SOURCE = 1
    WEIGHT = 2  # or what the output got, dense
    BIAS = 3  # address or 0
    ROWS = 4  # of the target (or of the output)
    COLUMNS = 5
    SOURCE_ROWS = 6
    SOURCE_COLUMNS = 7
    CHANNELS = 8
    STRIDE = 9  # along rows, as the next two
    DILATION = 10
    PADDING = 11
    LEFT = 12  # padding of columns
    SOURCE_SAMPLE = 13
    SOURCE_ROW = 14
    SOURCE_COLUMN = 15
    CHUNK = 16  # rows of a chunk
    EVERY = 17  # rows of all samples


class _Rows(NamedTuple):
    """The rows that a row meets: `number` taps from `tap` on, each `tap_step`, and at which sources."""

    tap: Value
    number: Value
    source: Value
    tap_step: Value
    source_step: Value


def _common_divisor(code: Code, x: Value, y: Value) -> Value:
    """Euclid's algorithm."""
    a, b = code.local(x), code.local(y)
    with code.while_(lambda: b.now.compare("!=", 0)):
        rest = a.now % b.now
        a.now, b.now = b.now, rest
    return a.now


class _Image:
    """What both kernels know of an image and of its rows."""

    def __init__(self, code: Code, args: Words, dtype: str, width: int, rows: int, columns: Columns) -> None:
        self.code, self.args, self.taps, self.columns = code, args, rows, columns
        self.size = ITEMSIZES[dtype]
        self.lanes = Lanes(code.builder, dtype, width // self.size)
        self.pixel = args[Word.CHANNELS] * self.size

    def at(self, address: Value, mask: Any | None = None) -> Value:
        """The vector at an address."""
        return self.lanes.load(self.lanes.pointer(address.value), mask)

    def store(self, value: Value, address: Value, mask: Any | None = None) -> None:
        """Write a vector."""
        self.lanes.store(value, self.lanes.pointer(address.value), mask)

    def prefetch(self, address: Value) -> None:
        """Ask for the cache line at an address, any."""
        place = self.lanes.pointer(address.value)
        call(self.code.builder, "llvm.prefetch.p0", ir.VoidType(), [place, I32(0), I32(3), I32(1)])

    def rows(self, chunk: Value, stop: Value, body: Callable[[Value, Value, _Rows], None]) -> None:
        """Emit ``body(row, address of the source's sample, rows that it meets)`` for the rows of some chunks."""
        code, args = self.code, self.args
        with code.range(chunk * args[Word.CHUNK], smaller(stop * args[Word.CHUNK], args[Word.EVERY])) as row:
            sample, place = row // args[Word.ROWS], row % args[Word.ROWS]
            body(row, args[Word.SOURCE] + sample * args[Word.SOURCE_SAMPLE], self._met(place))

    def _met(self, place: Value) -> _Rows:
        """The rows of the source that a row of the target meets."""
        code, args = self.code, self.args
        stride, dilation, padding = (args[w] for w in (Word.STRIDE, Word.DILATION, Word.PADDING))
        tap, count, source = code.local(0), code.local(0), code.local(0)
        with code.range(0, self.taps) as t:
            if self.columns.transposed:
                reached = place + padding - t * dilation
                at, exists = reached // stride, (reached % stride).compare("==", 0) & reached.compare(">=", 0)
            else:
                at = place * stride - padding + t * dilation
                exists = at.compare(">=", 0)
            with code.when(exists & at.compare("<", args[Word.SOURCE_ROWS])):
                with code.when(count.now.compare("==", 0)):
                    tap.now, source.now = t, at
                count.now = count.now + 1
        if not self.columns.transposed:
            return _Rows(tap.now, count.now, source.now, code.number(1), dilation)
        common = _common_divisor(code, stride, dilation)
        return _Rows(tap.now, count.now, source.now, stride // common, code.number(0) - dilation // common)

    def tiles(self, body: Callable[[Value, Value, bool], None]) -> None:
        """Emit ``body(first column, source, edge)`` for tiles at an edge and for others.

        The source is the column from which `Columns` counts.
        """
        code, args, known = self.code, self.args, self.columns
        # tiles of a transposed convolution begin where the first tap meets the source
        before = args[Word.LEFT] % known.stride if known.transposed else code.number(0)
        column = code.local(code.number(0) - before)
        with code.while_(lambda: column.now.compare("<", args[Word.COLUMNS])):
            first = column.now
            if known.transposed:
                source = (first + args[Word.LEFT]) // known.stride
            else:
                source = first * known.stride - args[Word.LEFT]
            exists = first.compare(">=", 0) & (first + known.together).compare("<=", args[Word.COLUMNS])
            for place in (min(known.sources()), max(known.sources())):
                exists = exists & self.meets(source + place)
            with code.builder.if_else(exists.value) as (inside, edge):
                with inside:
                    body(first, source, False)
                with edge:
                    body(first, source, True)
            column.now = first + known.together

    def meets(self, source: Value) -> Value:
        """Whether a column of the source exists."""
        return source.compare_unsigned("<", self.args[Word.SOURCE_COLUMNS])

    def zeros(self, scratch: Value) -> None:
        """Clear a pixel in scratch."""
        with self.code.range(0, (self.args[Word.CHANNELS] + (self.lanes.count - 1)) // self.lanes.count) as block:
            self.store(self.lanes.zero(), scratch + block * (self.lanes.count * self.size))

    def places(
        self, row: Value, source: Value, step: Value, scratch: Value, edge: bool
    ) -> dict[int, tuple[Value, Value]]:
        """Where the source columns of a tile lie, and the distance of the next row; zeros where they do not exist."""
        found = {}
        for place in self.columns.sources():
            at = row + (source + place) * self.args[Word.SOURCE_COLUMN]
            if edge:
                meets = self.meets(source + place)
                found[place] = select(meets, at, scratch), select(meets, step, 0)
            else:
                found[place] = at, step
        return found


@kernel
def correlate(dtype: str, width: int, rows: int, taps: int, stride: int, dilation: int, transposed: bool) -> Any:
    """The sums over taps, plus a bias; see `Word`.

    The kernel has `rows` x `taps` taps; `stride` and `dilation` are along columns. Channels fill at least one vector.
    """
    known = Columns(taps, stride, dilation, transposed)

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        own = _Image(code, args, dtype, width, rows, known)
        lanes, channels = own.lanes, args[Word.CHANNELS]
        weight_row = own.pixel * taps

        def over_channels(body: Callable[[Value], None]) -> None:
            """Emit ``body(offset)`` for each vector of channels, the last of which overlaps the one before."""
            with code.range(0, (channels + (lanes.count - 1)) // lanes.count) as block:
                body(smaller(block * lanes.count, channels - lanes.count) * own.size)

        def finished(sums: Sequence[Value], target: Value, channel: Value, column: Value | None) -> None:
            """Store the columns of a tile; at an edge, whose first column is given, those that exist."""
            totals = [code.local(value) for value in sums]
            with code.when(args[Word.BIAS].compare("!=", 0)):
                bias = own.at(args[Word.BIAS] + channel)
                for total in totals:
                    total.now = total.now + bias
            for k, total in enumerate(totals):
                if column is None:
                    own.store(total.now, target + own.pixel * k)
                else:
                    with code.when((column + k).compare_unsigned("<", args[Word.COLUMNS])):
                        own.store(total.now, target + own.pixel * k)

        def row(number: Value, sample: Value, met: _Rows) -> None:
            target_row = args[Word.TARGET] + number * args[Word.COLUMNS] * own.pixel
            source_row = sample + met.source * args[Word.SOURCE_ROW]
            weights, weights_step = args[Word.WEIGHT] + met.tap * weight_row, weight_row * met.tap_step

            def added(sums: list[Value], places: Mapping[int, Value], weight: Value) -> list[Value]:
                """A tile's sums with the taps of one row of the kernel."""
                factors = [own.at(weight + own.pixel * tap) for tap in range(taps)]
                for source, meetings in known.sources().items():
                    x = own.at(places[source])
                    for column, tap in meetings:
                        sums[column] = fma(x, factors[tap], sums[column])
                return sums

            def prefetch(source: Value, channel: Value) -> None:
                """Ask for what the next row's tile meets beyond this row's: the first level does not hold a row."""
                along, down = (known.together // stride, 1) if transposed else (known.together * stride, stride)
                with code.when((channel & (CACHE_LINE - 1)).compare("==", 0)):
                    highest = code.number(0) if transposed else met.source_step * (rows - 1)
                    for i, k in itertools.product(range(down), range(along)):
                        row = source_row + args[Word.SOURCE_ROW] * (highest + (i + 1))
                        own.prefetch(row + (source + k) * args[Word.SOURCE_COLUMN] + channel)

            def tile(column: Value, source: Value, edge: bool) -> None:
                target = target_row + column * own.pixel
                places = own.places(source_row, source, args[Word.SOURCE_ROW] * met.source_step, scratch, edge)

                def all_rows(channel: Value) -> None:
                    if not edge:
                        prefetch(source, channel)
                    sums = [lanes.zero()] * known.together
                    for i in range(rows):
                        at = {s: first + step * i + channel for s, (first, step) in places.items()}
                        sums = added(sums, at, weights + weights_step * i + channel)
                    finished(sums, target + channel, channel, column if edge else None)

                def some_rows(channel: Value) -> None:
                    totals = [code.local(lanes.zero()) for _ in range(known.together)]
                    with code.range(0, met.number) as i:
                        at = {s: first + step * i + channel for s, (first, step) in places.items()}
                        sums = added([t.now for t in totals], at, weights + weights_step * i + channel)
                        for total, value in zip(totals, sums, strict=True):
                            total.now = value
                    finished([t.now for t in totals], target + channel, channel, column if edge else None)

                if rows * taps > UNROLLED:
                    over_channels(some_rows)
                    return
                with code.builder.if_else(met.number.compare("==", rows).value) as (every, some):
                    with every:
                        over_channels(all_rows)
                    with some:
                        over_channels(some_rows)

            own.tiles(tile)

        own.zeros(scratch)
        own.rows(first, last, row)

    return traced(emit)


@kernel
def weight_gradient(dtype: str, width: int, rows: int, taps: int, stride: int, dilation: int) -> Any:
    """For each tap, the sums over a chunk's places of source times what the output got; see `correlate`."""
    known = Columns(taps, stride, dilation, transposed=False, tile=TILE_SUMMED)

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        own = _Image(code, args, dtype, width, rows, known)
        lanes, channels = own.lanes, args[Word.CHANNELS]
        blocks = (channels + (lanes.count - 1)) // lanes.count
        tap_size = blocks * width  # of the partial sums
        every = blocks * rows * taps

        def over_channels(body: Callable[[Value, Any | None], None]) -> None:
            """Emit ``body(offset, mask)`` for each vector of channels."""
            whole = channels // lanes.count
            with code.range(0, whole) as block:
                body(block * width, None)
            rest = channels - whole * lanes.count
            with code.when(rest.compare("!=", 0)):
                body(whole * width, mask_of(code.builder, rest.value, lanes.count))

        def chunk(number: Value) -> None:
            partial = args[Word.TARGET] + number * every * width
            with code.range(0, every) as i:
                own.store(lanes.zero(), partial + i * width)

            def row(number: Value, sample: Value, met: _Rows) -> None:
                got_row = args[Word.WEIGHT] + number * args[Word.COLUMNS] * own.pixel
                with code.range(0, met.number) as i:
                    source_row = sample + (met.source + i * met.source_step) * args[Word.SOURCE_ROW]
                    sums = partial + (met.tap + i) * tap_size * taps
                    own.tiles(lambda column, source, edge: tile(got_row, source_row, sums, column, source, edge))

            own.rows(number, number + 1, row)

        def tile(
            got_row: Value, source_row: Value, sums_at: Value, column: Value, source: Value, edge: bool
        ) -> None:  # fmt: skip
            """Add a tile's places to the sums of one row of taps."""
            places = own.places(source_row, source, code.number(0), scratch, edge)
            got = got_row + column * own.pixel

            def each(channel: Value, mask: Any | None) -> None:
                addresses = [sums_at + tap_size * tap + channel for tap in range(taps)]
                sums = [own.at(address) for address in addresses]
                if edge:
                    totals = [code.local(value) for value in sums]
                    for k in range(known.together):
                        with code.when((column + k).compare("<", args[Word.COLUMNS])):
                            factor = own.at(got + own.pixel * k + channel, mask)
                            for tap, place in known.met(k):
                                totals[tap].now = fma(own.at(places[place][0] + channel, mask), factor, totals[tap].now)
                    sums = [total.now for total in totals]
                else:
                    factors = [own.at(got + own.pixel * k + channel, mask) for k in range(known.together)]
                    for place, meetings in known.sources().items():
                        x = own.at(places[place][0] + channel, mask)
                        for k, tap in meetings:
                            sums[tap] = fma(x, factors[k], sums[tap])
                for value, address in zip(sums, addresses, strict=True):
                    own.store(value, address)

            over_channels(each)

        own.zeros(scratch)
        with code.range(first, last) as number:
            chunk(number)

    return traced(emit)
