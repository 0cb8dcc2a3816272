"""Winograd's convolutions of 3x3 taps at stride 1: the result, and with other strides the gradients.

A. `kernels` transforms a weight, `tiles` an image's tiles; `convolve` multiplies them point by point and transforms the
   products into the result; `weight_gradient` multiplies tiles of both images and transforms into taps.
B. Points are matrix products with the register tile of `matmul`: tiles are rows, output channels columns, in panels.
   An element is a chain of FMAs over the input channels (for a weight's gradient, over the tiles of a block).
C. A chunk of `convolve` is a block of tiles and some output channels. It transforms its tiles itself, or finds them
   made by `tiles`; likewise the kernels. Which is better depends on the sizes alone (`ops/convolution/winograd.py`).
D. Sizes, strides and padding are run-time arguments. Tiles may reach beyond an image on every side.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.convolution.winograd_layout import (
    KINDS,
    NOWHERE_AT,
    PANEL_VECTORS,
    ROW_AT,
    STAGE_IN_AT,
    STAGE_OUT_AT,
    TABLES_AT,
    TAPS_AT,
    WORK_AT,
    ZEROS_AT,
    Word,
)
from fastnn._kernels.convolution.winograd_matrices import TAPS, Matrix, algorithm, transposed
from fastnn._kernels.convolution.winograd_transform import define_places, define_transform
from fastnn._kernels.emit import POINTER, Vectors, function_table
from fastnn._kernels.jit import kernel
from fastnn._kernels.matmul import tile
from fastnn._kernels.matmul.pack import Packer
from fastnn._kernels.matmul.table import NONE, Tiles
from fastnn._kernels.vector import I64, Value, loop, select

# Tables of places, by what they are for.
(INNER_SOURCE, EDGE_SOURCE, INNER_RESULT, EDGE_RESULT, TILES, SUMS, KERNEL, TAPS_THERE, TAPS_HERE, IN, OUT) = range(11)
TABLE_BYTES = 320
# Input channels whose kernels are transformed at a time, so that a panel's rows are written while they are in L1.
TOGETHER = 8
# Bytes ahead of what is written that lines are asked for.
FAR = 128
LINE = 64


@kernel
def kernels(dtype: str, width: int, registers: int, large: int) -> Any:
    """Transform a weight. A chunk is a panel of output channels, and DEPTH input channels."""

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        own = _Winograd(code, args, scratch, np.dtype(dtype).itemsize, Tiles(width, registers), large)
        depth, channels = args[Word.DEPTH], args[Word.CHANNELS]
        parts = (channels + depth - 1) // depth
        own.kernel_tables()
        with code.range(first, last) as chunk:
            panel, c0 = chunk // parts, (chunk % parts) * depth
            to = args[Word.RESULT] + panel * args[Word.KERNEL_POINT] * own.squared + c0 * own.row
            own.kernel_panel(panel * own.panel, c0, smaller(channels - c0, depth), to)

    return traced(emit)


@kernel
def tiles(dtype: str, width: int, registers: int, large: int, gradient: bool) -> Any:
    """Transform tiles, CHUNK_ROWS of a block a chunk: those that are convolved, or those of a result's gradient."""

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        own = _Winograd(code, args, scratch, np.dtype(dtype).itemsize, Tiles(width, registers), large)
        own.source_tables()
        block, rows = own.block(args[Word.BLOCK]), args[Word.CHUNK_ROWS]
        own.source_tiles(block, first * rows, last * rows, args[Word.RESULT], gradient=gradient, far=FAR)

    return traced(emit)


@kernel
def convolve(dtype: str, width: int, registers: int, large: int) -> Any:
    """Multiply and transform back: CHUNK_OUTPUTS output channels of a block of tiles a chunk."""

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        own = _Winograd(code, args, scratch, np.dtype(dtype).itemsize, Tiles(width, registers), large)
        own.source_tables()
        own.result_tables()
        own.kernel_tables()
        with code.range(first, last) as chunk:
            own.convolve(args[Word.BLOCK] + chunk // args[Word.SLICES], chunk % args[Word.SLICES])

    return traced(emit)


@kernel
def weight_gradient(dtype: str, width: int, registers: int, large: int) -> Any:
    """What a block of tiles gives to a weight: CHUNK_ROWS input and CHUNK_OUTPUTS output channels a chunk."""

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        own = _Winograd(code, args, scratch, np.dtype(dtype).itemsize, Tiles(width, registers), large)
        own.taps_tables()
        with code.range(first, last) as chunk:
            own.weight_gradient(chunk // args[Word.SLICES], chunk % args[Word.SLICES])

    return traced(emit)


class _Block(NamedTuple):
    """Tiles of a block: for each kind the number of the first among all of that kind, and the row that it has here."""

    starts: list[Value]
    rows: list[Value]  # and, at the end, how many there are


class _End(NamedTuple):
    """What a transform reads or writes: address, table of places, step; how far ahead to ask for more, or None."""

    at: Value
    table: Value
    step: Value | int = 0
    ahead: Value | int | None = None


class _Place(NamedTuple):
    """A tile: its row in the block, its image, and its first output."""

    row: Value
    image: Value
    y: Value
    x: Value


class _Winograd:
    """Emits what the kernels are made of."""

    def __init__(self, code: Code, args: Words, scratch: Value, size: int, registers: Tiles, large: int) -> None:
        self.code, self.args, self.scratch, self.size, self.registers = code, args, scratch, size, registers
        self.width = registers.width
        self.lanes = self.width // size
        self.panel = PANEL_VECTORS * self.lanes
        self.row = self.panel * size  # bytes of a panel's row
        self.algorithm = algorithm(large)
        self.points = self.algorithm.points
        self.squared = self.points**2
        self.module = code.builder.module

    # -- helpers

    def table(self, number: int) -> Value:
        """The address of a table of places."""
        return self.scratch + (TABLES_AT + number * TABLE_BYTES)

    def fill(
        self, number: int, row_step: Value, column_step: Value, *, y: Value | int = 0, x: Value | int = 0,
        rows: int = 0, columns: int = 0, height: Value | int = 1 << 40, width: Value | int = 1 << 40,
        outside: Value | int = 0,
    ) -> None:  # fmt: skip
        """Fill a table; what lies not inside the image is `outside`."""
        given = (y, x, rows or self.points, columns or self.points, height, width, row_step, column_step, outside)
        function = define_places(self.module, self.points)
        self.code.builder.call(function, [self.table(number).value, *(self.code.number(g).value for g in given)])

    def transform(
        self, name: str, left: Matrix, right: Matrix, source: _End, target: _End, count: Value | int, *, seen: int = 0,
        row: Value | None = None, adds: bool = False,
    ) -> None:  # fmt: skip
        """Call a transform."""
        ends = {"source": source, "target": target}
        fetches = tuple(key for key, end in ends.items() if end.ahead is not None)
        function = define_transform(
            self.module, name, self.size, self.width, left, right, self.points, fetches=fetches, seen=seen,
            row=row is not None, adds=adds,
        )  # fmt: skip
        given = [*source, *target, count, row]
        self.code.builder.call(function, [self.code.number(0 if g is None else g).value for g in given])

    def clear(self, at: int, nbytes: Value) -> None:
        """Zeros in scratch, to the end of a vector."""
        v = Vectors(self.code.builder, self.size, self.width)
        with self.code.range(0, (nbytes + (self.width - 1)) // self.width) as i:
            v.store(v.zero, v.pointer((self.scratch + at + i * self.width).value))

    # -- tiles

    def block(self, number: Value) -> _Block:
        """The tiles of a block: of each kind an equal part."""
        code, args = self.code, self.args
        starts, rows = [], [code.number(0)]
        for kind in KINDS:
            count = args[Word.BATCH] * self.down(kind) * self.across(kind)
            first = count * number // args[Word.BLOCKS]
            starts.append(first)
            rows.append(rows[-1] + count * (number + 1) // args[Word.BLOCKS] - first)
        return _Block(starts, rows)

    def down(self, kind: tuple[int, int]) -> Value:
        """How many tiles of a kind lie below each other."""
        return self.args[Word.DOWN_LARGE + kind[0]]

    def across(self, kind: tuple[int, int]) -> Value:
        """How many tiles of a kind lie side by side."""
        return self.args[Word.ACROSS_LARGE + kind[1]]

    def first_output(self, small: int, number: Value, large: Word) -> Value:
        """Where the tile of a number begins along an axis: the large ones come first."""
        first, second = self.algorithm.tiles
        return self.args[large] * first.outputs + number * second.outputs if small else number * first.outputs

    @contextmanager
    def each(self, block: _Block, number: int, row0: Value, row1: Value) -> Iterator[_Place]:
        """Every tile of a kind among rows row0 to row1 - 1 of a block."""
        code, kind = self.code, KINDS[number]
        first, behind = block.rows[number], block.rows[number + 1]
        row = code.local(select(row0.compare(">", first), row0, first))
        stop = smaller(behind, row1)
        across = self.across(kind)
        with code.while_(lambda: row.now.compare("<", stop)):
            index = block.starts[number] + row.now - first
            line = index // across
            down = self.down(kind)
            y = self.first_output(kind[0], line % down, Word.DOWN_LARGE)
            x = self.first_output(kind[1], index % across, Word.ACROSS_LARGE)
            yield _Place(row.now, line // down, y, x)
            row.now = row.now + 1

    def span(self, block: _Block, point: Value) -> tuple[Value, Value]:
        """The rows of a block whose tiles have a point: small tiles lack the last one of an axis."""
        last, zero, rows = self.points - 1, self.code.number(0), block.rows
        tall, wide = (point // self.points).compare("==", last), (point % self.points).compare("==", last)
        first = select(wide, rows[1], zero)
        return first, select(tall, rows[2], select(wide, rows[3], rows[4]))

    def source_tables(self) -> None:
        """What `source_tiles` needs, the same for all chunks."""
        args = self.args
        self.fill(INNER_SOURCE, args[Word.SOURCE_ROW], args[Word.SOURCE_COLUMN])
        self.fill(TILES, args[Word.TILES_POINT] * self.points, args[Word.TILES_POINT])
        self.fill(IN, self.code.number(self.points * self.width), self.code.number(self.width))
        self.clear(ZEROS_AT, args[Word.CHANNELS] * self.size)
        self.clear(STAGE_IN_AT, self.code.number(self.squared * self.width))

    def source_tiles(
        self, block: _Block, row0: Value, row1: Value, to: Value, *, gradient: bool, far: int | None = None
    ) -> None:
        """Transform tiles of an image, rows row0 to row1 - 1 of a block, to their rows at `to`.

        `far`: where these lie in memory that is not in the second cache, how many bytes ahead they are asked for.
        """
        code, args = self.code, self.args
        name = "gradient" if gradient else "source"
        for number, kind in enumerate(KINDS):
            left, right = (
                transposed(t.outwards) if gradient else t.inwards for t in (self.algorithm.tiles[s] for s in kind)
            )
            rows, columns = len(left[0]), len(right[0])
            ahead = args[Word.SOURCE_COLUMN] * self.algorithm.tiles[kind[1]].outputs
            with self.each(block, number, row0, row1) as place:
                y, x = place.y - args[Word.TOP], place.x - args[Word.LEFT]
                base = args[Word.SOURCE] + place.image * args[Word.SOURCE_IMAGE]
                base = base + y * args[Word.SOURCE_ROW] + x * args[Word.SOURCE_COLUMN]
                table = self.places(
                    y, x, rows, columns, (Word.HEIGHT, Word.WIDTH, Word.SOURCE_ROW, Word.SOURCE_COLUMN),
                    (INNER_SOURCE, EDGE_SOURCE), self.scratch + ZEROS_AT - base,
                )  # fmt: skip
                source, target = code.local(base), code.local(to + place.row * args[Word.TILES_ROW])
                c = code.local(0)
                with code.while_(lambda c=c: c.now.compare("<", args[Word.CHANNELS])):  # type: ignore[misc]
                    some = smaller(args[Word.CHANNELS] - c.now, args[Word.RUN])
                    count, rest = some // self.lanes, some % self.lanes
                    to_row = _End(target.now, self.table(TILES), self.width, far)
                    own = _End(source.now, table, self.width, ahead)
                    self.transform(f"{name}{number}", left, right, own, to_row, count, seen=TAPS - 1)
                    with code.when(rest.compare("!=", 0)):
                        stage = _End(self.scratch + STAGE_IN_AT, self.table(IN), 0, 0)
                        behind = _End(target.now + count * self.width, to_row.table, 0, None if far is None else 0)
                        source_end = source.now + count * self.width
                        self.copy_tile(stage.at, stage.table, source_end, table, rows, columns, rest)
                        self.transform(f"{name}{number}", left, right, stage, behind, 1, seen=TAPS - 1)
                    source.now, target.now = source.now + some * self.size, target.now + args[Word.RUN_STEP]
                    c.now = c.now + some

    def places(
        self, y: Value, x: Value, rows: int, columns: int, words: tuple[Word, Word, Word, Word],
        tables: tuple[int, int], outside: Value,
    ) -> Value:  # fmt: skip
        """The table of a tile at y, x: the one for tiles inside the image, or one filled for this tile."""
        code = self.code
        height, width, row_step, column_step = (self.args[word] for word in words)
        inside = y.compare(">=", 0) & x.compare(">=", 0)
        inside = inside & (y + rows).compare("<=", height) & (x + columns).compare("<=", width)
        with code.when(~inside):
            self.fill(
                tables[1], row_step, column_step, y=y, x=x, rows=rows, columns=columns, height=height, width=width,
                outside=outside,
            )  # fmt: skip
        return select(inside, self.table(tables[0]), self.table(tables[1]))

    def copy_tile(
        self, target: Value, target_table: Value, source: Value, source_table: Value, rows: int, columns: int,
        elements: Value,
    ) -> None:  # fmt: skip
        """Copy a few channels of every element of a tile, and nothing beside them."""
        code, to, of = self.code, self.code.words(target_table), self.code.words(source_table)
        with code.range(0, rows) as r, code.range(0, columns) as c:
            entry = r * self.points + c
            code.move(self.size, target + to[entry], self.size, source + of[entry], self.size, elements)

    # -- kernels

    def kernel_tables(self) -> None:
        """What `kernel_panel` needs, the same for all chunks."""
        args = self.args
        self.fill(KERNEL, args[Word.KERNEL_POINT] * self.points, args[Word.KERNEL_POINT])
        self.fill(TAPS_THERE, args[Word.KERNEL_DOWN], args[Word.KERNEL_ACROSS])
        self.fill(TAPS_HERE, self.code.number(TAPS * self.width * TOGETHER), self.code.number(self.width * TOGETHER))

    def kernel_panel(self, output: Value, c0: Value, depth: Value, to: Value) -> None:
        """Transform the kernels of a panel of output channels for some input channels, a few of these at a time."""
        code, args = self.code, self.args
        c = code.local(0)
        with code.while_(lambda: c.now.compare("<", depth)):
            some = smaller(depth - c.now, TOGETHER)
            with code.range(0, PANEL_VECTORS) as part:
                first = output + part * self.lanes
                lines = smaller(args[Word.OUTPUTS] - first, self.lanes)
                with code.when(lines.compare(">", 0)):
                    self.kernels(first, lines, c0 + c.now, some, to + c.now * self.row + part * self.width)
            c.now = c.now + some

    def kernels(self, output: Value, lines: Value, c0: Value, some: Value, to: Value) -> None:
        """Transform the kernels of a vector of output channels, `lines` of which exist."""
        code, args, matrix = self.code, self.args, self.algorithm.kernel
        base = args[Word.KERNEL] + output * args[Word.KERNEL_OUTPUT] + c0 * args[Word.KERNEL_CHANNEL]
        taps, table = code.local(base), code.local(self.table(TAPS_THERE))
        step = code.local(args[Word.KERNEL_CHANNEL])
        as_it_lies = lines.compare("==", self.lanes) & args[Word.KERNEL_OUTPUT].compare("==", self.size)
        with code.when(~as_it_lies):
            packer, stage = Packer(self.module, self.size, self.width), self.scratch + TAPS_AT
            with code.range(0, TAPS) as r, code.range(0, TAPS) as c:
                source = base + r * args[Word.KERNEL_DOWN] + c * args[Word.KERNEL_ACROSS]
                target = stage + (r * TAPS + c) * (self.width * TOGETHER)
                lie = (args[Word.KERNEL_OUTPUT], args[Word.KERNEL_CHANNEL], lines, some)
                packer.packed(args[Word.KERNEL_PACK], target, code.number(self.width), source, *lie)
            taps.now, table.now, step.now = stage, self.table(TAPS_HERE), code.number(self.width)
        own = _End(taps.now, table.now, step.now, args[Word.KERNEL_CHANNEL] * TOGETHER)
        to_row = _End(to, self.table(KERNEL), self.row, self.row * TOGETHER)
        self.transform("kernel", matrix, matrix, own, to_row, some)

    # -- products

    def product(
        self, rows: Value, k: Value, a: Value, a_row: Value, a_step: Value | int, b: Value, b_step: int, b_panel: Value,
        panels: Value, c: Value, old: Value,
    ) -> None:  # fmt: skip
        """Rows of A past panels of B, into rows of the sums; a step of A that is known says that rows lie along k."""
        code, args = self.code, self.args
        most = self.registers.heights[PANEL_VECTORS][-1]
        table = _tile_table(self.module, self.size, self.registers)
        strips = (rows + (most - 1)) // most
        strip, left = code.local(0), code.local(rows)
        source, target = code.local(a), code.local(c)
        with code.while_(lambda: strip.now.compare("<", strips)):
            height = (left.now + (strips - strip.now - 1)) // (strips - strip.now)
            below = target.now + height * args[Word.SUMS_ROW]
            following = source.now + height * a_row
            if isinstance(a_step, int):  # the rows of the next strip are not in L1 yet
                self.ask(following, height, a_row, k * self.size)
            values: dict[str, Value | int] = {
                "k": k, "a": source.now, "a_row": a_row, "a_step": a_step, "b": b, "b_step": b_step, "c": target.now,
                "c_row": args[Word.SUMS_ROW], "last": self.lanes, "accumulate": old, "epilogue": NONE, "e": target.now,
                "e_row": 0, "c_next": below, "panels": panels, "b_panel": b_panel,
            }  # fmt: skip
            builder = code.builder
            function = builder.load(builder.gep(table, [I64(0), (height - 1).value]))
            given = [code.number(values[name]).value for name in tile.ARGUMENTS]
            builder.call(
                function,
                [
                    builder.inttoptr(x, POINTER) if name in tile.POINTERS else x
                    for name, x in zip(tile.ARGUMENTS, given, strict=True)
                ],
            )
            source.now, target.now = following, below
            left.now, strip.now = left.now - height, strip.now + 1

    def ask(self, at: Value, rows: Value, row: Value, nbytes: Value) -> None:
        """Prefetch some bytes of some rows."""
        v = Vectors(self.code.builder, self.size, self.width)
        with self.code.range(0, rows) as r, loop(v.builder, I64(0), nbytes.value, LINE) as offset:
            v.prefetch(v.at(v.pointer((at + r * row).value), offset))

    # -- the result

    def result_tables(self) -> None:
        """What `convolve` needs beyond `source_tables` and `kernel_tables`."""
        args = self.args
        self.fill(INNER_RESULT, args[Word.RESULT_ROW], args[Word.RESULT_COLUMN])
        self.fill(SUMS, args[Word.SUMS_POINT] * self.points, args[Word.SUMS_POINT])
        self.fill(OUT, self.code.number(self.points * self.width), self.code.number(self.width))

    def convolve(self, number: Value, part: Value) -> None:
        """Some output channels of a block."""
        code, args = self.code, self.args
        block = self.block(number)
        made = args[Word.TILES].compare("!=", 0)
        source = select(made, args[Word.TILES], self.scratch + WORK_AT)
        with code.when(~made):
            self.source_tiles(block, code.number(0), block.rows[-1], source, gradient=False)
        o = code.local(part * args[Word.CHUNK_OUTPUTS])
        stop = smaller(args[Word.OUTPUTS], o.now + args[Word.CHUNK_OUTPUTS])
        with code.while_(lambda: o.now.compare("<", stop)):
            outputs = smaller(stop - o.now, args[Word.SLICE])
            c = code.local(0)
            with code.while_(lambda: c.now.compare("<", args[Word.CHANNELS])):
                depth = smaller(args[Word.CHANNELS] - c.now, args[Word.DEPTH])
                self.multiply(block, source, o.now, outputs, c.now, depth)
                c.now = c.now + depth
            self.result_tiles(block, o.now, outputs)
            o.now = o.now + outputs

    def multiply(self, block: _Block, source: Value, o: Value, outputs: Value, c: Value, depth: Value) -> None:
        """Add the products of some input channels to the sums of some output channels."""
        code, args = self.code, self.args
        panels = (outputs + (self.panel - 1)) // self.panel
        ready, apart = args[Word.KERNEL_PACK].compare("<", 0), args[Word.KERNEL_POINT] * self.squared
        there = args[Word.KERNEL] + o // self.panel * apart + c * self.row
        first = select(ready, there, self.scratch + args[Word.KERNEL_AT])
        with code.when(~ready), code.range(0, panels) as panel:
            self.kernel_panel(o + panel * self.panel, c, depth, first + panel * apart)
        old = select(c.compare(">", 0), code.number(1), code.number(0))
        with code.range(0, self.squared) as point:
            row0, row1 = self.span(block, point)
            a = source + point * args[Word.TILES_POINT] + row0 * args[Word.TILES_ROW] + c * self.size
            sums = self.scratch + args[Word.SUMS_AT] + point * args[Word.SUMS_POINT] + row0 * args[Word.SUMS_ROW]
            self.product(
                row1 - row0, depth, a, args[Word.TILES_ROW], self.size,
                first + point * args[Word.KERNEL_POINT], self.row, apart, panels, sums, old,
            )  # fmt: skip

    def result_tiles(self, block: _Block, o: Value, outputs: Value) -> None:
        """Transform sums of all tiles of a block into some channels of the result, and add the bias."""
        code, args, size = self.code, self.args, self.size
        whole, rest = outputs // self.lanes, outputs % self.lanes
        behind = whole * self.width
        added = self.scratch + ROW_AT
        self.clear(ROW_AT, outputs * size)
        with code.when(args[Word.BIAS].compare("!=", 0)):
            code.copy(added, args[Word.BIAS] + o * size, outputs * size)
        for number, kind in enumerate(KINDS):
            left, right = (self.algorithm.tiles[small].outwards for small in kind)
            name = f"result{number}"
            ahead = args[Word.RESULT_COLUMN] * len(right)
            with self.each(block, number, code.number(0), block.rows[-1]) as place:
                base = args[Word.RESULT] + place.image * args[Word.RESULT_IMAGE] + o * size
                base = base + place.y * args[Word.RESULT_ROW] + place.x * args[Word.RESULT_COLUMN]
                table = self.places(
                    place.y, place.x, len(left), len(right),
                    (Word.RESULT_HEIGHT, Word.RESULT_WIDTH, Word.RESULT_ROW, Word.RESULT_COLUMN),
                    (INNER_RESULT, EDGE_RESULT), self.scratch + NOWHERE_AT - base,
                )  # fmt: skip
                sums = self.scratch + args[Word.SUMS_AT] + place.row * args[Word.SUMS_ROW]
                own = _End(sums, self.table(SUMS), self.width)
                self.transform(name, left, right, own, _End(base, table, self.width, ahead), whole, row=added)
                with code.when(rest.compare("!=", 0)):
                    stage = _End(self.scratch + STAGE_OUT_AT, self.table(OUT), 0, 0)
                    end = _End(sums + behind, own.table)
                    self.transform(name, left, right, end, stage, 1, row=added + behind)
                    self.copy_tile(base + behind, table, stage.at, stage.table, len(left), len(right), rest)

    # -- the gradient of a weight

    def taps_tables(self) -> None:
        """What `weight_gradient` needs, the same for all chunks."""
        args = self.args
        self.fill(SUMS, args[Word.SUMS_POINT] * self.points, args[Word.SUMS_POINT])
        self.fill(TAPS_THERE, args[Word.KERNEL_DOWN], args[Word.KERNEL_ACROSS])
        self.fill(OUT, self.code.number(self.points * self.width), self.code.number(self.width))

    def weight_gradient(self, down: Value, across: Value) -> None:
        """Some input and output channels of the taps, from all tiles of a block."""
        code, args, size = self.code, self.args, self.size
        block = self.block(args[Word.BLOCK])
        c0, o0 = down * args[Word.CHUNK_ROWS], across * args[Word.CHUNK_OUTPUTS]
        channels = smaller(args[Word.CHANNELS] - c0, args[Word.CHUNK_ROWS])
        outputs = smaller(args[Word.OUTPUTS] - o0, args[Word.CHUNK_OUTPUTS])
        apart = args[Word.PANELS_POINT] * self.squared
        columns = args[Word.PANELS] + o0 // self.panel * apart
        panels = (outputs + (self.panel - 1)) // self.panel
        rows = args[Word.TILES] + down * args[Word.RUN_STEP]
        with code.range(0, self.squared) as point:
            row0, row1 = self.span(block, point)
            sums = self.scratch + args[Word.SUMS_AT] + point * args[Word.SUMS_POINT]
            a, b = rows + point * args[Word.TILES_POINT], columns + point * args[Word.PANELS_POINT]
            row, more = code.local(row0), code.local(1)
            with code.while_(lambda row=row, more=more: more.now.compare("!=", 0)):  # type: ignore[misc]
                k = smaller(row1 - row.now, args[Word.DEPTH])
                old = select(row.now.compare(">", row0), code.number(1), code.number(0))
                self.product(
                    channels, k, a + row.now * args[Word.TILES_ROW], code.number(size), args[Word.TILES_ROW],
                    b + row.now * self.row, self.row, apart, panels, sums, old,
                )  # fmt: skip
                row.now = row.now + k
                more.now = select(row.now.compare("<", row1), code.number(1), code.number(0))
        added = args[Word.ACCUMULATE].compare("!=", 0)
        for adds in (False, True):
            with code.when(added if adds else ~added):
                self.taps(c0, o0, channels, outputs, adds=adds)

    def taps(self, c0: Value, o0: Value, channels: Value, outputs: Value, *, adds: bool) -> None:
        """Transform sums into taps."""
        code, args = self.code, self.args
        matrix = transposed(self.algorithm.kernel)
        name = "taps_added" if adds else "taps"
        sums, base = self.scratch + args[Word.SUMS_AT], args[Word.RESULT]
        base = base + c0 * args[Word.KERNEL_CHANNEL] + o0 * args[Word.KERNEL_OUTPUT]
        whole, rest = outputs // self.lanes, outputs % self.lanes
        there = self.table(TAPS_THERE)
        with code.range(0, whole) as i:
            own = _End(sums + i * self.width, self.table(SUMS), args[Word.SUMS_ROW])
            to = _End(base + i * self.width, there, args[Word.KERNEL_CHANNEL])
            self.transform(name, matrix, matrix, own, to, channels, adds=adds)
        with code.when(rest.compare("!=", 0)), code.range(0, channels) as c:
            stage = _End(self.scratch + STAGE_OUT_AT, self.table(OUT))
            own = _End(sums + whole * self.width + c * args[Word.SUMS_ROW], self.table(SUMS))
            target = base + whole * self.width + c * args[Word.KERNEL_CHANNEL]
            if adds:
                self.copy_tile(stage.at, stage.table, target, there, TAPS, TAPS, rest)
            self.transform(name, matrix, matrix, own, stage, 1, adds=adds)
            self.copy_tile(target, there, stage.at, stage.table, TAPS, TAPS, rest)


def _tile_table(module: ir.Module, size: int, registers: Tiles) -> ir.GlobalVariable:
    """The addresses of the register tiles, by their rows less one."""
    name = f"fastnn_winograd_tiles_{size}"
    if name in module.globals:
        return module.globals[name]
    style = tile.Style(registers.masks, registers.prefetch)
    rows = registers.heights[PANEL_VECTORS]
    slots = [tile.define_tile(module, size, registers.width, r, PANEL_VECTORS, style) for r in rows]
    return function_table(module, name, tile.TYPE, slots)
