"""Convolutions with one channel a group, as sums over taps beside all channels (`_kernels.convolution.depthwise`)."""

from __future__ import annotations

import math
from typing import NamedTuple

from fastnn._kernels import cpu
from fastnn._kernels.matmul.table import CYCLE_NS, MEMORY_NS
from fastnn.ops.convolution.geometry import Geometry, Problem
from fastnn.ops.convolution.images import distances
from fastnn.ops.convolution.layout import channels_second, ready
from fastnn.ops.elementwise import contiguous
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.reduction import sum_axes
from fastnn.ops.views import sliced

MOST_TAPS, MOST_STRIDE = 16, 8  # along columns: what one tile holds
MOST_CHANNELS = 1 << 16
CHUNK_NS, MOST_PARTS = 20_000, 64


class _Sides(NamedTuple):
    """One axis: extents of target and source, and how places meet."""

    target: int
    source: int
    taps: int
    stride: int
    dilation: int
    padding: int


def refuses(problem: Problem) -> str:
    """Why these kernels do not take a problem."""
    geometry = problem.geometry
    if not 1 < geometry.groups == problem.channels == problem.outputs:
        return "more than one channel a group"
    if problem.channels < cpu.target().lanes(problem.dtype):
        return "fewer channels than a vector has lanes"
    if problem.channels > MOST_CHANNELS:
        return "a pixel of zeros does not fit the scratch"
    if len(geometry.input) > 2:
        return "three axes"
    if geometry.kernel[-1] > MOST_TAPS or geometry.stride[-1] > MOST_STRIDE:
        return "too wide a kernel or stride"
    return ""


def nanoseconds(problem: Problem) -> float:
    """Estimated time of any pass on one core."""
    pixels = problem.batch * problem.channels * (math.prod(problem.geometry.input) + math.prod(problem.geometry.output))
    copied = pixels * problem.itemsize / 4 * MEMORY_NS / 2
    return problem.flops / (2 * cpu.target().lanes(problem.dtype)) * CYCLE_NS + copied


def _axes(geometry: Geometry, transposed: bool) -> list[_Sides]:
    """Rows and columns; an image of one axis is one row."""
    target, source = (geometry.input, geometry.output) if transposed else (geometry.output, geometry.input)
    before = [pair[0] for pair in geometry.padding]
    axes = zip(target, source, geometry.kernel, geometry.stride, geometry.dilation, before, strict=True)
    return [_Sides(1, 1, 1, 1, 1, 0)] * (2 - len(target)) + [_Sides(*axis) for axis in axes]


def _words(source: Array, axes: list[_Sides], rows_a_chunk: int) -> list[int]:
    """The arguments from the extents on."""
    rows, columns = axes
    return [
        rows.target, columns.target, rows.source, columns.source, source.shape[-1], *rows[3:],
        columns.padding, *distances(source), rows_a_chunk, source.shape[0] * rows.target,
    ]  # fmt: skip


def _chunks(rows: int, problem: Problem, most: int) -> tuple[int, int]:
    """Rows of a chunk, and chunks."""
    wanted = max(1, min(most, rows, int(nanoseconds(problem) / CHUNK_NS)))
    each = -(-rows // wanted)
    return each, -(-rows // each)


def _correlated(
    low: Lowering, image: Array, w: Array, b: Array | None, geometry: Geometry, problem: Problem, transposed: bool
) -> Array:
    axes = _axes(geometry, transposed)
    source = ready(low, image, ((0, 0),) * len(geometry.input))
    weight = contiguous(low, w.permuted([*range(2, w.ndim), 1, 0]))
    extents = geometry.input if transposed else geometry.output
    y = low.temporary((image.shape[0], *extents, image.shape[1]), image.dtype)
    if y.size == 0:
        return channels_second(y)
    each, chunks = _chunks(image.shape[0] * axes[0].target, problem, 1024)
    low.phase(
        "convolution.depthwise.correlate",
        [
            writes(y), reads(source), reads(weight), 0 if b is None else reads(b),
            *_words(source, axes, each),
        ],
        chunks=chunks, work=nanoseconds(problem), flops=problem.flops, dtype=image.dtype,
        width=cpu.target().vector_bytes, rows=axes[0].taps, taps=axes[1].taps, stride=axes[1].stride,
        dilation=axes[1].dilation, transposed=transposed,
    )  # fmt: skip
    return channels_second(y)


def forward(low: Lowering, x: Array, w: Array, b: Array | None, geometry: Geometry) -> Array:
    """As `variants.Variant` has it."""
    problem = Problem("forward", geometry, x.shape[0], x.shape[1], w.shape[0], x.dtype)
    return _correlated(low, x, w, None if b is None else contiguous(low, b), geometry, problem, transposed=False)


def input_gradient(low: Lowering, dy: Array, w: Array, geometry: Geometry) -> Array:
    """As `variants.Variant` has it."""
    problem = Problem("input gradient", geometry, dy.shape[0], dy.shape[1], dy.shape[1], dy.dtype)
    return _correlated(low, dy, w, None, geometry, problem, transposed=True)


def weight_gradient(low: Lowering, x: Array, dy: Array, w: Array, geometry: Geometry) -> Array:
    """As `variants.Variant` has it."""
    problem = Problem("weight gradient", geometry, x.shape[0], x.shape[1], dy.shape[1], x.dtype)
    axes = _axes(geometry, transposed=False)
    source = ready(low, x, ((0, 0),) * len(geometry.input))
    got = ready(low, dy, ((0, 0),) * len(geometry.input), dense=True)
    each, chunks = _chunks(x.shape[0] * axes[0].target, problem, MOST_PARTS)
    target = cpu.target()
    lanes = target.lanes(x.dtype)
    parts = low.temporary((chunks, *geometry.kernel, -(-w.shape[0] // lanes) * lanes), x.dtype)
    low.phase(
        "convolution.depthwise.weight_gradient",
        [
            writes(parts), reads(source), reads(got), 0,
            *_words(source, axes, each),
        ],
        chunks=chunks, work=nanoseconds(problem), flops=problem.flops, dtype=x.dtype,
        width=target.vector_bytes, rows=axes[0].taps, taps=axes[1].taps, stride=axes[1].stride,
        dilation=axes[1].dilation,
    )  # fmt: skip
    dw = low.output(w.shape, w.dtype, [*range(2, w.ndim), 1, 0])
    every = sliced(parts, *(slice(None),) * (1 + len(geometry.kernel)), slice(0, w.shape[0]))
    last = dw.permuted([*range(2, w.ndim), 1, 0])
    sum_axes(low, every, (0,), last)
    return dw
