"""Copy B into panels: the columns that a tile multiplies at a time side by side, one row of k after the other.

A panel of `nr` columns is k rows of nr elements, and the panels follow one another. Columns past the last one of B
are zero or repeat others; no tile stores what they give.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from fastnn._kernels.emit import I64, Value, Vectors
from fastnn._kernels.jit import inline, intrinsic, kernel
from fastnn._kernels.pointer import pointer

# Rows of B that are copied at a time, past all panels of a chunk: long runs, few pages.
ROWS_AT_ONCE = 8


@kernel
def panels(dtype: str, width: int) -> Any:
    """Compile the packing for an element type and a vector width in bytes.

    args: addresses of B and of the panels; n, k; distance in elements between B's columns and between its rows;
    columns of a panel; panels and rows of B in a chunk.
    """
    size = np.dtype(dtype).itemsize
    lanes = width // size
    whole, edge = _transposer(size, width, False), _transposer(size, width, True)
    move = mover(size, width)

    @inline
    def transpose(to: Any, b: Any, n: Any, k: Any, b_column: Any, panel: Any) -> None:
        """A panel of columns that each lie along k."""
        for k0 in range(0, k, lanes):
            for j in range(0, n, lanes):
                target, source = to + (k0 * panel + j) * size, b + j * b_column + k0 * size
                if j + lanes <= n and k0 + lanes <= k:
                    whole(target, panel * size, source, b_column, lanes, lanes)
                else:
                    edge(target, panel * size, source, b_column, min(lanes, n - j), min(lanes, k - k0))

    @inline
    def copy(to: Any, b: Any, n: Any, k: Any, b_row: Any, panel: Any) -> None:
        """Some rows of a panel whose columns lie side by side."""
        whole_columns = n // lanes * lanes
        for p in range(k):
            target, source = to + p * panel * size, b + p * b_row
            for j in range(0, whole_columns, lanes):
                move(target + j * size, source + j * size, lanes)
            for j in range(whole_columns, panel, lanes):
                move(target + j * size, source + j * size, max(0, n - j))

    @inline
    def gather(to: Any, b: Any, n: Any, k: Any, b_column: Any, b_row: Any, panel: Any) -> None:
        """Some rows of a panel that lies anyhow."""
        for p in range(k):
            target = pointer(to + p * panel * size, dtype)
            for j in range(n):
                target[j] = pointer(b + p * b_row + j * b_column, dtype)[0]
            for j in range(n, panel):
                target[j] = 0

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        b, to, n, k = args[0], args[1], args[2], args[3]
        b_column, b_row, panel = args[4] * size, args[5] * size, args[6]
        columns, rows = args[7] * panel, args[8]
        down = (k + rows - 1) // rows
        for chunk in range(first, last):
            column0, row0 = chunk // down * columns, chunk % down * rows
            row1, panels = min(k, row0 + rows), (min(n, column0 + columns) - column0 + panel - 1) // panel
            if b_row == size:
                for p in range(panels):
                    j = column0 + p * panel
                    target, source = to + (j * k + row0 * panel) * size, b + j * b_column + row0 * b_row
                    transpose(target, source, min(panel, n - j), row1 - row0, b_column, panel)
            else:
                for k0 in range(row0, row1, ROWS_AT_ONCE):
                    some = min(ROWS_AT_ONCE, row1 - k0)
                    for p in range(panels):
                        j = column0 + p * panel
                        target, source = to + (j * k + k0 * panel) * size, b + j * b_column + k0 * b_row
                        if b_column == size:
                            copy(target, source, min(panel, n - j), some, b_row, panel)
                        else:
                            gather(target, source, min(panel, n - j), some, b_column, b_row, panel)

    return body


def _transposer(size: int, width: int, edge: bool) -> Any:
    """``transpose(to, to_row, source, source_row, rows, columns)``: one block of a vector's lanes squared.

    At an edge only `rows` x `columns` are read, and rows past the last one repeat it. Distances are in bytes.
    """

    @intrinsic
    def transpose(typing: Any, to: Any, to_row: Any, source: Any, source_row: Any, rows: Any, columns: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            to, to_row, source, source_row, rows, columns = args
            v = Vectors(builder, size, width)
            base, places = v.pointer(source), []
            for r in range(v.lanes):
                number: Value = I64(r)
                if edge:
                    inside = builder.icmp_signed("<", number, rows)
                    number = builder.select(inside, number, builder.sub(rows, I64(1)))
                places.append(v.at(base, builder.mul(source_row, number)))
            target = v.pointer(to)
            done = builder.append_basic_block("transposed")
            for r, column in enumerate(v.transposed(places, v.mask(columns) if edge else None)):
                if edge and r:
                    more = builder.append_basic_block("column")
                    builder.cbranch(builder.icmp_signed("<", I64(r), columns), more, done)
                    builder.position_at_end(more)
                v.store(column, v.at(target, builder.mul(to_row, I64(r))))
            builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return transpose


def mover(size: int, width: int) -> Any:
    """``move(to, source, count)``: a vector of which `count` elements are read and the others become zero."""

    @intrinsic
    def move(typing: Any, to: Any, source: Any, count: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            v = Vectors(builder, size, width)
            v.store(v.load(v.pointer(args[1]), v.mask(args[2])), v.pointer(args[0]))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return move
