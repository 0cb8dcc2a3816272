"""What the drivers of the register tile share: tables of offsets, strips of an image, rows past panels."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from fastnn._kernels.control import Code, Local, smaller
from fastnn._kernels.convolution import tile
from fastnn._kernels.convolution.layout import A_ROWS, C_ROWS, EDGE_AT, EDGE_ROWS, STEPS
from fastnn._kernels.emit import POINTER, Vectors, function_table
from fastnn._kernels.matmul.pack import Packer
from fastnn._kernels.vector import I64, ITEMSIZES, Value, select

VECTORS = 2  # of a panel


def up(number: Value, multiple: int) -> Value:
    """Rounded up to a multiple."""
    return (number + (multiple - 1)) // multiple * multiple


def larger(x: Value, y: int) -> Value:
    """The larger of two integers."""
    return select(x.compare("<", y), x.number(y), x)


class Sweep:
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
        return function_table(module, f"fastnn_gather_tiles_{self.size}", tile.TYPE, slots)

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
                    self.copy(edge + m * self.panel_bytes, c + at + targets[m], rest)
                self._tile(
                    h, vectors, k, a, self.a_rows + row.now * 8, self.steps, b + whole * b_panel, b_step, edge,
                    self.scratch + EDGE_ROWS, old, panel_bias, 1, 0,
                )  # fmt: skip
                with code.range(0, h) as m:
                    self.copy(c + at + targets[m], edge + m * self.panel_bytes, rest)
                row.now = row.now + h

    def memory(self, count: int) -> list[Local]:
        """Numbers for `changed` to keep, none of which any number equals yet."""
        return [self.code.local(-1) for _ in range(count)]

    def changed(self, memory: Sequence[Local], numbers: Sequence[Value]) -> Value:
        """Whether numbers, none below zero, are others than when this was last asked."""
        found = numbers[0].compare("!=", memory[0].now)
        for kept, number in zip(memory, numbers, strict=True):
            found = found | number.compare("!=", kept.now)
            kept.now = number
        return found

    def places(
        self, table: Value, rows: Value, columns: Value, row: Value, column: Value, count: Value, step: Value | int
    ) -> None:
        """Write the offsets of rows of columns of some places into a table."""
        code, words = self.code, self.code.words(table)
        with code.range(0, rows * columns) as line:
            at = line // columns * row + line % columns * column
            with code.range(0, count) as i:
                words[line * count + i] = at + i * step

    def copy(self, to: Value, source: Value, elements: Value) -> None:
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
