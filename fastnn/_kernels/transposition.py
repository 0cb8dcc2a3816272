"""Copies between arrays whose innermost axes differ: rows that lie across become columns that lie side by side.

Tiles of a vector by a vector are loaded along the source's own axis, transposed in registers and stored along the
result's. So every cache line is read and written whole, where a copy element by element would fetch one for each.

args: address of the result, of the source; lines (the axis along which the result lies), depth (the axis along which
      the source lies); bytes from one line to the next in the source, from one depth to the next in the result; tiles
      of the depth a chunk; number of outer axes; their extents, then the result's and the source's bytes along each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.emit import Vectors
from fastnn._kernels.jit import kernel
from fastnn._kernels.vector import Value


@kernel
def copy(dtype: str, width: int) -> Any:
    """Copy, for an element type and a vector width in bytes."""
    size = np.dtype(dtype).itemsize
    lanes = width // size

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        v = Vectors(code.builder, size, width)
        lines, depth, across, along, group, ndim = (args[k] for k in range(2, 8))
        tiles = (depth + (lanes - 1)) // lanes
        outer = code.local(1)
        with code.range(0, ndim) as axis:
            outer.now = outer.now * args[axis + 8]
        items = outer.now * tiles

        def tile(target: Value, source: Value, here: Value, rest: Value | None) -> None:
            """Transpose `here` lines, the last one again where there are fewer than lanes; `rest` of the depth is left,
            None for a whole tile.
            """
            base = v.pointer(source.value)
            places = [v.at(base, ((smaller(here - 1, r) if r else here * 0) * across).value) for r in range(lanes)]
            columns = v.transposed(places, None if rest is None else v.mask(rest.value))
            some = v.mask(here.value)
            for r, column in enumerate(columns):
                if rest is None:
                    v.store(column, v.pointer((target + along * r).value), some)
                else:
                    with code.when(rest.compare(">", r)):
                        v.store(column, v.pointer((target + along * r).value), some)

        with code.range(first * group, smaller(items, last * group)) as item:
            start = (item % tiles) * lanes
            left = code.local(item // tiles)
            target, source = code.local(args[0] + start * along), code.local(args[1] + start * size)
            with code.range(0, ndim) as back:
                axis = ndim - 1 - back
                index = left.now % args[axis + 8]
                left.now = left.now // args[axis + 8]
                target.now = target.now + index * args[axis + ndim + 8]
                source.now = source.now + index * args[axis + ndim * 2 + 8]
            rest = depth - start
            line = code.local(0)
            with code.builder.if_else(rest.compare(">=", lanes).value) as (whole, part):
                for branch, depth_left in ((whole, None), (part, rest)):
                    with branch, code.while_(lambda: line.now.compare("<", lines)):
                        here = smaller(lines - line.now, lanes)
                        tile(target.now + line.now * size, source.now + line.now * across, here, depth_left)
                        line.now = line.now + lanes

    return traced(emit)
