"""The gradient of an input of few channels: every place of the output is multiplied by the whole weight, then spread.

A. A vector holds neighbouring places of a row of the output, so few channels leave no lanes idle. The tile's rows are
   taps and channels, its steps the channels of the output; what the output got is transposed into panels first.
B. The products of a row are added to rows of the input in scratch. In these, columns lie apart by their remainder by
   the stride: neighbouring places of the output are neighbours in them too. A block of rows is then written out.
C. An element is a sum over rows of the output, in each over the taps, of chains of FMAs over the output's channels.
"""

from __future__ import annotations

from typing import Any

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.convolution.layout import (
    PLACES_AT_ONCE,
    SPREAD_AT,
    SPREAD_PACKED_AT,
    SPREAD_PRODUCTS_AT,
    Spread,
)
from fastnn._kernels.convolution.sweep import Sweep, larger, up
from fastnn._kernels.jit import kernel
from fastnn._kernels.vector import Lanes, Value, mask_of


@kernel
def spread(dtype: str, width: int, registers: int) -> Any:
    """What every place of the input gets; see `layout.Spread`."""

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        own = Sweep(code, dtype, width, registers, scratch)
        size = own.size
        planes, products, packed = (scratch + at for at in (SPREAD_AT, SPREAD_PRODUCTS_AT, SPREAD_PACKED_AT))
        lanes = Lanes(code.builder, dtype, own.lanes)
        channels, outputs = args[Spread.CHANNELS], args[Spread.OUTPUTS]
        taps, tap_rows = args[Spread.TAP_COLUMNS], args[Spread.TAP_ROWS]
        stride = args[Spread.STRIDE_COLUMN]
        line = args[Spread.LINE]  # of a channel, a remainder, a row
        row_bytes = line * stride * channels
        own.places(
            own.a_rows, tap_rows, taps, args[Spread.WEIGHT_ROW], args[Spread.WEIGHT_COLUMN], channels,
            args[Spread.WEIGHT_CHANNEL],
        )  # fmt: skip
        zero, one = code.number(0), code.number(1)
        own.places(own.c_rows, one, one, zero, zero, tap_rows * taps * channels, code.number(PLACES_AT_ONCE * size))
        own.places(own.steps, one, one, zero, zero, outputs, args[Spread.WEIGHT_OUTPUT])

        def block(sample: Value, group: Value, y0: Value, y1: Value) -> None:
            """Some rows of a sample's input, of a group."""
            own.clear(planes, (y1 - y0) * row_bytes // size)
            before, step, dilation = (args[w] for w in (Spread.PADDING_ROW, Spread.STRIDE_ROW, Spread.DILATION_ROW))
            # rows of the output of which some tap meets these rows
            lowest = larger(y0 + before - (tap_rows - 1) * dilation + (step - 1), 0) // step
            highest = smaller((y1 - 1 + before) // step, args[Spread.GOT_ROWS] - 1)
            got = args[Spread.GOT] + sample * args[Spread.GOT_SAMPLE] + group * outputs * size
            with code.range(lowest, highest + 1) as row:
                at = row * step - before  # the row of the input that the first tap meets
                low = (larger(y0 - at, 0) + (dilation - 1)) // dilation
                high = smaller((y1 - 1 - at) // dilation, tap_rows - 1)
                with code.when(low.compare("<=", high)):
                    x = code.local(0)
                    with code.while_(lambda: x.now.compare("<", args[Spread.GOT_COLUMNS])):
                        some = smaller(args[Spread.GOT_COLUMNS] - x.now, PLACES_AT_ONCE)
                        source = got + row * args[Spread.GOT_ROW] + x.now * args[Spread.GOT_COLUMN]
                        multiply(source, some, group, low, high + 1)
                        add(at - y0, x.now, some, low, high + 1)
                        x.now = x.now + some
            target = args[Spread.TARGET] + sample * args[Spread.TARGET_SAMPLE] + group * channels * size
            with code.range(y0, y1) as y:
                write(target + y * args[Spread.TARGET_ROW], planes + (y - y0) * row_bytes)

        def multiply(source: Value, places: Value, group: Value, low: Value, high: Value) -> None:
            """The products of some places of a row with all taps of some rows of the kernel."""
            behind = outputs * own.panel_bytes
            with code.range(0, (places + (own.panel - 1)) // own.panel) as p:
                own.pack.transposed_strip(
                    packed + p * behind, code.number(own.panel_bytes),
                    source + p * own.panel * args[Spread.GOT_COLUMN], args[Spread.GOT_COLUMN], code.number(size),
                    smaller(places - p * own.panel, own.panel), outputs,
                )  # fmt: skip
            weight = args[Spread.WEIGHT] + group * args[Spread.WEIGHT_GROUP] + low * args[Spread.WEIGHT_ROW]
            own.tiles(
                (high - low) * taps * channels, up(places, own.lanes), outputs, weight, packed, own.panel_bytes, behind,
                products, zero, zero, args[Spread.TOGETHER],
            )  # fmt: skip

        def add(row: Value, x: Value, places: Value, low: Value, high: Value) -> None:
            """Add products to the rows of the input that the taps meet, from the place `x` of the output on."""
            whole = places // own.lanes
            rest = places - whole * own.lanes
            mask = mask_of(code.builder, rest.value, own.lanes)
            with code.range(low, high) as i, code.range(0, taps) as j:
                reached = j * args[Spread.DILATION_COLUMN]
                to = planes + (row + i * args[Spread.DILATION_ROW]) * row_bytes
                to = to + reached % stride * line + (x + reached // stride) * size
                source = products + ((i - low) * taps + j) * channels * (PLACES_AT_ONCE * size)
                with code.range(0, channels) as c:
                    target, read = to + c * stride * line, source + c * (PLACES_AT_ONCE * size)
                    with code.range(0, whole) as v:
                        place = lanes.pointer((target + v * width).value)
                        made = lanes.load(lanes.pointer((read + v * width).value))
                        lanes.store(lanes.load(place) + made, place)
                    with code.when(rest.compare("!=", 0)):
                        place = lanes.pointer((target + whole * width).value)
                        made = lanes.load(lanes.pointer((read + whole * width).value), mask)
                        lanes.store(lanes.load(place) + made, place)

        def write(target: Value, row: Value) -> None:
            """Write a row of the input."""
            columns, before = args[Spread.COLUMNS], args[Spread.PADDING_COLUMN]
            alone = channels.compare("==", 1) & stride.compare("==", 1)
            alone = alone & args[Spread.TARGET_COLUMN].compare("==", size)
            with code.builder.if_else(alone.value) as (beside, apart):
                with beside:
                    own.copy(target, row + before * size, columns)
                with apart, code.range(0, stride) as remainder:
                    # the first column with this remainder, counted with the padding
                    start = (remainder + stride - before % stride) % stride
                    count = larger(columns - start + (stride - 1), 0) // stride
                    line_at = row + remainder * line + (start + before) // stride * size
                    with code.range(0, channels) as c:
                        code.move(
                            size, target + start * args[Spread.TARGET_COLUMN] + c * size,
                            args[Spread.TARGET_COLUMN] * stride, line_at + c * stride * line, code.number(size), count,
                        )  # fmt: skip

        rows, down = args[Spread.BLOCK_ROWS], args[Spread.DOWN]
        each, every = args[Spread.EACH], args[Spread.EVERY]
        with code.range(first * each, smaller(last * each, every)) as item:
            y0, rest = item % down * rows, item // down
            block(rest % args[Spread.BATCH], rest // args[Spread.BATCH], y0, smaller(y0 + rows, args[Spread.ROWS]))

    return traced(emit)
