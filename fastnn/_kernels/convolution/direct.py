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

from llvmlite import ir

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.convolution import tile
from fastnn._kernels.convolution.layout import (
    A_ROWS,
    C_ROWS,
    CLASS_WORDS,
    EDGE_AT,
    EDGE_ROWS,
    STEPS,
    STRIP_AT,
    Accumulate,
    Class,
    Gather,
    Pack,
)
from fastnn._kernels.emit import POINTER, Vectors
from fastnn._kernels.jit import kernel
from fastnn._kernels.matmul.pack import Packer
from fastnn._kernels.vector import I64, ITEMSIZES, Value, select

VECTORS = 2  # of a panel


def larger(x: Value, y: int) -> Value:
    """The larger of two integers."""
    return select(x.compare("<", y), x.number(y), x)


class _Sweep:
    """Tables, strips and tiles: what the drivers have in common."""

    def __init__(self, code: Code, dtype: str, width: int, registers: int, scratch: Value) -> None:
        self.code, self.scratch, self.width, self.registers = code, scratch, width, registers
        self.size = ITEMSIZES[dtype]
        self.lanes = width // self.size
        self.panel = VECTORS * self.lanes
        self.panel_bytes = VECTORS * width
        self.pack = Packer(code.builder.module, self.size, width)
        self.table = self._tile_table()
        self.a_rows, self.c_rows, self.steps = (scratch + at for at in (A_ROWS, C_ROWS, STEPS))
        edge = code.words(scratch + EDGE_ROWS)
        for m in range(tile.most_rows(registers)):
            edge[m] = code.number(m * self.panel_bytes)

    def _tile_table(self) -> ir.GlobalVariable:
        """The addresses of all tiles."""
        module, pointer = self.code.builder.module, tile.TYPE.as_pointer()
        slots = [ir.Constant(pointer, None)] * (VECTORS * tile.most_rows(self.registers))
        for rows, vectors in tile.shapes(self.registers):
            function = tile.define_tile(module, self.size, self.width, rows, vectors)
            slots[(rows - 1) * VECTORS + vectors - 1] = function
        variable = ir.GlobalVariable(module, ir.ArrayType(pointer, len(slots)), f"fastnn_gather_tiles_{self.size}")
        variable.linkage = "internal"
        variable.global_constant = True
        variable.initializer = ir.Constant(variable.type.pointee, slots)
        return variable

    def _tile(self, rows: Value, vectors: Value, *arguments: Value | int) -> None:
        builder = self.code.builder
        number = (rows - 1) * VECTORS + vectors - 1
        function = builder.load(builder.gep(self.table, [I64(0), number.value]))
        values = [self.code.number(a).value for a in arguments]
        kinds = tile.TYPE.args
        builder.call(
            function,
            [v if k == I64 else builder.inttoptr(v, POINTER) for v, k in zip(values, kinds, strict=True)],
        )

    def tiles(
        self, rows: Value, columns: Value, k: Value, a: Value, b: Value, b_step: Value | int, b_panel: Value, c: Value,
        old: Value, bias: Value, together: Value,
    ) -> None:  # fmt: skip
        """All rows of the tables past all columns, some panels at a time."""
        code, most = self.code, tile.most_rows(self.registers)
        strips = (rows + (most - 1)) // most
        height, tall = rows // strips, rows % strips
        whole = columns // self.panel
        rest = columns - whole * self.panel
        p = code.local(0)
        with code.while_(lambda: p.now.compare("<", whole)):
            some = smaller(whole - p.now, together)
            at = p.now * self.panel_bytes
            panel_bias = select(bias.compare("==", 0), bias, bias + at)
            row = code.local(0)
            with code.range(0, strips) as strip:
                h = height + select(strip.compare("<", tall), code.number(1), code.number(0))
                tables = self.a_rows + row.now * 8, self.c_rows + row.now * 8
                self._tile(
                    h, code.number(VECTORS), k, a, tables[0], self.steps, b + p.now * b_panel, b_step, c + at,
                    tables[1], old, panel_bias, some, b_panel,
                )  # fmt: skip
                row.now = row.now + h
            p.now = p.now + some
        with code.when(rest.compare("!=", 0)):
            at = whole * self.panel_bytes
            panel_bias = select(bias.compare("==", 0), bias, bias + at)
            vectors = (rest + (self.lanes - 1)) // self.lanes
            row = code.local(0)
            with code.range(0, strips) as strip:
                h = height + select(strip.compare("<", tall), code.number(1), code.number(0))
                targets = code.words(self.c_rows + row.now * 8)
                edge = self.scratch + EDGE_AT
                with code.when(old.compare("!=", 0)), code.range(0, h) as m:
                    self._copy(edge + m * self.panel_bytes, c + at + targets[m], rest)
                self._tile(
                    h, vectors, k, a, self.a_rows + row.now * 8, self.steps, b + whole * b_panel, b_step, edge,
                    self.scratch + EDGE_ROWS, old, panel_bias, 1, 0,
                )  # fmt: skip
                with code.range(0, h) as m:
                    self._copy(c + at + targets[m], edge + m * self.panel_bytes, rest)
                row.now = row.now + h

    def places(
        self, table: Value, rows: Value, columns: Value, row: Value, column: Value, count: Value, step: Value | int
    ) -> Value:
        """Write the offsets of rows of columns of some places into a table; returns how many there are."""
        code, words = self.code, self.code.words(table)
        with code.range(0, rows * columns) as line:
            at = line // columns * row + line % columns * column
            with code.range(0, count) as i:
                words[line * count + i] = at + i * step
        return rows * columns * count

    def _copy(self, to: Value, source: Value, elements: Value) -> None:
        """Elements that lie side by side."""
        zero = self.code.number(0)
        self.pack.rectangle(to, zero, source, zero, self.code.number(1), elements)

    def clear(self, to: Value, elements: Value) -> None:
        """Write zeros."""
        self.pack._call("clear", self._clear, to, elements)

    def _clear(self, code: Code, v: Vectors, to: Value, elements: Value) -> None:
        whole = elements // self.lanes
        with code.range(0, whole) as i:
            v.store(v.zero, v.pointer((to + i * self.width).value))
        with code.range(whole * self.lanes, elements) as i:
            code.builder.store(ir.Constant(v.element, 0.0), v.pointer((to + i * self.size).value))

    def strip(
        self, to: Value, source: Value, extents: tuple[Value, Value], steps: tuple[Value, Value],
        low: tuple[Value, Value], count: tuple[Value, Value], channels: Value,
    ) -> None:  # fmt: skip
        """Copy rows and columns of an image from `low` on, dense, with zeros where the image has none."""
        given = (to, source, *extents, *steps, *low, *count, channels)
        self.pack._call("strip_of_image", self._strip, *given)

    def _strip(
        self, code: Code, v: Vectors, to: Value, source: Value, rows: Value, columns: Value, row_step: Value,
        column_step: Value, low_row: Value, low_column: Value, count_rows: Value, count_columns: Value, channels: Value,
    ) -> None:  # fmt: skip
        pixel = channels * self.size
        left = smaller(larger(code.number(0) - low_column, 0), count_columns)
        inside = larger(smaller(columns - low_column, count_columns) - left, 0)
        right = count_columns - left - inside
        with code.range(0, count_rows) as r:
            target, row = to + r * count_columns * pixel, low_row + r
            with code.builder.if_else(row.compare_unsigned("<", rows).value) as (exists, missing):
                with exists:
                    self.clear(target, left * channels)
                    start = target + left * pixel
                    at = source + row * row_step + (low_column + left) * column_step
                    beside = column_step.compare("==", pixel)
                    lines = select(beside, code.number(1), inside)
                    elements = select(beside, inside * channels, channels)
                    self.pack.rectangle(start, pixel, at, column_step, lines, elements)
                    self.clear(start + inside * pixel, right * channels)
                with missing:
                    self.clear(target, count_columns * channels)


@kernel
def gather(dtype: str, width: int, registers: int) -> Any:
    """Sums over taps and channels at every place of the target; see `layout.Gather`."""

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        own = _Sweep(code, dtype, width, registers, scratch)
        size, strip = own.size, scratch + STRIP_AT

        def block(n0: Value, n1: Value, y0: Value, y1: Value, x0: Value, x1: Value, group: Value) -> None:
            """Some places of the target, of some samples."""
            channels, outputs = args[Gather.CHANNELS], args[Gather.OUTPUTS]
            source = args[Gather.SOURCE] + group * channels * size
            strip_rows = (y1 - y0 - 1) * args[Gather.STEP_ROW] + args[Gather.SPAN_ROW]
            strip_columns = (x1 - x0 - 1) * args[Gather.STEP_COLUMN] + args[Gather.SPAN_COLUMN]
            low_row = y0 * args[Gather.STEP_ROW] + args[Gather.LOW_ROW]
            low_column = x0 * args[Gather.STEP_COLUMN] + args[Gather.LOW_COLUMN]
            bias = args[Gather.BIAS]
            bias = select(bias.compare("==", 0), bias, bias + group * _up(outputs, own.panel) * size)
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
                        k = own.places(
                            own.steps, one[Class.TAP_ROWS], one[Class.TAP_COLUMNS],
                            args[Gather.TAP_ROW] * strip_columns * pixel, args[Gather.TAP_COLUMN] * pixel, some, size,
                        )  # fmt: skip
                        rows, columns = stop_row - y0, stop_column - x0
                        places = own.places(
                            own.a_rows, n1 - n0, rows, strip_rows * strip_columns * pixel,
                            args[Gather.STEP_ROW] * strip_columns * pixel, columns, args[Gather.STEP_COLUMN] * pixel,
                        )  # fmt: skip
                        to_row = args[Gather.SPREAD_ROW] * args[Gather.TARGET_ROW]
                        to_column = args[Gather.SPREAD_COLUMN] * args[Gather.TARGET_COLUMN]
                        own.places(own.c_rows, n1 - n0, rows, args[Gather.TARGET_SAMPLE], to_row, columns, to_column)
                        start = (one[Class.START_ROW] - args[Gather.LOW_ROW]) * strip_columns
                        start = start + one[Class.START_COLUMN] - args[Gather.LOW_COLUMN]
                        taps = one[Class.TAP_ROWS] * one[Class.TAP_COLUMNS]
                        panels = args[Gather.PANELS] + group * args[Gather.GROUP_PANELS] + one[Class.PANELS]
                        target = args[Gather.TARGET] + n0 * args[Gather.TARGET_SAMPLE] + group * outputs * size
                        target = target + one[Class.FIRST_ROW] * args[Gather.TARGET_ROW] + y0 * to_row
                        target = target + one[Class.FIRST_COLUMN] * args[Gather.TARGET_COLUMN] + x0 * to_column
                        own.tiles(
                            places, outputs, k, strip + start * pixel, panels + taps * c0.now * own.panel_bytes,
                            own.panel_bytes, taps * channels * own.panel_bytes, target,
                            select(c0.now.compare("==", 0), code.number(0), code.number(1)),
                            select(finished, bias, code.number(0)), args[Gather.TOGETHER],
                        )  # fmt: skip
                c0.now = c0.now + some

        down, across = args[Gather.DOWN], args[Gather.ACROSS]
        samples = (args[Gather.BATCH] + (args[Gather.CHUNK_SAMPLES] - 1)) // args[Gather.CHUNK_SAMPLES]
        each, every = args[Gather.EACH], args[Gather.EVERY]
        with code.range(first * each, smaller(last * each, every)) as item:
            x0 = item % across * args[Gather.CHUNK_COLUMNS]
            y0 = item // across % down * args[Gather.CHUNK_ROWS]
            n0 = item // (across * down) % samples * args[Gather.CHUNK_SAMPLES]
            block(
                n0, smaller(args[Gather.BATCH], n0 + args[Gather.CHUNK_SAMPLES]),
                y0, smaller(args[Gather.ROWS], y0 + args[Gather.CHUNK_ROWS]),
                x0, smaller(args[Gather.COLUMNS], x0 + args[Gather.CHUNK_COLUMNS]),
                item // (across * down * samples),
            )  # fmt: skip

    return traced(emit)


@kernel
def accumulate(dtype: str, width: int, registers: int) -> Any:
    """Sums over places for every tap, channel and output; see `layout.Accumulate`."""

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        own = _Sweep(code, dtype, width, registers, scratch)
        size, strip = own.size, scratch + STRIP_AT
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
            own.places(
                own.a_rows, args[Accumulate.TAP_ROWS], args[Accumulate.TAP_COLUMNS],
                args[Accumulate.TAP_ROW] * strip_columns * pixel, args[Accumulate.TAP_COLUMN] * pixel, some, size,
            )  # fmt: skip
            step = args[Accumulate.TARGET_TAP]
            own.places(
                own.c_rows, args[Accumulate.TAP_ROWS], args[Accumulate.TAP_COLUMNS],
                step * args[Accumulate.TAP_COLUMNS], step, some, args[Accumulate.TARGET_CHANNEL],
            )  # fmt: skip
            own.places(
                own.steps, samples, rows, sample, args[Accumulate.STEP_ROW] * strip_columns * pixel, columns,
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


def _up(number: Value, multiple: int) -> Value:
    """Rounded up to a multiple."""
    return (number + (multiple - 1)) // multiple * multiple


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
