"""The gradient of an input of few channels, as products of places that are spread (`_kernels.convolution.spread`)."""

from __future__ import annotations

import math

from fastnn._kernels import cpu
from fastnn._kernels.convolution.layout import (
    MOST_ROWS,
    MOST_STEPS,
    PACKED_ROOM,
    PLACES_AT_ONCE,
    PRODUCTS_ROOM,
    SPREAD_ROOM,
)
from fastnn._kernels.matmul.table import CYCLE_NS
from fastnn.ops.convolution.geometry import Geometry, Problem
from fastnn.ops.convolution.images import ENOUGH_CHUNKS, distances, two, with_rows
from fastnn.ops.convolution.layout import channels_second, ready
from fastnn.ops.lowering import MAX_CHUNKS, Array, Lowering, reads, writes

BUSY = 0.75  # the share of the FMA peak that the products reach
ROOM = 128 << 10  # bytes of rows of the input at a time, roughly
PANELS_BYTES = 20 << 10  # of what the output got, which stays in the first cache


def _line(geometry: Geometry, lanes: int) -> int:
    """Columns of a row of the input with one remainder by the stride, those of the padding too, and a vector."""
    stride, dilation, padding = geometry.stride[-1], geometry.dilation[-1], geometry.padding[-1][0]
    reached = geometry.output[-1] + (geometry.kernel[-1] - 1) * dilation // stride
    return max(reached, (geometry.input[-1] - 1 + padding) // stride + 1) + lanes


def refuses(problem: Problem) -> str:
    """Why this kernel does not take a problem."""
    geometry, size = problem.geometry, problem.itemsize
    channels, outputs = problem.channels // geometry.groups, problem.outputs // geometry.groups
    if problem.which != "input gradient":
        return "not this pass"
    if len(geometry.input) > 2:
        return "three axes"
    rows = math.prod(geometry.kernel) * channels
    if rows > MOST_ROWS or rows * PLACES_AT_ONCE * size > PRODUCTS_ROOM:
        return "too many taps and channels for the scratch"
    if outputs > MOST_STEPS or outputs * PLACES_AT_ONCE * size > PACKED_ROOM:
        return "too many outputs for the scratch"
    if _row_bytes(problem) > SPREAD_ROOM:
        return "a row does not fit the scratch"
    return ""


def _row_bytes(problem: Problem) -> int:
    geometry, size = problem.geometry, problem.itemsize
    line = _line(geometry, cpu.target().lanes(problem.dtype)) * size
    return line * geometry.stride[-1] * problem.channels // geometry.groups


def nanoseconds(problem: Problem) -> float:
    """Estimated time on one core: products, packing of what the output got, sums, and writing the result."""
    geometry, lanes = problem.geometry, cpu.target().lanes(problem.dtype)
    rows = math.prod(geometry.kernel) * problem.channels / geometry.groups
    cycles = problem.flops / (4 * lanes * BUSY) * (1 + 5 / rows + 5 * geometry.groups / problem.outputs)
    return (cycles + 3 * problem.batch * problem.channels * math.prod(geometry.input)) * CYCLE_NS


def input_gradient(low: Lowering, dy: Array, w: Array, geometry: Geometry) -> Array:
    """As `variants.Variant` has it."""
    groups, size, target = geometry.groups, dy.itemsize, cpu.target()
    batch, channels, outputs = dy.shape[0], w.shape[1], w.shape[0] // groups
    problem = Problem("input gradient", geometry, batch, channels * groups, w.shape[0], dy.dtype)
    got = ready(low, dy, ((0, 0),) * len(geometry.input))
    weight = with_rows(w)
    dx = low.temporary((batch, *geometry.input, channels * groups), dy.dtype)
    if dx.size == 0:
        return channels_second(dx)
    extents, taps = two(geometry.input, 1), two(geometry.kernel, 1)
    steps = [*zip(two(geometry.stride, 1), two(geometry.dilation, 1), strict=True)]
    rows = max(1, min(extents[0], ROOM // _row_bytes(problem)))
    rows = min(rows, max(2 * taps[0], batch * groups * extents[0] // ENOUGH_CHUNKS))
    down = -(-extents[0] // rows)
    rows = -(-extents[0] // down)
    every = batch * groups * down
    each = -(-every // MAX_CHUNKS)
    low.phase(
        "convolution.spread.spread",
        [
            writes(dx), reads(got), reads(w), channels, outputs, batch, *extents, *distances(dx),
            *two(geometry.output, 1), *distances(got), *taps, steps[0][0], steps[1][0], steps[0][1], steps[1][1],
            *two([p[0] for p in geometry.padding], 0), *(s * size for s in weight.strides),
            outputs * weight.strides[0] * size, _line(geometry, target.lanes(dy.dtype)) * size, rows, down, each,
            every, max(1, PANELS_BYTES // (outputs * 2 * target.vector_bytes)),
        ],
        chunks=-(-every // each), work=nanoseconds(problem), flops=problem.flops, dtype=dy.dtype,
        width=target.vector_bytes, registers=target.registers,
    )  # fmt: skip
    return channels_second(dx)
