"""The matrix product: one kernel that walks its chunks of C tile by tile.

    C (+)= A B, then an epilogue          A (m, k), B (k, n), C (m, n), or a batch of each

A. A chunk is some strips of A (a tile's rows each) and columns of C over all of k, or a few whole products of a batch.
   It goes through k in blocks; in each, all of its strips go past one panel of B (a tile's columns) after the other.
   C is loaded and stored once for each block of k, which leaves an element's chain of FMAs as it was.
B. A panel of B is packed into the thread's scratch, where it stays in the first cache, or read as it lies. A is read as
   it lies, or in strips that a phase before this one packed (`pack.py`).
C. Edges. Where vectors are not loaded under masks, a ragged panel of B is packed in any case, and its tiles write to
   scratch, from where the columns that exist are copied.
D. What a tile cannot do to its sums is done by a kernel of its own (`epilogue.py`), over the rows just computed.

All tiles are functions of one module with the driver, so a new batch size or width of a layer compiles nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from fastnn._kernels.control import Code, Local, Words, smaller, traced
from fastnn._kernels.emit import POINTER, function_table
from fastnn._kernels.jit import kernel
from fastnn._kernels.matmul import pack, tile
from fastnn._kernels.matmul.dots import define_dots
from fastnn._kernels.matmul.layout import EPILOGUE_OPERANDS, Word
from fastnn._kernels.matmul.row import define_row
from fastnn._kernels.matmul.table import (
    DOTS,
    EPILOGUE_AT,
    NONE,
    PACK_NONE,
    PACKED,
    PANELS_AT,
    ROW_ALONG,
    ROW_BESIDE,
    STRIPS_AT,
    TILE_AT,
    WIDEST,
    Tiles,
)
from fastnn._kernels.vector import I64, Value, select


@kernel
def product(dtype: str, width: int, registers: int) -> Any:
    """Compile the product for an element type, a vector width in bytes and a number of vector registers.

    args: see `layout.Word`. `plan.py` chooses them.
    """
    size = np.dtype(dtype).itemsize
    tiles = Tiles(width, registers)

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        _Product(code, args, scratch, size, tiles).chunks(first, last)

    return traced(emit)


class _Group(NamedTuple):
    """What is the same for all strips past a group of B's columns, in one block of k.

    Attributes
    ----------
    a, c, operands : addresses at the first of the strips; c and operands at column 0.
    a_row, a_step, a_strip : A's distances from row to row and from k to k; between packed strips, or 0.
    b, b_step, b_panel : address of the group's first column, distances from k to k and from panel to panel.
    column0, column1 : the group.
    strip0, strip1, row0 : the strips, and the first one's first row.
    length : k of the block.
    old, kind, last : whether sums start from C, what tiles do to them, whether no k is left after this block.
    """

    a: Value
    a_row: Value
    a_step: Value
    a_strip: Value
    c: Value
    operands: list[Value]
    b: Value
    b_step: Value
    b_panel: Value
    column0: Value
    column1: Value
    strip0: Value
    strip1: Value
    row0: Value
    length: Value
    old: Value
    kind: Value
    last: Value


class _Product:
    """Emits the driver."""

    def __init__(self, code: Code, args: Words, scratch: Value, size: int, tiles: Tiles) -> None:
        self.code, self.args, self.scratch, self.size, self.tiles = code, args, scratch, size, tiles
        self.lanes = tiles.width // size
        self.panel = args[Word.VECTORS] * self.lanes
        self.pack = pack.Packer(code.builder.module, size, tiles.width)
        self.table = _tile_table(code.builder.module, size, tiles)

    def chunks(self, first: Value, last: Value) -> None:
        """Every chunk: which products of the batch, which strips of A, which columns."""
        code, args = self.code, self.args
        chunk = code.local(first)
        with code.while_(lambda: chunk.now.compare("<", last)):
            strip0, strip1 = code.local(0), code.local(args[Word.STRIPS])
            column0, column1 = code.local(0), code.local(args[Word.N])
            item, stop = code.local(0), code.local(args[Word.BATCH])
            together = code.local(1)
            with code.when(args[Word.CHUNKS].compare("!=", 1)):
                # neighbouring chunks of one call become one: some whole columns of chunks, or the rest of a column
                down = args[Word.DOWN]
                each = down * args[Word.ACROSS]
                group, rest = chunk.now // each, chunk.now % each
                above, beside = rest % down, rest // down
                here = smaller(last - chunk.now, each - rest)
                whole = select(above.compare("==", 0), here // down, code.number(0))
                some = whole.compare(">", 0)
                together.now = select(some, whole * down, smaller(here, down - above))
                strip0.now = above * args[Word.CHUNK_STRIPS]
                below = select(some, down, above + together.now)
                strip1.now = smaller(args[Word.STRIPS], below * args[Word.CHUNK_STRIPS])
                column0.now = beside * args[Word.CHUNK_COLUMNS]
                right = beside + select(some, whole, code.number(1))
                column1.now = smaller(args[Word.N], right * args[Word.CHUNK_COLUMNS])
                item.now = group * args[Word.ITEMS]
                stop.now = smaller(item.now + args[Word.ITEMS], args[Word.BATCH])
            chunk.now = chunk.now + together.now
            with code.while_(lambda: item.now.compare("<", stop.now)):
                places = [code.local(args[word]) for word in (Word.A, Word.B, Word.C, Word.E, Word.F, Word.G)]
                axes = args[Word.AXES]
                with code.when(axes.compare("!=", 0)):
                    self._advance(places, axes, item.now)
                a, b, c, *operands = (place.now for place in places)
                self._chunk(a, b, c, operands, strip0.now, strip1.now, column0.now, column1.now)
                item.now = item.now + 1

    def _advance(self, places: list[Local], axes: Value, item: Value) -> None:
        """Move the operands to a product of the batch."""
        code, args = self.code, self.args
        rest = code.local(item)
        with code.range(0, axes) as left:
            axis = axes - 1 - left
            extent = args[axis + Word.EXTENTS]
            own = rest.now % extent
            rest.now = rest.now // extent
            for number, place in enumerate(places):
                place.now = place.now + own * args[axes * (number + 1) + axis + Word.EXTENTS]

    def _first_row(self, strip: Value) -> Value:
        """The first row of a strip: the tall ones come first."""
        return strip * self.args[Word.HEIGHT] + smaller(strip, self.args[Word.TALL])

    def _rows_of(self, strip: Value) -> Value:
        """How many rows a strip has."""
        tall = strip.compare("<", self.args[Word.TALL])
        return self.args[Word.HEIGHT] + select(tall, self.code.number(1), self.code.number(0))

    def _chunk(
        self, a: Value, b: Value, c: Value, operands: list[Value],
        strip0: Value, strip1: Value, column0: Value, column1: Value,
    ) -> None:  # fmt: skip
        """Some strips and columns of one product, over all of k."""
        code, args = self.code, self.args
        single = args[Word.PACK_B].compare(">=", ROW_BESIDE)
        with code.builder.if_else(single.value) as (row, tiles):
            with row:
                at_b, at_c = b + column0 * args[Word.B_COLUMN], c + column0 * self.size
                for number, line, along_k in ((ROW_BESIDE, Word.B_STEP, False), (ROW_ALONG, Word.B_COLUMN, True)):
                    with code.when(args[Word.PACK_B].compare("==", number)):
                        function = define_row(code.builder.module, self.size, self.tiles.width, along_k=along_k)
                        given = (args[Word.K], a, args[Word.A_STEP], at_b, args[line], at_c, column1 - column0)
                        code.builder.call(function, [x.value for x in (*given, args[Word.ACCUMULATE])])
                with code.when(args[Word.PACK_B].compare("==", DOTS)):
                    function = define_dots(code.builder.module, self.size, self.tiles.width)
                    given = (args[Word.K], a, at_b, args[Word.B_STEP], args[Word.B_COLUMN], at_c, column1 - column0)
                    more = (args[Word.ACCUMULATE], self.scratch + PANELS_AT)
                    code.builder.call(function, [x.value for x in (*given, *more)])
                with code.when(args[Word.FINISH].compare("==", 1)):
                    self._finish(operands, c, code.number(0), code.number(1), column0, column1 - column0)
            with tiles:
                left = code.local(column0)
                with code.while_(lambda: left.now.compare("<", column1)):
                    right = smaller(column1, left.now + args[Word.WIDEST])
                    self._blocks(a, b, c, operands, strip0, strip1, left.now, right)
                    left.now = right

    def _blocks(
        self, a: Value, b: Value, c: Value, operands: list[Value],
        strip0: Value, strip1: Value, column0: Value, column1: Value,
    ) -> None:  # fmt: skip
        """Tiles over a chunk, in one block of k after the other."""
        code, args, panel = self.code, self.args, self.panel
        k = args[Word.K]
        k0, more = code.local(0), code.local(1)
        with code.while_(lambda: more.now.compare("!=", 0)):
            length = smaller(k - k0.now, args[Word.BLOCK])
            block_b, step_b = code.local(b + k0.now * args[Word.B_STEP]), code.local(args[Word.B_STEP])
            column_b = code.local(args[Word.B_COLUMN])
            block_b.now = block_b.now + column0 * column_b.now
            aligned = ((b | args[Word.B_STEP]) & (self.tiles.width - 1)).compare("==", 0)
            ready = args[Word.PACK_B].compare("==", PACKED) | (aligned & args[Word.UNLESS_ALIGNED].compare("!=", 0))
            with code.when(args[Word.PACK_B].compare("!=", PACK_NONE) & ready.compare("==", 0)):
                to = self.scratch + PANELS_AT
                given = (column_b.now, step_b.now, column1 - column0, length)
                self.pack.panels(args[Word.PACK_B], to, panel, panel * length * self.size, block_b.now, *given)
                block_b.now, step_b.now, column_b.now = to, panel * self.size, length * self.size
            s0 = code.local(strip0)
            with code.while_(lambda: s0.now.compare("<", strip1)):
                s1 = smaller(strip1, s0.now + args[Word.GROUP_STRIPS])
                block_a = a + k0.now * args[Word.A_STEP]
                self._group_of_strips(
                    block_a,
                    block_b.now,
                    column_b.now,
                    step_b.now,
                    c,
                    operands,
                    s0.now,
                    s1,
                    column0,
                    column1,
                    k0.now,
                    length,
                )
                s0.now = s1
            k0.now = k0.now + length
            more.now = select(k0.now.compare("<", k), code.number(1), code.number(0))

    def _group_of_strips(
        self, a: Value, b: Value, b_column: Value, b_step: Value, c: Value, operands: list[Value],
        strip0: Value, strip1: Value, column0: Value, column1: Value, k0: Value, length: Value,
    ) -> None:  # fmt: skip
        """Some strips, packed where that is wanted, past one group of columns after the other."""
        code, args, panel = self.code, self.args, self.panel
        row0 = self._first_row(strip0)
        last = (k0 + length).compare(">=", args[Word.K])
        first_a, row, step = (
            code.local(a + row0 * args[Word.A_ROW]),
            code.local(args[Word.A_ROW]),
            code.local(args[Word.A_STEP]),
        )
        strip = code.local(0)
        with code.when(args[Word.PACK_A].compare("!=", PACK_NONE)):
            place = code.local(self.scratch + STRIPS_AT)
            t = code.local(strip0)
            with code.while_(lambda: t.now.compare("<", strip1)):
                lines = self._rows_of(t.now)
                source = a + self._first_row(t.now) * args[Word.A_ROW]
                given = (args[Word.A_ROW], args[Word.A_STEP], lines, length)
                self.pack.packed(args[Word.PACK_A], place.now, args[Word.STRIP_STEP], source, *given)
                place.now = place.now + args[Word.STRIP_STEP] * length
                t.now = t.now + 1
            first_a.now, row.now, step.now = self.scratch + STRIPS_AT, code.number(self.size), args[Word.STRIP_STEP]
            strip.now = args[Word.STRIP_STEP] * length
        j = code.local(column0)
        with code.while_(lambda: j.now.compare("<", column1)):
            some = smaller(column1 - j.now, args[Word.GROUP_COLUMNS])
            columns_b, step_b = code.local(b + (j.now - column0) * b_column), code.local(b_step)
            panel_b = code.local(panel * b_column)
            if not self.tiles.masks:
                # the last columns of B, which no tile can read as they lie
                ragged = (some % self.lanes).compare("!=", 0) & args[Word.PACK_B].compare("==", PACK_NONE)
                with code.when(ragged):
                    to = self.scratch + PANELS_AT
                    self.pack.strip(to, panel * self.size, columns_b.now, b_column, b_step, some, length)
                    columns_b.now, step_b.now = to, panel * self.size
            group = _Group(
                first_a.now,
                row.now,
                step.now,
                strip.now,
                c + row0 * args[Word.C_ROW],
                operands,
                columns_b.now,
                step_b.now,
                panel_b.now,
                j.now,
                j.now + some,
                strip0,
                strip1,
                row0,
                length,
                select(k0.compare(">", 0), code.number(1), args[Word.ACCUMULATE]),
                select(last, args[Word.EPILOGUE], code.number(NONE)),
                last,
            )
            self._strips(group)
            j.now = j.now + some

    def _strips(self, group: _Group) -> None:
        """Every strip past every panel of a group."""
        code, args, size = self.code, self.args, self.size
        widest, panel, c_row = args[Word.VECTORS], self.panel, args[Word.C_ROW]
        in_strips = group.a_strip.compare("!=", 0)
        panels = (group.column1 - group.column0) // panel
        whole = group.column0 + panels * panel
        row = code.local(group.row0)
        source, c = code.local(group.a), code.local(group.c)
        e = code.local(group.operands[0] + group.row0 * args[Word.E_ROW])
        t = code.local(group.strip0)
        with code.while_(lambda: t.now.compare("<", group.strip1)):
            h = self._rows_of(t.now)
            below = c.now + h * c_row
            b, column = code.local(group.b), code.local(group.column0)
            number = (h - 1) * WIDEST + widest - 1
            given = (group.length, source.now, group.a_row, group.a_step)
            with code.when(panels.compare("!=", 0)):
                at, after = column.now * size, whole * size
                following = select(whole.compare("<", group.column1), c.now + after, below + group.column0 * size)
                self._tile(
                    number, *given, b.now, group.b_step, c.now + at, c_row, code.number(self.lanes), group.old,
                    group.kind, e.now + at, args[Word.E_ROW], following, panels, group.b_panel,
                )  # fmt: skip
                b.now, column.now = b.now + group.b_panel * panels, whole
            with code.while_(lambda: column.now.compare("<", group.column1)):
                used = self._narrow(group, given, b.now, c.now, e.now, row.now, column.now, h, below)
                b.now, column.now = b.now + used * size, column.now + used
            with code.when(group.last & args[Word.FINISH].compare("==", 1)):
                self._finish(group.operands, c.now, row.now, h, group.column0, group.column1 - group.column0)
            row.now, c.now, e.now = row.now + h, below, e.now + h * args[Word.E_ROW]
            source.now = source.now + select(in_strips, group.a_strip, h * group.a_row)
            t.now = t.now + 1

    def _narrow(
        self, group: _Group, given: tuple[Value, ...], b: Value, c: Value, e: Value, row: Value, column: Value,
        h: Value, below: Value,
    ) -> Value:  # fmt: skip
        """A strip past the last columns of a group, fewer than a panel, as far as one tile goes; returns how many."""
        code, args, size, lanes = self.code, self.args, self.size, self.lanes
        widest, c_row = args[Word.VECTORS], args[Word.C_ROW]
        left = group.column1 - column
        vectors = smaller((left + (lanes - 1)) // lanes, widest)
        # not every number of vectors has a tile
        vectors = select(vectors.compare("==", 3) & widest.compare("!=", 3), code.number(2), vectors)
        vectors = select(vectors.compare(">", 4) & vectors.compare("<", 8), code.number(4), vectors)
        used = smaller(left, vectors * lanes)
        last = used - (vectors - 1) * lanes
        number = (h - 1) * WIDEST + vectors - 1
        place = c + column * size
        at_e, e_row = e + column * size, args[Word.E_ROW]
        following = below + group.column0 * size
        alone = (code.number(1), code.number(0))
        if self.tiles.masks:
            self._tile(
                number,
                *given,
                b,
                group.b_step,
                place,
                c_row,
                last,
                group.old,
                group.kind,
                at_e,
                e_row,
                following,
                *alone,
            )
            return used
        partial = last.compare("<", lanes)
        target = select(partial, self.scratch + TILE_AT, place)
        target_row = select(partial, vectors * self.tiles.width, c_row)
        kind = select(partial, code.number(NONE), group.kind)
        with code.when(partial & group.old.compare("!=", 0)):
            self.pack.rectangle(target, target_row, place, c_row, h, used)
        self._tile(
            number, *given, b, group.b_step, target, target_row, last, group.old, kind, at_e, e_row, following, *alone
        )
        with code.when(partial):
            self.pack.rectangle(place, c_row, target, target_row, h, used)
            with code.when(group.last & args[Word.FINISH].compare("==", 2)):
                self._finish(group.operands, c, row, h, column, used)
        return used

    def _finish(self, operands: list[Value], c: Value, row: Value, rows: Value, column: Value, columns: Value) -> None:
        """Call the epilogue's kernel for some rows and columns of C, whose first row lies at `c`."""
        code, args = self.code, self.args
        words = code.words(self.scratch + EPILOGUE_AT)
        words[0] = c + column * self.size
        words[1], words[2], words[3] = args[Word.C_ROW], rows, columns
        for number, operand in enumerate(operands):
            own_row, own_column = args[Word.E_ROW + 2 * number], args[Word.E_COLUMN + 2 * number]
            words[4 + 3 * number] = operand + row * own_row + column * own_column
            words[5 + 3 * number], words[6 + 3 * number] = own_row, own_column
        for number in range(2):
            words[4 + 3 * EPILOGUE_OPERANDS + number] = args[Word.CELLS + number]
        signature = ir.FunctionType(ir.VoidType(), [POINTER, I64, I64, I64])
        builder = code.builder
        function = builder.inttoptr(args[Word.FINISH_KERNEL].value, signature.as_pointer())
        at = builder.inttoptr((self.scratch + EPILOGUE_AT).value, POINTER)
        builder.call(function, [at, I64(0), I64(1), (self.scratch + TILE_AT).value])

    def _tile(self, number: Value, *arguments: Value) -> None:
        """Call a tile by its number, (rows - 1) * WIDEST + vectors - 1."""
        builder = self.code.builder
        place = builder.gep(self.table, [I64(0), number.value])
        function = builder.load(place)
        values = [
            builder.inttoptr(value.value, POINTER) if name in tile.POINTERS else value.value
            for name, value in zip(tile.ARGUMENTS, arguments, strict=True)
        ]
        builder.call(function, values)


def _tile_table(module: ir.Module, size: int, tiles: Tiles) -> ir.GlobalVariable:
    """The addresses of all tiles."""
    name = f"fastnn_tiles_{size}"
    if name in module.globals:
        return module.globals[name]
    pointer = tile.TYPE.as_pointer()
    slots = [ir.Constant(pointer, None)] * (WIDEST * tiles.tallest)
    style = tile.Style(tiles.masks, tiles.prefetch)
    for rows, vectors in tiles.shapes():
        slots[(rows - 1) * WIDEST + vectors - 1] = tile.define_tile(module, size, tiles.width, rows, vectors, style)
    return function_table(module, name, tile.TYPE, slots)
