"""Functions of elements: any strides, broadcasting, one kernel for each function and dtype.

A. Layout. Operands come as up to 32 axes with strides in elements. The innermost axis runs in vectors: an operand
   that is contiguous along it is read in place; one with stride 0 is spread over one vector first and read again and
   again; any other is gathered into scratch, a block at a time. So flat, scalar, broadcast and strided calls share
   one loop, and a call over contiguous arrays is one run of it.
B. Chunks are blocks of `args[BLOCK]` elements of the result in C order. Elements do not depend on each other, so
   chunking never changes bits.
C. A result may lie exactly where an operand does (``y += x`` is ``add`` with the result on its first operand).

args: address of the result, then of each operand; total elements; elements a chunk; number of axes (at least 1);
      extents of the axes; the result's strides; each operand's strides; addresses of float64 cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fastnn._kernels import functions as f
from fastnn._kernels.jit import kernel
from fastnn._kernels.pointer import cell, pointer
from fastnn._kernels.vector import ITEMSIZES, VECTOR_BYTES, Value, address_of, mover, sweep


class Row(NamedTuple):
    """One function: its expression, the dtype of its result if not the operands', and how many cells it takes."""

    operands: int
    expression: Callable[..., Value]
    result: str = ""
    cells: int = 0


TABLE: dict[str, Row] = {
    "fill": Row(0, lambda value: value, cells=1),
    "copy": Row(1, lambda x: x),
    "negative": Row(1, lambda x: -x),
    "scale": Row(1, lambda x, factor: x * factor, cells=1),
    "add": Row(2, lambda x, y: x + y),
    "subtract": Row(2, lambda x, y: x - y),
    "multiply": Row(2, lambda x, y: x * y),
    "divide": Row(2, lambda x, y: x / y),
    # The gradient of x / y for y: -(dy / y) * (x / y), from the saved quotient.
    "divide_backward": Row(3, lambda dy, y, quotient: -(dy / y) * quotient),
    "exp": Row(1, f.exp),
    "log": Row(1, f.log),
    "relu": Row(1, f.relu),
    "relu_backward": Row(2, f.relu_backward),
    "tanh": Row(1, f.tanh),
    "tanh_backward": Row(2, f.tanh_backward),
    "sigmoid": Row(1, f.sigmoid),
    "sigmoid_backward": Row(2, f.sigmoid_backward),
    "equal": Row(2, lambda x, y: x.compare("==", y), "bool"),
    "not_equal": Row(2, lambda x, y: x.compare("!=", y), "bool"),
    "less": Row(2, lambda x, y: x.compare("<", y), "bool"),
    "less_equal": Row(2, lambda x, y: x.compare("<=", y), "bool"),
    "greater": Row(2, lambda x, y: x.compare(">", y), "bool"),
    "greater_equal": Row(2, lambda x, y: x.compare(">=", y), "bool"),
}

# Scratch: int64 words (the sweep's table, the odometer, addresses), the cells' numbers, then for every array a block.
INDEX, CURRENT = 64, 96
NUMBERS = 1024
BLOCKS = 2048
STAGED = 512


@kernel
def map(function: str, dtype: str) -> Any:
    """The kernel of a row of `TABLE`; the note at the head of this file describes its arguments."""
    row = TABLE[function]
    result = row.result or dtype
    arrays = row.operands + 1
    cells = row.cells
    size, result_size = ITEMSIZES[dtype], ITEMSIZES[result]
    block_bytes = STAGED * 8
    head = arrays + 3
    run_over = sweep(row.expression, [result], [dtype] * row.operands, cells)
    gather, scatter = mover(dtype), mover(result)
    spread = VECTOR_BYTES // max(size, result_size)

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        base = address_of(scratch)
        words = pointer(base, "int64")
        total = args[arrays]
        block = args[arrays + 1]
        ndim = args[arrays + 2]
        strides = head + ndim
        inner = ndim - 1
        extent = args[head + inner]
        numbers = pointer(base + NUMBERS, dtype)
        for c in range(cells):
            numbers[c] = cell(args[strides + arrays * ndim + c])

        done = first * block
        stop = min(total, last * block)
        longest = extent
        for k in range(arrays):
            words[CURRENT + k] = args[k]
            step = args[strides + k * ndim + inner]
            if step != 1 and (k == 0 or step != 0):
                longest = min(longest, STAGED)
        rest = done
        for left in range(ndim):
            axis = inner - left
            at = rest % args[head + axis]
            rest //= args[head + axis]
            words[INDEX + axis] = at
            for k in range(arrays):
                words[CURRENT + k] += at * args[strides + k * ndim + axis] * (result_size if k == 0 else size)
        position = words[INDEX + inner]

        while done < stop:
            length = min(min(extent - position, stop - done), longest)
            for k in range(arrays):
                step = args[strides + k * ndim + inner]
                words[k] = words[CURRENT + k]
                words[arrays + k] = 1
                if step != 1:
                    words[k] = base + BLOCKS + k * block_bytes
                    if k > 0 and step == 0:
                        words[arrays + k] = 0
                        gather(words[k], size, words[CURRENT + k], 0, spread)
                    elif k > 0:
                        gather(words[k], size, words[CURRENT + k], step * size, length)
            run_over(base, base + NUMBERS, length)
            if args[strides + inner] != 1:
                scatter(words[CURRENT], args[strides + inner] * result_size, words[0], result_size, length)

            done += length
            position += length
            moved = length if position < extent else length - extent
            for k in range(arrays):
                unit = result_size if k == 0 else size
                words[CURRENT + k] += moved * args[strides + k * ndim + inner] * unit
            if position == extent:
                position = 0
                axis = inner - 1
                while axis >= 0:
                    words[INDEX + axis] += 1
                    wrapped = words[INDEX + axis] == args[head + axis]
                    moved = 1 - args[head + axis] if wrapped else 1
                    for k in range(arrays):
                        unit = result_size if k == 0 else size
                        words[CURRENT + k] += moved * args[strides + k * ndim + axis] * unit
                    if not wrapped:
                        break
                    words[INDEX + axis] = 0
                    axis -= 1

    return body
