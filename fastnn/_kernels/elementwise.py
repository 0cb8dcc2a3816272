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
from fastnn._kernels.jit import inline, kernel
from fastnn._kernels.pointer import cell, pointer
from fastnn._kernels.vector import ITEMSIZES, VECTOR_BYTES, Value, move, outlined, sweep


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

# Scratch: int64 words, then the cells' numbers, then for every array a block of STAGED elements.
# The words: the sweep's table; how many arrays, sizes of an element; done, stop, position along the innermost axis,
# longest run; the index along each axis; each array's address now.
ARRAYS, SIZE, RESULT_SIZE, DONE, STOP, POSITION, LONGEST, INDEX, CURRENT = 16, 17, 18, 19, 20, 21, 22, 32, 64
NUMBERS = 1024
BLOCKS = 2048
STAGED = 512


@inline
def begin(words: Any, args: Any, first: Any, last: Any) -> None:
    """Place the odometer on the first element of the chunks."""
    outlined()
    arrays, size, result_size = words[ARRAYS], words[SIZE], words[RESULT_SIZE]
    done = first * args[arrays + 1]
    ndim = args[arrays + 2]
    shape = arrays + 3
    inner = ndim - 1
    words[DONE] = done
    words[STOP] = min(args[arrays], last * args[arrays + 1])
    words[LONGEST] = args[shape + inner]
    for k in range(arrays):
        words[CURRENT + k] = args[k]
        step = args[shape + ndim + k * ndim + inner]
        if step != 1 and (k == 0 or step != 0):
            words[LONGEST] = min(args[shape + inner], STAGED)
    for axis in range(inner, -1, -1):
        at = done % args[shape + axis]
        done //= args[shape + axis]
        words[INDEX + axis] = at
        for k in range(arrays):
            unit = size if k else result_size
            words[CURRENT + k] += at * args[shape + ndim + k * ndim + axis] * unit
    words[POSITION] = words[INDEX + inner]


@inline
def load_run(words: Any, args: Any, scratch: Any) -> Any:
    """Fill the sweep's table for the next run; operands that do not lie side by side are moved into scratch."""
    outlined()
    arrays, size = words[ARRAYS], words[SIZE]
    ndim = args[arrays + 2]
    inner = arrays + 3 + ndim - 1
    length = min(min(args[inner] - words[POSITION], words[STOP] - words[DONE]), words[LONGEST])
    for k in range(arrays):
        step = args[inner + (k + 1) * ndim]
        block = scratch + BLOCKS + k * (STAGED * 8)
        words[k] = words[CURRENT + k] if step == 1 else block
        words[arrays + k] = step != 0 or k == 0
        if k and step != 1:
            move(size, block, size, words[CURRENT + k], step * size, length if step else VECTOR_BYTES // size)
    return length


@inline
def finish_run(words: Any, args: Any, length: Any) -> None:
    """Move a staged result to its place and the odometer past the run."""
    outlined()
    arrays, size, result_size = words[ARRAYS], words[SIZE], words[RESULT_SIZE]
    ndim = args[arrays + 2]
    shape = arrays + 3
    axis = ndim - 1
    step = args[shape + ndim + axis]
    if step != 1:
        move(result_size, words[CURRENT], step * result_size, words[0], result_size, length)
    words[DONE] += length
    words[POSITION] += length
    moved = length
    if words[POSITION] == args[shape + axis]:
        words[POSITION] = 0
        moved -= args[shape + axis]
    while True:
        for k in range(arrays):
            unit = size if k else result_size
            words[CURRENT + k] += moved * args[shape + ndim + k * ndim + axis] * unit
        axis -= 1
        if moved > 0 or words[POSITION] > 0 or axis < 0:
            break
        words[INDEX + axis] += 1
        moved = 1
        if words[INDEX + axis] == args[shape + axis]:
            words[INDEX + axis] = 0
            moved -= args[shape + axis]


@kernel
def map(function: str, dtype: str) -> Any:
    """The kernel of a row of `TABLE`; the note at the head of this file describes its arguments."""
    row = TABLE[function]
    arrays = row.operands + 1
    cells = row.cells
    size = ITEMSIZES[dtype]
    result_size = ITEMSIZES[row.result or dtype]
    run_over = sweep(row.expression, [row.result or dtype], [dtype] * row.operands, cells)

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        words = pointer(scratch, "int64")
        numbers = pointer(scratch + NUMBERS, dtype)
        for c in range(cells):
            numbers[c] = cell(args[arrays + 3 + (arrays + 1) * args[arrays + 2] + c])
        words[ARRAYS], words[SIZE], words[RESULT_SIZE] = arrays, size, result_size
        begin(words, args, first, last)
        while words[DONE] < words[STOP]:
            length = load_run(words, args, scratch)
            run_over(scratch, scratch + NUMBERS, length)
            finish_run(words, args, length)

    return body
