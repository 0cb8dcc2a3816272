"""Direct convolutions by the register tile of `tile.py`: nothing is unfolded in memory.

A. Images are (samples, rows, columns, channels), channels side by side. A chunk copies the part of the source that it
   meets into a strip in scratch, with zeros around the image, some channels at a time: the strip stays in the second
   cache, and all that a tile reads lies at (offset of its place) + (offset of tap and channel).
B. `gather`: every place of the target is a sum over taps and channels. Forward, all places meet the same taps. In the
   gradient of the input with a stride, places fall into classes by their remainder, each with taps of its own; a class
   is written straight to where its places lie.
C. `accumulate`: each element of the gradient of a weight is a sum over places, in parts that follow from the shape;
   strips of places come one after the other, and the tile's rows are taps and channels.
D. An element is one chain of FMAs: over blocks of channels, taps and channels of a block, or over the places of a part.
"""

from __future__ import annotations

from typing import Any

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.convolution.layout import CLASS_WORDS, STRIP_AT, Accumulate, Class, Gather, Pack
from fastnn._kernels.convolution.sweep import VECTORS, Sweep, up
from fastnn._kernels.jit import kernel
from fastnn._kernels.matmul.pack import Packer
from fastnn._kernels.vector import ITEMSIZES, Value, select


@kernel
def gather(dtype: str, width: int, registers: int) -> Any:
    """Sums over taps and channels at every place of the target; see `layout.Gather`."""

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        own = Sweep(code, dtype, width, registers, scratch)
        size, strip = own.size, scratch + STRIP_AT
        memory = own.memory(7)

        def block(
            n0: Value, n1: Value, y0: Value, y1: Value, x0: Value, x1: Value, o0: Value, group: Value
        ) -> None:  # fmt: skip
            """Some outputs at some places of the target, of some samples."""
            channels, every = args[Gather.CHANNELS], args[Gather.OUTPUTS]
            outputs = smaller(every - o0, args[Gather.BLOCK_OUTPUTS])
            source = args[Gather.SOURCE] + group * channels * size
            strip_rows = (y1 - y0 - 1) * args[Gather.STEP_ROW] + args[Gather.SPAN_ROW]
            strip_columns = (x1 - x0 - 1) * args[Gather.STEP_COLUMN] + args[Gather.SPAN_COLUMN]
            low_row = y0 * args[Gather.STEP_ROW] + args[Gather.LOW_ROW]
            low_column = x0 * args[Gather.STEP_COLUMN] + args[Gather.LOW_COLUMN]
            bias = args[Gather.BIAS]
            bias = select(bias.compare("==", 0), bias, bias + (group * up(every, own.panel) + o0) * size)
            c0 = code.local(0)
            with code.while_(lambda: c0.now.compare("<", channels)):
                some = smaller(channels - c0.now, args[Gather.BLOCK])
                pixel = some * size
                with code.range(n0, n1) as n:
                    own.strip(
                        strip + (n - n0) * strip_rows * strip_columns * pixel,
                        source + n * args[Gather.SOURCE_SAMPLE] + c0.now * size,
                        (args[Gather.SOURCE_ROWS], args[Gather.SOURCE_COLUMNS]),
                        (args[Gather.SOURCE_ROW], args[Gather.SOURCE_COLUMN]),
                        (low_row, low_column),
                        (strip_rows, strip_columns),
                        some,
                    )
                finished = (c0.now + some).compare("==", channels)
                with code.range(0, args[Gather.COUNT]) as number:
                    one = [args[number * CLASS_WORDS + (Gather.CLASSES + word)] for word in Class]
                    stop_row, stop_column = smaller(y1, one[Class.ROWS]), smaller(x1, one[Class.COLUMNS])
                    with code.when(y0.compare("<", stop_row) & x0.compare("<", stop_column)):
                        rows, columns, step_row = stop_row - y0, stop_column - x0, strip_columns * pixel
                        to_row = args[Gather.SPREAD_ROW] * args[Gather.TARGET_ROW]
                        to_column = args[Gather.SPREAD_COLUMN] * args[Gather.TARGET_COLUMN]
                        shape = [number, n1 - n0, rows, columns, strip_rows, strip_columns, some]
                        with code.when(own.changed(memory, shape)):
                            own.places(
                                own.steps, one[Class.TAP_ROWS], one[Class.TAP_COLUMNS],
                                args[Gather.TAP_ROW] * step_row, args[Gather.TAP_COLUMN] * pixel, some, size,
                            )  # fmt: skip
                            own.places(
                                own.a_rows, n1 - n0, rows, strip_rows * step_row, args[Gather.STEP_ROW] * step_row,
                                columns, args[Gather.STEP_COLUMN] * pixel,
                            )  # fmt: skip
                            own.places(
                                own.c_rows, n1 - n0, rows, args[Gather.TARGET_SAMPLE], to_row, columns, to_column
                            )
                        start = (one[Class.START_ROW] - args[Gather.LOW_ROW]) * strip_columns
                        start = start + one[Class.START_COLUMN] - args[Gather.LOW_COLUMN]
                        taps = one[Class.TAP_ROWS] * one[Class.TAP_COLUMNS]
                        before = o0 * channels * size + c0.now * own.panel_bytes
                        panels = args[Gather.PANELS] + group * args[Gather.GROUP_PANELS] + one[Class.PANELS]
                        target = args[Gather.TARGET] + n0 * args[Gather.TARGET_SAMPLE] + (group * every + o0) * size
                        target = target + one[Class.FIRST_ROW] * args[Gather.TARGET_ROW] + y0 * to_row
                        target = target + one[Class.FIRST_COLUMN] * args[Gather.TARGET_COLUMN] + x0 * to_column
                        own.tiles(
                            (n1 - n0) * rows * columns, outputs, taps * some, strip + start * pixel,
                            panels + taps * before, own.panel_bytes, taps * channels * own.panel_bytes, target,
                            select(c0.now.compare("==", 0), code.number(0), code.number(1)),
                            select(finished, bias, code.number(0)), args[Gather.TOGETHER],
                        )  # fmt: skip
                c0.now = c0.now + some

        down, across = args[Gather.DOWN], args[Gather.ACROSS]
        samples = (args[Gather.BATCH] + (args[Gather.CHUNK_SAMPLES] - 1)) // args[Gather.CHUNK_SAMPLES]
        sides = (args[Gather.OUTPUTS] + (args[Gather.BLOCK_OUTPUTS] - 1)) // args[Gather.BLOCK_OUTPUTS]
        each, every = args[Gather.EACH], args[Gather.EVERY]
        with code.range(first * each, smaller(last * each, every)) as item:
            side, rest = item % sides, item // sides
            x0 = rest % across * args[Gather.CHUNK_COLUMNS]
            y0 = rest // across % down * args[Gather.CHUNK_ROWS]
            n0 = rest // (across * down) % samples * args[Gather.CHUNK_SAMPLES]
            block(
                n0, smaller(args[Gather.BATCH], n0 + args[Gather.CHUNK_SAMPLES]),
                y0, smaller(args[Gather.ROWS], y0 + args[Gather.CHUNK_ROWS]),
                x0, smaller(args[Gather.COLUMNS], x0 + args[Gather.CHUNK_COLUMNS]),
                side * args[Gather.BLOCK_OUTPUTS],
                rest // (across * down * samples),
            )  # fmt: skip

    return traced(emit)


@kernel
def accumulate(dtype: str, width: int, registers: int) -> Any:
    """Sums over places for every tap, channel and output; see `layout.Accumulate`."""

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        own = Sweep(code, dtype, width, registers, scratch)
        size, strip = own.size, scratch + STRIP_AT
        memory = own.memory(6)
        channels, outputs = args[Accumulate.CHANNELS], args[Accumulate.OUTPUTS]
        taps = args[Accumulate.TAP_ROWS] * args[Accumulate.TAP_COLUMNS]

        def item(part: Value, group: Value, c0: Value, o0: Value) -> None:
            """Some channels and outputs, over the places of a part."""
            some, columns = (
                smaller(channels - c0, args[Accumulate.BLOCK]),
                smaller(outputs - o0, args[Accumulate.BLOCK_OUTPUTS]),
            )
            source = args[Accumulate.SOURCE] + (group * channels + c0) * size
            got = args[Accumulate.GOT] + (group * outputs + o0) * size
            target = args[Accumulate.TARGET] + part * args[Accumulate.PART] + c0 * args[Accumulate.TARGET_CHANNEL]
            target = target + (group * outputs + o0) * size
            strips, parts = args[Accumulate.STRIPS], args[Accumulate.PARTS]
            start = part * strips // parts
            with code.range(start, (part + 1) * strips // parts) as number:
                block(number, number.compare("==", start), source, got, target, some, columns)

        def block(
            number: Value, begins: Value, source: Value, got: Value, target: Value, some: Value, outputs: Value
        ) -> None:
            """Add the places of a strip."""
            down, across = args[Accumulate.DOWN], args[Accumulate.ACROSS]
            x0 = number % across * args[Accumulate.CHUNK_COLUMNS]
            y0 = number // across % down * args[Accumulate.CHUNK_ROWS]
            n0 = number // (across * down) * args[Accumulate.CHUNK_SAMPLES]
            columns = smaller(args[Accumulate.COLUMNS] - x0, args[Accumulate.CHUNK_COLUMNS])
            rows = smaller(args[Accumulate.ROWS] - y0, args[Accumulate.CHUNK_ROWS])
            samples = smaller(args[Accumulate.BATCH] - n0, args[Accumulate.CHUNK_SAMPLES])
            pixel = some * size
            strip_rows = (rows - 1) * args[Accumulate.STEP_ROW] + args[Accumulate.SPAN_ROW]
            strip_columns = (columns - 1) * args[Accumulate.STEP_COLUMN] + args[Accumulate.SPAN_COLUMN]
            sample = strip_rows * strip_columns * pixel
            with code.range(0, samples) as n:
                own.strip(
                    strip + n * sample,
                    source + (n0 + n) * args[Accumulate.SOURCE_SAMPLE],
                    (args[Accumulate.SOURCE_ROWS], args[Accumulate.SOURCE_COLUMNS]),
                    (args[Accumulate.SOURCE_ROW], args[Accumulate.SOURCE_COLUMN]),
                    (
                        y0 * args[Accumulate.STEP_ROW] + args[Accumulate.LOW_ROW],
                        x0 * args[Accumulate.STEP_COLUMN] + args[Accumulate.LOW_COLUMN],
                    ),
                    (strip_rows, strip_columns),
                    some,
                )
            step, step_row = args[Accumulate.TARGET_TAP], strip_columns * pixel
            tap_rows, tap_columns = args[Accumulate.TAP_ROWS], args[Accumulate.TAP_COLUMNS]
            with code.when(own.changed(memory, [samples, rows, columns, strip_rows, strip_columns, some])):
                own.places(
                    own.a_rows, tap_rows, tap_columns, args[Accumulate.TAP_ROW] * step_row,
                    args[Accumulate.TAP_COLUMN] * pixel, some, size,
                )  # fmt: skip
                own.places(
                    own.c_rows, tap_rows, tap_columns, step * tap_columns, step, some,
                    args[Accumulate.TARGET_CHANNEL],
                )  # fmt: skip
                own.places(
                    own.steps, samples, rows, sample, args[Accumulate.STEP_ROW] * step_row, columns,
                    args[Accumulate.STEP_COLUMN] * pixel,
                )  # fmt: skip
            places = samples * rows * columns
            got_row, got_column = args[Accumulate.GOT_ROW], args[Accumulate.GOT_COLUMN]
            at = got + n0 * args[Accumulate.GOT_SAMPLE] + y0 * got_row + x0 * got_column
            packed = code.local(at)
            b_step, b_panel = code.local(got_column), code.local(own.panel_bytes)
            with code.when(args[Accumulate.AS_IT_LIES].compare("==", 0)):
                packed.now = strip + samples * sample
                b_step.now, b_panel.now = code.number(own.panel_bytes), places * own.panel_bytes
                with code.range(0, (outputs + (own.panel - 1)) // own.panel) as p:
                    lines = smaller(outputs - p * own.panel, own.panel)
                    with code.range(0, samples * rows) as line:
                        read = at + line // rows * args[Accumulate.GOT_SAMPLE] + line % rows * got_row
                        own.pack.strip(
                            packed.now + p * b_panel.now + line * columns * own.panel_bytes,
                            code.number(own.panel_bytes), read + p * own.panel_bytes, code.number(size), got_column,
                            lines, columns,
                        )  # fmt: skip
            own.tiles(
                taps * some, outputs, places, strip, packed.now, b_step.now, b_panel.now, target,
                select(begins, code.number(0), code.number(1)), code.number(0), args[Accumulate.TOGETHER],
            )  # fmt: skip

        each, every = args[Accumulate.EACH], args[Accumulate.EVERY]
        across = (outputs + (args[Accumulate.BLOCK_OUTPUTS] - 1)) // args[Accumulate.BLOCK_OUTPUTS]
        down = (channels + (args[Accumulate.BLOCK] - 1)) // args[Accumulate.BLOCK]
        with code.range(first * each, smaller(last * each, every)) as number:
            rest = number // (across * down)
            item(
                rest % args[Accumulate.PARTS],
                rest // args[Accumulate.PARTS],
                number // across % down * args[Accumulate.BLOCK],
                number % across * args[Accumulate.BLOCK_OUTPUTS],
            )

    return traced(emit)


@kernel
def panels(dtype: str, width: int) -> Any:
    """Pack a weight for `gather`: panels of outputs, in each blocks of channels, taps, channels; see `layout.Pack`."""
    size = ITEMSIZES[dtype]

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        packer = Packer(code.builder.module, size, width)
        panel, panel_bytes = VECTORS * (width // size), VECTORS * width
        channels, outputs = args[Pack.CHANNELS], args[Pack.OUTPUTS]
        taps = args[Pack.TAP_ROWS] * args[Pack.TAP_COLUMNS]
        across = (outputs + (panel - 1)) // panel
        with code.range(first, last) as chunk:
            group, o = chunk // across, chunk % across * panel
            source = args[Pack.WEIGHT] + group * args[Pack.GROUP] + o * args[Pack.OUTPUT]
            target = code.local(
                args[Pack.TARGET] + group * args[Pack.GROUP_PANELS] + chunk % across * taps * channels * panel_bytes
            )
            c0 = code.local(0)
            with code.while_(lambda: c0.now.compare("<", channels)):
                some = smaller(channels - c0.now, args[Pack.BLOCK])
                with code.range(0, taps) as tap:
                    i, j = tap // args[Pack.TAP_COLUMNS], tap % args[Pack.TAP_COLUMNS]
                    at = source + i * args[Pack.TAP_ROW] + j * args[Pack.TAP_COLUMN] + c0.now * args[Pack.CHANNEL]
                    given = (at, args[Pack.OUTPUT], args[Pack.CHANNEL], smaller(outputs - o, panel), some)
                    packer.packed(args[Pack.HOW], target.now, code.number(panel_bytes), *given)
                    target.now = target.now + some * panel_bytes
                c0.now = c0.now + some

    return traced(emit)
