"""Lowering of what walks along one axis: the arguments that describe lines, and how they are cut into chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastnn.ops.elementwise import groups
from fastnn.ops.lowering import Array, join_axes


def lines(axis: int, arrays: Sequence[Array], nanoseconds: float, multiple: int = 1) -> tuple[list[int], int, float]:
    """What `fastnn._kernels.lines.Lines` reads, the number of chunks, and the estimated work.

    Parameters
    ----------
    axis : along which the lines run.
    arrays : all with the same other axes (or none at all).
    nanoseconds : estimated for a line.
    multiple : of lines that a chunk shall have.
    """
    shape = arrays[0].shape
    others = [a for a in range(len(shape)) if a != axis]
    extents, strides = join_axes([shape[a] for a in others], [[x.strides[a] for a in others] for x in arrays])
    count = math.prod(extents)
    steps = [x.strides[axis] if x.ndim else 1 for x in arrays]
    group, chunks, work = groups(count, nanoseconds + 30, multiple)
    numbers = [count, group, len(extents), *steps]
    for own in strides:
        numbers += [*extents, *own]
    return numbers, chunks, work
