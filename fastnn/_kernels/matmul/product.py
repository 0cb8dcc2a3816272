"""The matrix product: one kernel that walks its chunks of C tile by tile.

    C (+)= A B, then an epilogue          A (m, k), B (k, n), C (m, n)

A chunk is a block of rows and columns of C over all of k. It goes through k in blocks that fit the caches; in each it
takes a few rows of A at a time, packed into the thread's scratch where they lie badly, past every panel of B. C is
loaded and stored once for each block of k, which leaves an element's chain of FMAs as it was.

All tiles are functions of one module with the driver, so a new batch size or width of a layer compiles nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from fastnn._kernels.emit import POINTER
from fastnn._kernels.jit import inline, intrinsic, kernel
from fastnn._kernels.matmul import tile
from fastnn._kernels.matmul.pack import mover
from fastnn._kernels.matmul.table import ADD, CUT, PACK_COLUMNS, PACK_ROWS, ROOM_A, SHUT, WIDEST, Tiles
from fastnn._kernels.pointer import pointer


@kernel
def product(dtype: str, width: int, registers: int) -> Any:
    """Compile the product for an element type, a vector width in bytes and a number of vector registers.

    args: addresses of A, B, C, E; m, n, k; strides in elements: A's rows and columns, B's rows and panels, C's rows,
    E's rows and columns; the tile's epilogue; the second pass; whether C is added to; rows and columns of a chunk;
    k and columns of a block; vectors of a panel; most rows of a tile; how A is packed; whether B is packed here.
    `plan.py` chooses them.
    """
    size = np.dtype(dtype).itemsize
    tiles = Tiles(width, registers)
    packed_step = (tiles.tallest * size + 63) // 64 * 64
    lanes = width // size
    call_tile = _caller(size, tiles)
    pack_rows, pack_columns = _packers(dtype, width)
    second_pass = _second_pass(dtype)
    pack_panels = _panel_packer(size, width)

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        a, b, c, e = args[0], args[1], args[2], args[3]
        m, n, k = args[4], args[5], args[6]
        a_row, a_step, b_step, b_panel = args[7] * size, args[8] * size, args[9] * size, args[10] * size
        c_row, e_row, e_column = args[11] * size, args[12] * size, args[13] * size
        final, after, accumulate = args[14], args[15], args[16]
        chunk_rows, chunk_columns, block = args[17], args[18], args[19]
        stretch, widest = args[20], args[21]
        panel = widest * lanes
        tallest, pack, local = args[22], args[23], args[24]
        room = scratch
        room_b = room + ROOM_A
        down = (m + chunk_rows - 1) // chunk_rows
        chunk = first
        while chunk < last:
            # neighbouring chunks become one block: whole columns of chunks, or the rest of a column
            across, above = chunk // down, chunk % down
            whole = (last - chunk) // down if above == 0 else 0
            together = whole * down if whole > 0 else min(down - above, last - chunk)
            chunk += together
            row0, row1 = (0, m) if whole > 0 else (above * chunk_rows, min(m, (above + together) * chunk_rows))
            column0, column1 = across * chunk_columns, min(n, (across + max(1, whole)) * chunk_columns)
            count = (row1 - row0 + tallest - 1) // tallest
            height = (row1 - row0) // count
            tall = row1 - row0 - height * count  # as many tiles have one row more
            while column0 < column1:
                edge = min(column1, column0 + stretch)
                k0 = 0
                while True:
                    k1 = min(k, k0 + block)
                    epilogue = final if k1 == k else 0
                    old = 1 if k0 > 0 else accumulate
                    block_b, row_b, panel_b = b + column0 // panel * b_panel + k0 * b_step, b_step, b_panel
                    if local:
                        pack_panels(room_b, block_b, edge - column0, k1 - k0, b_step, panel)
                        block_b, row_b, panel_b = room_b, panel * size, (k1 - k0) * panel * size
                    i = row0
                    for t in range(count):
                        h = height + 1 if t < tall else height
                        tile_a, tile_row, tile_step = a + i * a_row + k0 * a_step, a_row, a_step
                        if pack == PACK_ROWS:
                            tile_row, tile_step = (k1 - k0) * size + 64, size
                            pack_rows(room, tile_row, tile_a, a_row, a_step, h, k1 - k0)
                            tile_a = room
                        elif pack == PACK_COLUMNS:
                            tile_row, tile_step = size, packed_step
                            pack_columns(room, tile_step, tile_a, a_step, h, k1 - k0)
                            tile_a = room
                        for p in range((edge - column0 + panel - 1) // panel):
                            j = column0 + p * panel
                            end = min(panel, edge - j)
                            q = 0
                            while q < end:
                                left = (end - q + lanes - 1) // lanes
                                vectors = min(left, widest)
                                if vectors == 3 and widest != 3:
                                    vectors = 2
                                elif vectors > 4 and vectors < 8:
                                    vectors = 4
                                used = min(end - q, vectors * lanes)
                                place = c + i * c_row + (j + q) * size
                                place_next = place + used * size
                                if j + q + used >= edge:
                                    place_next = c + (i + h) * c_row + column0 * size
                                call_tile(
                                    (h - 1) * WIDEST + vectors - 1,
                                    k1 - k0,
                                    tile_a,
                                    tile_row,
                                    tile_step,
                                    block_b + p * panel_b + q * size,
                                    row_b,
                                    place,
                                    c_row,
                                    used - (vectors - 1) * lanes,
                                    old,
                                    epilogue,
                                    e + i * e_row + (j + q) * size,
                                    e_row,
                                    place_next,
                                )
                                q += used
                        if after and k1 == k:
                            place, other = c + i * c_row + column0 * size, e + i * e_row + column0 * e_column
                            second_pass(after, place, c_row, other, e_row, e_column, h, edge - column0)
                        i += h
                    k0 = k1
                    if k0 >= k:
                        break
                column0 = edge

    return body


def _caller(size: int, tiles: Tiles) -> Any:
    """The function that calls a tile by its number, (rows - 1) * WIDEST + vectors - 1."""

    def table(module: ir.Module) -> ir.GlobalVariable:
        name = f"fastnn_tiles_{size}"
        if name in module.globals:
            return module.globals[name]
        slots = [ir.Constant(POINTER, None)] * (WIDEST * tiles.tallest)
        for rows, vectors in tiles.shapes():
            number = (rows - 1) * WIDEST + vectors - 1
            slots[number] = tile.define_tile(module, size, tiles.width, rows, vectors, tiles.masks)
        kind = ir.ArrayType(POINTER, len(slots))
        variable = ir.GlobalVariable(module, kind, name)
        variable.linkage = "internal"
        variable.global_constant = True
        variable.initializer = ir.Constant(kind, slots)
        return variable

    @intrinsic
    def call_tile(
        typing: Any,
        number: Any,
        k: Any,
        a: Any,
        a_row: Any,
        a_step: Any,
        b: Any,
        b_step: Any,
        c: Any,
        c_row: Any,
        last: Any,
        accumulate: Any,
        epilogue: Any,
        e: Any,
        e_row: Any,
        c_next: Any,
    ) -> Any:
        signature = types.void(*[types.int64] * (1 + len(tile.ARGUMENTS)))

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = builder.gep(table(builder.module), [args[0]], source_etype=POINTER)
            function = builder.load(place, typ=tile.TYPE.as_pointer())
            values = [
                builder.inttoptr(value, POINTER) if name in tile.POINTERS else value
                for name, value in zip(tile.ARGUMENTS, args[1:], strict=True)
            ]
            builder.call(function, values)
            return context.get_dummy_value()

        return signature, codegen

    return call_tile


def _packers(dtype: str, width: int) -> tuple[Any, Any]:
    """Copies of some rows of A: row by row, or column by column, whichever way they lie. Distances are in bytes."""
    size = np.dtype(dtype).itemsize
    lanes, move = width // size, mover(size, width)

    @inline
    def pack_rows(to: Any, to_row: Any, a: Any, a_row: Any, a_step: Any, rows: Any, k: Any) -> None:
        for i in range(rows):
            target, source = pointer(to + i * to_row, dtype), a + i * a_row
            if a_step == size:
                row = pointer(source, dtype)
                for p in range(k):
                    target[p] = row[p]
            else:
                for p in range(k):
                    target[p] = pointer(source + p * a_step, dtype)[0]

    @inline
    def pack_columns(to: Any, to_step: Any, a: Any, a_step: Any, rows: Any, k: Any) -> None:
        for i in range(0, rows, lanes):
            count = min(lanes, rows - i)
            for p in range(k):
                move(to + p * to_step + i * size, a + p * a_step + i * size, count)

    return pack_rows, pack_columns


def _second_pass(dtype: str) -> Any:
    """What tiles do not do themselves, over rows of C that are still in the cache. Distances are in bytes."""
    zero = np.dtype(dtype).type(0)

    @inline
    def second_pass(after: Any, c: Any, c_row: Any, e: Any, e_row: Any, e_column: Any, rows: Any, columns: Any) -> None:
        for i in range(rows):
            row = pointer(c + i * c_row, dtype)
            for j in range(columns):
                x = row[j]
                if after & ADD:
                    x += pointer(e + i * e_row + j * e_column, dtype)[0]
                if after & CUT and x <= zero:
                    x = zero
                if after & SHUT and pointer(e + i * e_row + j * e_column, dtype)[0] <= zero:
                    x = zero
                row[j] = x

    return second_pass


def _panel_packer(size: int, width: int) -> Any:
    """Copy a block of B, whose columns lie side by side, into panels in scratch."""
    move, lanes = mover(size, width), width // size

    @inline
    def pack_panels(to: Any, b: Any, n: Any, k: Any, b_row: Any, panel: Any) -> None:
        for k0 in range(0, k, 8):
            some = min(8, k - k0)
            for p in range((n + panel - 1) // panel):
                for r in range(k0, k0 + some):
                    target, source = to + (p * k + r) * panel * size, b + r * b_row + p * panel * size
                    for j in range(0, panel, lanes):
                        move(target + j * size, source + j * size, max(0, min(lanes, n - p * panel - j)))

    return pack_panels
