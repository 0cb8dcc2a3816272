"""Moving elements to and from places that indices name, and setting memory.

A. One shape of loop serves gather, scatter and everything between. `big` is the array that is indexed along one axis,
   `small` the one whose elements go with the indices; all three (the indices too) have the other axes in common:

       gather    small[o, k, j] = big[o, index[o, k, j], j]
       scatter   big[o, index[o, k, j], j] += small[o, k, j]        (or set, multiplied, the larger, the smaller)

   ``j`` is the innermost of the other axes that follow the indexed one (a single place if there is none), ``o`` all
   the rest. Rows taken whole (``x[index]``, embeddings) are the case in which the indices step by 0 along ``j``.
B. An item of a gather is a row of ``o``, a block of ``j`` and a block of ``k``. In a scatter whoever owns an element of
   `big` adds everything that goes there, in the order of the indices, so that no number of threads changes bits: there
   an item has all of ``k``, and where rows are taken whole, a block of the places along the indexed axis.
C. Indices were checked before (`check`): here a negative one counts from the end.

args of `lines`: big, small, index; extent of the indexed axis, K, extent of ``j``; strides of big (axis, j), of small
(k, j), of index (k, j); columns a block, blocks of columns, k (or places) a block, their blocks, items, items a chunk,
number of axes ``o``; their extents; their strides in big, in small, in index. Strides are in elements.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._kernels.jit import inline, kernel
from fastnn._kernels.pointer import bits, pointer, prefetch

# Bytes of a row that are asked for before it is gathered, and of a cache line.
AHEAD, LINE = 512, 64


@inline
def smaller(x: int, y: int) -> int:
    """The smaller of two integers."""
    return x if x < y else y


@inline
def wrapped(index: int, extent: int) -> int:
    """An index counted from 0."""
    return index + extent if index < 0 else index


def _combine(reduce: str) -> Any:
    """What becomes of an element: a function of the old one and the new one."""
    if reduce == "add":
        return inline(lambda old, new: old + new)
    if reduce == "multiply":
        return inline(lambda old, new: old * new)
    # a NaN on either side stays
    if reduce == "amax":
        return inline(lambda old, new: new if (new > old or new != new) else old)
    if reduce == "amin":
        return inline(lambda old, new: new if (new < old or new != new) else old)
    return inline(lambda old, new: new)


@kernel
def lines(dtype: str, index: str, reduce: str, rows: bool) -> Any:
    """Gather (`reduce` is ``"gather"``) or scatter; `rows` says that indices step by 0 along ``j``."""
    gathers = reduce == "gather"
    combine = _combine(reduce)
    itemsize = np.dtype(dtype).itemsize

    @inline
    def run(big: Any, small: Any, count: int, big_step: int, small_step: int, at: int, own: int) -> None:
        if big_step == 1 and small_step == 1:
            for j in range(count):
                if gathers:
                    small[own + j] = big[at + j]
                else:
                    big[at + j] = combine(big[at + j], small[own + j])
        else:
            for j in range(count):
                if gathers:
                    small[own + j * small_step] = big[at + j * big_step]
                else:
                    big[at + j * big_step] = combine(big[at + j * big_step], small[own + j * small_step])

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        big, small, indices = pointer(args[0], dtype), pointer(args[1], dtype), pointer(args[2], index)
        extent, length, columns = args[3], args[4], args[5]
        big_axis, big_step, small_axis, small_step, index_axis, index_step = (
            args[6], args[7], args[8], args[9], args[10], args[11],
        )  # fmt: skip
        block, blocks, part, parts = args[12], args[13], args[14], args[15]
        axes = args[18]
        for item in range(first * args[17], smaller(last * args[17], args[16])):
            rest = item // parts
            k0 = (item % parts) * part
            k1 = smaller(k0 + part, length)
            j0 = (rest % blocks) * block
            count = smaller(block, columns - j0)
            rest //= blocks
            at, own, where = j0 * big_step, j0 * small_step, j0 * index_step
            for left in range(axes):
                axis = 19 + axes - 1 - left
                here = rest % args[axis]
                rest //= args[axis]
                at += here * args[axis + axes]
                own += here * args[axis + 2 * axes]
                where += here * args[axis + 3 * axes]
            if rows and not gathers:
                # k0 and the place after it bound the owner's share of the indexed axis
                for k in range(length):
                    row = wrapped(indices[where + k * index_axis], extent)
                    if k0 <= row < k0 + part:
                        run(big, small, count, big_step, small_step, at + row * big_axis, own + k * small_axis)
            elif rows:
                for k in range(k0, k1):
                    row = wrapped(indices[where + k * index_axis], extent)
                    if k + 1 < k1 and big_step == 1:
                        # the CPU's own prefetching finds the rest of a row, but not where the next one starts
                        following = at + wrapped(indices[where + (k + 1) * index_axis], extent) * big_axis
                        start = args[0] + itemsize * following
                        for ahead in range(0, smaller(itemsize * count, AHEAD), LINE):
                            prefetch(start + ahead)
                    run(big, small, count, big_step, small_step, at + row * big_axis, own + k * small_axis)
            elif count == 1:
                for k in range(k0, k1):
                    place = at + wrapped(indices[where + k * index_axis], extent) * big_axis
                    if gathers:
                        small[own + k * small_axis] = big[place]
                    else:
                        big[place] = combine(big[place], small[own + k * small_axis])
            else:
                for k in range(k0, k1):
                    for j in range(count):
                        row = wrapped(indices[where + k * index_axis + j * index_step], extent)
                        place = at + row * big_axis + j * big_step
                        mine = own + k * small_axis + j * small_step
                        if gathers:
                            small[mine] = big[place]
                        else:
                            big[place] = combine(big[place], small[mine])

    return body


@kernel
def check(index: str) -> Any:
    """Look at every index; the status is 0, or 1 + the place (in C order) of the first that is out of range.

    args: indices, lowest and (not included) highest value, number of axes (at least 1), extents, strides; status.
    """

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        indices = pointer(args[0], index)
        low, high, axes = args[1], args[2], args[3]
        status = pointer(args[4 + 2 * axes], "int64")
        status[0] = 0
        inner, step = args[3 + axes], args[3 + 2 * axes]
        lines = 1
        for axis in range(axes - 1):
            lines *= args[4 + axis]
        for line in range(lines):
            rest, at = line, 0
            for left in range(axes - 1):
                axis = 4 + axes - 2 - left
                at += (rest % args[axis]) * args[axis + axes]
                rest //= args[axis]
            bad = 0
            for i in range(inner):
                value = indices[at + i * step]
                bad += (value < low) | (value >= high)
            if bad:
                for i in range(inner):
                    value = indices[at + i * step]
                    if value < low or value >= high:
                        status[0] = 1 + line * inner + i
                        return

    return body


@kernel
def fill(dtype: str) -> Any:
    """Set contiguous elements to a constant. args: address, elements, elements a chunk, the constant's float64 bits."""

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        x = pointer(args[0], dtype)
        value = bits(args[3])
        for i in range(first * args[2], smaller(last * args[2], args[1])):
            x[i] = value

    return body


@kernel
def transposed(dtype: str) -> Any:
    """A copy between arrays that step through memory along different axes, tile by tile.

    args: result, x; rows, columns; strides of the result along a row step, of x along rows and columns (the result's
    columns lie side by side); rows and columns of a tile, items, items a chunk, number of other axes; their extents,
    the result's strides, x's strides.
    """

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        y, x = pointer(args[0], dtype), pointer(args[1], dtype)
        rows, columns, y_row, x_row, x_column = args[2], args[3], args[4], args[5], args[6]
        high, wide, axes = args[7], args[8], args[11]
        down, across = (rows + high - 1) // high, (columns + wide - 1) // wide
        for item in range(first * args[10], smaller(last * args[10], args[9])):
            rest = item // across
            c0 = (item % across) * wide
            r0 = (rest % down) * high
            rest //= down
            to, of = r0 * y_row + c0, r0 * x_row + c0 * x_column
            for left in range(axes):
                axis = 12 + axes - 1 - left
                here = rest % args[axis]
                rest //= args[axis]
                to += here * args[axis + axes]
                of += here * args[axis + 2 * axes]
            count = smaller(wide, columns - c0)
            for r in range(smaller(high, rows - r0)):
                if x_column == -1:
                    for c in range(count):
                        y[to + r * y_row + c] = x[of + r * x_row - c]
                else:
                    for c in range(count):
                        y[to + r * y_row + c] = x[of + r * x_row + c * x_column]

    return body


@kernel
def triangle(dtype: str, lower: bool) -> Any:
    """The part of each matrix on one side of a diagonal, 0 on the other.

    args: result, x (both batches of matrices side by side), rows in all, rows of a matrix, columns, the diagonal (0:
    the main one, positive: above), rows a chunk.
    """

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        y, x = pointer(args[0], dtype), pointer(args[1], dtype)
        height, width, diagonal = args[3], args[4], args[5]
        for row in range(first * args[6], smaller(last * args[6], args[2])):
            at = row * width
            edge = row % height + diagonal + (1 if lower else 0)
            edge = max(0, min(width, edge))
            for j in range(edge):
                y[at + j] = x[at + j] if lower else 0
            for j in range(edge, width):
                y[at + j] = 0 if lower else x[at + j]

    return body
