"""Convolutions of one and two axes by register tiles, taps and channels together (`_kernels.convolution.direct`)."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import NamedTuple

from fastnn._kernels import cpu
from fastnn._kernels.convolution.layout import MOST_ROWS, MOST_STEPS, STRIP_ROOM
from fastnn._kernels.matmul.table import CYCLE_NS, MEMORY_NS, direction
from fastnn.ops.convolution import spread
from fastnn.ops.convolution.classes import axis_classes
from fastnn.ops.convolution.general import weights_nanoseconds
from fastnn.ops.convolution.geometry import ANY_BATCH, Geometry, Problem
from fastnn.ops.convolution.images import ENOUGH_CHUNKS, distances, two, with_rows
from fastnn.ops.convolution.layout import channels_second, ready, split
from fastnn.ops.lowering import MAX_CHUNKS, Array, Candidate, Lowering, reads, writes
from fastnn.ops.reduction import sum_axes
from fastnn.ops.views import put, sliced

# Taps and channels that are summed at a time, roughly; bytes of panels that rows go past one after the other.
STEPS_AT_ONCE, PANELS_BYTES = 1200, 20 << 10
# Places at a time where these are the tile's rows, and where they are summed over; channels and outputs then.
PLACES, PLACES_SUMMED, CHANNELS, OUTPUTS = 768, 224, 64, 128
LEAST_PLACES = 192
# Fewer channels at a time make room for more places, as long as these are few and many steps are left.
ENOUGH_PLACES, LEAST_STEPS = 64, 250
MANY = 1 << 20  # samples, where their number must not count
STRIP_SHARE = 1 / 3  # of the second-level cache, for the strip
SHORT_ROW = 256  # bytes of a place's outputs up to which panels need no packing
# The share of the FMA peak that long sums reach; in the weight gradient, parts of which are added up afterwards.
BUSY, GRADIENT_BUSY = 0.88, 0.7


class _Class(NamedTuple):
    """Places of the target that meet the same taps: for rows and columns each a number.

    Attributes
    ----------
    taps : how many; `tap` the first one, `tap_step` to the next, so that their sources ascend.
    start : the source that the first place meets with its first tap.
    first : the first place of the target.
    places : how many.
    """

    taps: tuple[int, int]
    tap: tuple[int, int]
    tap_step: tuple[int, int]
    start: tuple[int, int]
    first: tuple[int, int]
    places: tuple[int, int]

    @property
    def number(self) -> int:
        """Taps along rows times taps along columns."""
        return self.taps[0] * self.taps[1]


class _Sides(NamedTuple):
    """A pass that sums at every place of a target over places of a source."""

    source: tuple[int, int]
    target: tuple[int, int]
    step: tuple[int, int]  # places of the source from one place of a class to the next
    spread: tuple[int, int]  # places of the target likewise
    tap: tuple[int, int]  # places of the source from tap to tap
    classes: list[_Class]

    @property
    def low(self) -> tuple[int, int]:
        """The lowest source that first places meet."""
        return min(c.start[0] for c in self.classes), min(c.start[1] for c in self.classes)

    @property
    def span(self) -> tuple[int, int]:
        """From there to the highest, and one more."""
        ends = [[c.start[a] + (c.taps[a] - 1) * self.tap[a] + 1 for c in self.classes] for a in range(2)]
        return max(ends[0]) - self.low[0], max(ends[1]) - self.low[1]

    @property
    def places(self) -> tuple[int, int]:
        """The most places of a class."""
        return max(c.places[0] for c in self.classes), max(c.places[1] for c in self.classes)


def _sides(geometry: Geometry, transposed: bool) -> _Sides:
    taps, stride, dilation = (two(v, 1) for v in (geometry.kernel, geometry.stride, geometry.dilation))
    before = two([p[0] for p in geometry.padding], 0)
    wide, narrow = two(geometry.input, 1), two(geometry.output, 1)
    if not transposed:
        start = (-before[0], -before[1])
        only = _Class(taps, (0, 0), (1, 1), start, (0, 0), narrow)
        return _Sides(wide, narrow, stride, (1, 1), dilation, [only])
    axes = [axis_classes(*axis) for axis in zip(wide, taps, stride, before, dilation, strict=True)]
    found = []
    for rows, columns in itertools.product(*map(enumerate, axes)):
        both = (rows[1], columns[1])
        if not all(c.taps for c in both):
            continue
        found.append(
            _Class(
                *zip(
                    *(
                        (
                            c.taps, c.tap + c.tap_step * (c.taps - 1), -c.tap_step, c.start - c.back * (c.taps - 1),
                            first, c.places,
                        )
                        for first, c in (rows, columns)
                    ),
                    strict=True,
                )
            )
        )  # fmt: skip
    return _Sides(narrow, wide, (1, 1), stride, (axes[0][0].back, axes[1][0].back), found)


class _Plan(NamedTuple):
    """Channels at a time; samples, rows and columns of a chunk."""

    block: int
    samples: int
    rows: int
    columns: int

    @property
    def places(self) -> int:
        """Places at a time."""
        return self.samples * self.rows * self.columns


def _plan(sides: _Sides, batch: int, channels: int, size: int) -> _Plan | None:
    """How to cut a pass over places of the target; None where a strip does not fit the scratch.

    The channels at a time, which the order of a sum follows, do not depend on the batch.
    """
    taps = max(c.number for c in sides.classes)
    parts = max(1, round(channels * taps / STEPS_AT_ONCE))

    def cut(parts: int, batch: int) -> _Plan | None:
        block = channels if parts == 1 else min(channels, -(-channels // parts // 8) * 8)
        return _cut(sides, batch, max(1, min(block, MOST_STEPS // taps)), size, PLACES, taps <= MOST_STEPS)

    plan = cut(parts, MANY)
    while plan is not None and plan.places < ENOUGH_PLACES and plan.block * taps > 2 * LEAST_STEPS:
        finer = cut(2 * parts, MANY)
        if finer is None or finer.places <= plan.places:
            break
        plan, parts = finer, 2 * parts
    return cut(parts, batch)


def _sum_plan(sides: _Sides, batch: int, channels: int, size: int) -> _Plan | None:
    """How to cut a pass that sums over places."""
    taps = sides.classes[0].number
    block = max(1, min(channels, CHANNELS, MOST_ROWS // taps))
    return _cut(sides, batch, block, size, PLACES_SUMMED, taps <= MOST_ROWS)


def _cut(sides: _Sides, batch: int, block: int, size: int, places: int, fits: bool) -> _Plan | None:
    rows, columns = sides.places
    room = min(STRIP_ROOM // 2, int(cpu.caches().l2 * STRIP_SHARE))

    def strip(rows: int, columns: int) -> int:
        extents = zip((rows, columns), sides.step, sides.span, strict=True)
        return math.prod((n - 1) * s + span for n, s, span in extents) * block * size

    whole, parts = columns, 1
    while columns > 1 and (columns > places or strip(1, columns) > room):
        parts += 1
        columns = -(-whole // parts)
    if not fits or strip(1, columns) > STRIP_ROOM // 2:
        return None
    most = max(1, places // columns)
    # fewer places at a time where there would be few chunks
    every = batch * sides.places[0] * parts
    most = max(1, min(most, max(every // ENOUGH_CHUNKS, LEAST_PLACES // columns)))
    down = -(-rows // most)
    while down < rows and strip(-(-rows // down), columns) > room:
        down += 1
    rows = -(-rows // down)
    samples = 1
    if down == 1 and parts == 1:
        samples = max(1, min(batch, most // rows, room // strip(rows, columns)))
    return _Plan(block, samples, rows, columns)


def refuses(problem: Problem) -> str:
    """Why these kernels do not take a problem."""
    geometry = problem.geometry
    if len(geometry.input) > 2:
        return "three axes"
    if math.prod(geometry.kernel) == 1:
        return "one tap: a product of matrices"
    if math.prod(geometry.output) == 1:
        return "one place: a product of matrices"
    if 0 in (problem.batch, problem.channels, problem.outputs):
        return "no samples or channels"
    sides = _sides(geometry, problem.which == "input gradient")
    if len(sides.classes) < math.prod(min(s, n) for s, n in zip(sides.spread, sides.target, strict=True)):
        return "places that meet no tap"
    channels, _, size = _sums(problem)
    plan = _sum_plan if problem.which == "weight gradient" else _plan
    if plan(sides, problem.batch, channels, size) is None:
        return "a row of the kernel does not fit the scratch"
    return ""


def _sums(problem: Problem) -> tuple[int, int, int]:
    """Channels that are summed and those of the result, of a group, and bytes of an element."""
    groups = problem.geometry.groups
    sides = problem.channels // groups, problem.outputs // groups
    inner, outer = sides[::-1] if problem.which == "input gradient" else sides
    return inner, outer, problem.itemsize


def nanoseconds(problem: Problem) -> float:
    """Estimated time of a pass on one core, by the cheaper kernel where there are two."""
    gathered = _nanoseconds(problem)
    return gathered if spread.refuses(problem) else min(gathered, spread.nanoseconds(problem))


def _nanoseconds(problem: Problem) -> float:
    """By tiles of places: lanes beyond the last column are idle, and short sums take longer to begin and end."""
    inner, outer, size = _sums(problem)
    lanes = cpu.target().lanes(problem.dtype)
    taps = float(math.prod(problem.geometry.kernel))
    if problem.which == "input gradient":
        taps /= math.prod(problem.geometry.stride)
    idle = -(-outer // lanes) * lanes / outer
    pixels = math.prod(problem.geometry.input) * problem.channels + math.prod(problem.geometry.output) * problem.outputs
    copies = problem.batch * pixels * size / 4 * MEMORY_NS
    busy = BUSY if problem.which != "weight gradient" else GRADIENT_BUSY
    products = problem.flops / (4 * lanes * busy) * idle * (1 + 8 / (inner * taps)) * CYCLE_NS
    return products + copies + weights_nanoseconds(problem)


def _bias(low: Lowering, b: Array, groups: int, panel: int) -> Array:
    """A bias with room behind each group's for whole panels."""
    own = split(b, 0, groups)
    made = low.temporary((groups, -(-own.shape[1] // panel) * panel), b.dtype)
    put(low, sliced(made, slice(None), slice(0, own.shape[1])), own)
    return made


def _gathered(low: Lowering, image: Array, w: Array, b: Array | None, problem: Problem) -> Array:
    geometry, transposed = problem.geometry, problem.which == "input gradient"
    sides = _sides(geometry, transposed)
    inner, outer, size = _sums(problem)
    plan = _plan(sides, problem.batch, inner, size)
    assert plan is not None
    target = cpu.target()
    panel = 2 * target.lanes(problem.dtype)
    across = -(-outer // panel)
    groups = geometry.groups
    source = ready(low, image, ((0, 0),) * len(geometry.input))
    weight = with_rows(w)
    channel, output = (weight.strides[0], weight.strides[1]) if transposed else weight.strides[1::-1]
    panels_bytes = across * panel * inner * size  # of one tap
    group_bytes = panels_bytes * sum(c.number for c in sides.classes)
    space = low.temporary((groups * group_bytes // size,), w.dtype)
    words: list[int] = []
    before = 0
    for one in sides.classes:
        begin = weight.strides[2] * one.tap[0] + weight.strides[3] * one.tap[1]
        steps = [s * t * size for s, t in zip(weight.strides[2:], one.tap_step, strict=True)]
        low.phase(
            "convolution.direct.panels",
            [
                writes(replace(space, offset=space.offset + before * panels_bytes)),
                reads(replace(weight, offset=weight.offset + begin * size)),
                inner, outer, *one.taps, channel * size, output * size, *steps,
                weight.shape[0] // groups * weight.strides[0] * size, group_bytes, plan.block,
                direction(output if outer > 1 else 1, channel),
            ],
            chunks=groups * across, work=groups * inner * outer * one.number * 0.5, flops=0, dtype=w.dtype,
            width=target.vector_bytes,
        )  # fmt: skip
        words += [before * panels_bytes, *one.taps, *one.start, *one.first, *one.places]
        before += one.number
    extents = geometry.input if transposed else geometry.output
    y = low.temporary((problem.batch, *extents, outer * groups), image.dtype)
    down, beside = -(-sides.places[0] // plan.rows), -(-sides.places[1] // plan.columns)
    steps_at_once = plan.block * max(c.number for c in sides.classes)
    every = groups * -(-problem.batch // plan.samples) * down * beside
    # outputs are shared out where there are few places
    block_outputs = -(-across // min(across, -(-ENOUGH_CHUNKS // every))) * panel
    every *= -(-outer // block_outputs)
    each = -(-every // MAX_CHUNKS)
    low.note(f"at a time: {plan.samples} samples, {plan.rows} rows, {plan.columns} columns, {plan.block} channels")
    low.phase(
        "convolution.direct.gather",
        [
            writes(y), reads(source), reads(space),
            0 if b is None else reads(_bias(low, b, groups, panel)),
            inner, outer, problem.batch, *sides.source, *distances(source), *distances(y), *sides.step, *sides.spread,
            *sides.tap, *sides.low, *sides.span, *sides.places, plan.block, plan.samples, plan.rows, plan.columns, down,
            beside, each, every, max(1, PANELS_BYTES // (steps_at_once * panel * size)), group_bytes,
            block_outputs, len(sides.classes), *words,
        ],
        chunks=-(-every // each), work=_nanoseconds(problem),
        flops=problem.flops, dtype=image.dtype, width=target.vector_bytes, registers=target.registers,
    )  # fmt: skip
    return channels_second(y)


def forward(low: Lowering, x: Array, w: Array, b: Array | None, geometry: Geometry) -> Array:
    """As `variants.Variant` has it."""
    return _gathered(low, x, w, b, Problem("forward", geometry, x.shape[0], x.shape[1], w.shape[0], x.dtype))


def input_gradient(low: Lowering, dy: Array, w: Array, geometry: Geometry) -> Array:
    """As `variants.Variant` has it."""
    channels = geometry.groups * w.shape[1]
    problem = Problem("input gradient", geometry, dy.shape[0], channels, dy.shape[1], dy.dtype)
    typical = problem._replace(batch=ANY_BATCH)  # whatever the batch, the same: a sample keeps its bits
    refused, gathered = spread.refuses(typical), _nanoseconds(typical)
    other = float("inf") if refused else spread.nanoseconds(typical)
    low.consider(
        "gradient of the input",
        [
            Candidate("places gather taps", gathered, gathered <= other, "lanes are channels of the input"),
            Candidate("places are spread", other, gathered > other, refused or "lanes are places of the output"),
        ],
    )
    if gathered > other:
        return spread.input_gradient(low, dy, w, geometry)
    return _gathered(low, dy, w, None, problem)


def weight_gradient(low: Lowering, x: Array, dy: Array, w: Array, geometry: Geometry) -> Array:
    """As `variants.Variant` has it."""
    problem = Problem("weight gradient", geometry, x.shape[0], x.shape[1], dy.shape[1], x.dtype)
    sides = _sides(geometry, transposed=False)
    channels, outputs, size = _sums(problem)
    plan = _sum_plan(sides, problem.batch, channels, size)
    assert plan is not None
    target, only, groups = cpu.target(), sides.classes[0], geometry.groups
    panel = 2 * target.lanes(x.dtype)
    plain = ((0, 0),) * len(geometry.input)
    source, got = ready(low, x, plain), ready(low, dy, plain)
    down, across = -(-sides.places[0] // plan.rows), -(-sides.places[1] // plan.columns)
    strips = -(-problem.batch // plan.samples) * down * across
    blocks = groups * -(-channels // plan.block) * -(-outputs // OUTPUTS)
    parts = min(strips, max(1, -(-ENOUGH_CHUNKS // blocks)))
    dw = low.output(w.shape, w.dtype, [*range(2, w.ndim), 1, 0])
    last = dw.permuted([*range(2, w.ndim), 1, 0])
    sums = last if parts == 1 else low.temporary((parts, *last.shape), w.dtype)
    every = parts * blocks
    each = -(-every // MAX_CHUNKS)
    # what the output got lies in panels where its rows are short and follow each other
    together = got.contiguous and across == 1 and (down == 1 or plan.samples == 1)
    as_it_lies = together and outputs % panel == 0 and got.shape[-1] * size <= SHORT_ROW
    places = plan.places
    low.note(f"at a time: {plan.samples} samples, {plan.rows} rows, {plan.columns} columns, {plan.block} channels")
    low.phase(
        "convolution.direct.accumulate",
        [
            writes(sums), reads(source), reads(got), channels, outputs, problem.batch, *sides.source,
            *distances(source), *distances(got), *sides.step, *sides.tap, *sides.low, *sides.span,
            *sides.places, *only.taps, plan.block, OUTPUTS // panel * panel, plan.samples, plan.rows, plan.columns,
            down, across, strips, parts, dw.size * size, channels * w.shape[0] * size, w.shape[0] * size, each, every,
            max(1, PANELS_BYTES // (places * panel * size)), int(as_it_lies),
        ],
        chunks=-(-every // each), work=_nanoseconds(problem), flops=problem.flops, dtype=x.dtype,
        width=target.vector_bytes, registers=target.registers,
    )  # fmt: skip
    if parts > 1:
        sum_axes(low, sums, (0,), last)
    return dw
