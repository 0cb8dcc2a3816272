"""Convolutions of 3x3 taps at stride 1 by Winograd's method, in all three passes.

A. A tile of 4x4 outputs takes 36 products a pair of channels instead of 144. Where an image does not divide into such
   tiles some are smaller (`_kernels/convolution/winograd_matrices.py`), and the last ones may reach beyond its border.
B. Result and input gradient go one of two ways. Block by block: a phase transforms the weight, then each chunk
   transforms a block of tiles, which stay in its core's cache, and multiplies them by all of it. Slice by slice, for
   few tiles and many channels: a phase transforms the tiles, then each chunk transforms the kernels of a few output
   channels, which stay in its cache, and multiplies all tiles by them; so the transformed weight, four times as large
   as the weight, never lies in memory.
C. The gradient of a weight adds up blocks of tiles, one after the other: two phases transform the block's tiles of
   input and output gradient, a third multiplies them.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any, NamedTuple

from fastnn._kernels import cpu
from fastnn._kernels.convolution.winograd_layout import (
    CHANNEL_BYTES,
    KINDS,
    PANEL_VECTORS,
    WORK_AT,
    WORK_ROOM,
    Word,
)
from fastnn._kernels.convolution.winograd_matrices import TAPS, algorithm
from fastnn._kernels.matmul.table import CYCLE_NS, direction
from fastnn.ops.convolution.geometry import Geometry, Problem
from fastnn.ops.convolution.layout import channels_last, ready
from fastnn.ops.lowering import MAX_CHUNKS, Array, Lowering, Operand, reads, updates, writes
from fastnn.ops.views import sliced

Words = Mapping[Word, Operand | int]

LINE = 64  # bytes of a line of the cache
# Tiles of a block: the transformed ones and their products take about so much of the second-level cache.
SHARE = 1.1
FEWEST_TILES, MOST_TILES, FEW_TILES = 16, 30, 128
# Of the second-level cache, what the kernels of a slice take; tiles that are few enough for wide slices.
KERNEL_SHARE, WIDE_TILES = 0.5, 64
# Tiles whose products are one chain in a weight's gradient: more would lose digits, fewer would pay more for its ends.
CHAIN = 112
MOST_BLOCKS = 1024
# Input channels and panels of output channels of its chunks; tiles that are multiplied at a time, to stay in L1.
CHUNK_CHANNELS, CHUNK_PANELS, DEPTH = 32, 2, 112
# Channels whose sum rounds more than the transforms of tiles of 2x2 outputs do.
FINE_CHANNELS = 32
# Of the FMA peak, what the register tile reaches; the steps of k that its beginning and end are worth.
BUSY, TILE_K = 0.8, 12
# Nanoseconds of the transforms of a vector of channels of a tile of 4x4 outputs, within the second cache and beyond it,
# and of a vector of kernels; of the start of all phases.
NEAR_NS, FAR_NS, KERNEL_NS, PHASES_NS = 80.0, 170.0, 120.0, 5000.0


class Cut(NamedTuple):
    """How images are cut into tiles: large and small ones down and across, and how many of each kind in a batch."""

    down: tuple[int, int]
    across: tuple[int, int]
    counts: tuple[int, ...]

    @property
    def tiles(self) -> int:
        """How many there are."""
        return sum(self.counts)

    def rows(self, blocks: int) -> int:
        """Tiles of a block at most, if they are dealt out to some blocks."""
        return sum(-(-count // blocks) for count in self.counts)


def cut(batch: int, places: tuple[int, ...], large: int) -> Cut:
    """Tiles for a batch of images of some height and width, with as few products as may be."""
    sizes = [tile.outputs for tile in algorithm(large).tiles]

    def axis(extent: int) -> tuple[int, int]:
        ways = [(n, -(-max(0, extent - n * sizes[0]) // sizes[1])) for n in range(-(-extent // sizes[0]) + 1)]
        return min(ways, key=lambda way: (sum(n * (s + TAPS - 1) for n, s in zip(way, sizes, strict=True)), sum(way)))

    down, across = axis(places[0]), axis(places[1])
    return Cut(down, across, tuple(batch * down[i] * across[j] for i, j in KINDS))


def _up(extent: int, to: int) -> int:
    return -(-extent // to) * to


def _apart(nbytes: int) -> int:
    """A distance between parts of some bytes that fall into different sets of a cache: an odd number of lines."""
    return _up(nbytes, LINE) + LINE * (1 - -(-nbytes // LINE) % 2)


class _Plan:
    """What the phases of one pass have in common.

    Parameters
    ----------
    source : the image (N, places, channels) that is cut into tiles, channels side by side.
    outputs : channels of the result.
    places : height and width of the result.
    before : zeros above the image and left of it; less than none cuts off.
    """

    def __init__(
        self, low: Lowering, source: Array, outputs: int, places: tuple[int, ...], before: tuple[int, ...], large: int
    ) -> None:
        target = cpu.target()
        self.low, self.source, self.outputs, self.large = low, source, outputs, large
        self.size, self.channels = source.itemsize, source.shape[-1]
        self.width = target.vector_bytes
        self.panel = PANEL_VECTORS * self.width // self.size
        self.row = self.panel * self.size  # bytes of a panel's row
        self.points = algorithm(large).points ** 2
        self.cut = cut(source.shape[0], places, large)
        self.static: dict[str, Any] = {
            "dtype": source.dtype, "width": self.width, "registers": target.registers, "large": large
        }  # fmt: skip
        self.tiles_row = _up(self.channels * self.size, LINE) + LINE
        self.words: Words = {
            Word.BATCH: source.shape[0], Word.CHANNELS: self.channels, Word.OUTPUTS: outputs,
            Word.TOP: before[0], Word.LEFT: before[1],
            Word.DOWN_LARGE: self.cut.down[0], Word.DOWN_SMALL: self.cut.down[1],
            Word.ACROSS_LARGE: self.cut.across[0], Word.ACROSS_SMALL: self.cut.across[1],
            Word.RUN: self.channels, Word.TILES_ROW: self.tiles_row,
            **self.image(Word.HEIGHT, Word.SOURCE_IMAGE, source),
        }  # fmt: skip

    def image(self, extents: Word, steps: Word, x: Array) -> dict[Word, int]:
        """Height and width, and distances between images, rows and columns."""
        numbers = zip(range(extents, extents + 2), x.shape[1:3], strict=True)
        distances = zip(range(steps, steps + 3), x.strides[:3], strict=True)
        return {Word(w): n for w, n in numbers} | {Word(w): s * self.size for w, s in distances}

    def kernel(self, w: Array) -> dict[Word, int]:
        """Distances in a weight (outputs, channels, 3, 3)."""
        numbers = zip(range(Word.KERNEL_OUTPUT, Word.KERNEL_OUTPUT + 4), w.strides, strict=True)
        return {Word(word): s * self.size for word, s in numbers} | {Word.KERNEL_PACK: direction(*w.strides[:2])}

    def product(self, tiles: int) -> dict[str, float]:
        """Work and FLOPs of the products of some of all tiles."""
        points = [tile.points for tile in algorithm(self.large).tiles]
        of_all = sum(n * points[i] * points[j] for n, (i, j) in zip(self.cut.counts, KINDS, strict=True))
        flops = 2.0 * of_all * self.channels * self.outputs * tiles / self.cut.tiles
        return {"work": flops / 4 / (self.width // self.size) * CYCLE_NS / BUSY, "flops": flops}

    def transforms(self, vectors: int, each: float) -> dict[str, float]:
        """Work of the transforms of some vectors."""
        return {"work": vectors / (self.width // self.size) * each, "flops": 0}

    def phase(self, name: str, chunks: int, *words: Words, **more: Any) -> None:
        """Append a phase."""
        known = ChainMap(*map(dict, words), dict(self.words))
        args = [known.get(word, 0) for word in Word]
        self.low.phase(f"convolution.winograd.{name}", args, chunks=chunks, **more, **self.static)


def forward(low: Lowering, x: Array, w: Array, b: Array | None, geometry: Geometry, *, large: int) -> Array:
    """The result (N, O, places) of an input (N, C, ...)."""
    before = tuple(pair[0] for pair in geometry.padding)
    return _convolved(low, x, w, b, geometry.output, before, large)


def input_gradient(low: Lowering, dy: Array, w: Array, geometry: Geometry, *, large: int) -> Array:
    """What the input (N, C, ...) gets: the convolution of what the output got with the turned kernels."""
    whole, back = slice(None), slice(None, None, -1)
    turned = sliced(w.permuted([1, 0, 2, 3]), whole, whole, back, back)
    before = tuple(TAPS - 1 - pair[0] for pair in geometry.padding)
    return _convolved(low, dy, turned, None, geometry.input, before, large)


def _convolved(
    low: Lowering, x: Array, w: Array, b: Array | None, places: tuple[int, ...], before: tuple[int, ...], large: int
) -> Array:
    source = ready(low, x, ((0, 0), (0, 0)))
    plan = _Plan(low, source, w.shape[0], places, before, large)
    y = low.output((x.shape[0], w.shape[0], *places), x.dtype, [0, 2, 3, 1])
    words: dict[Word, Operand | int] = {Word.RESULT: writes(y), Word.BIAS: 0 if b is None else reads(b)}
    words.update(plan.image(Word.RESULT_HEIGHT, Word.RESULT_IMAGE, channels_last(y)))
    tiles = _block_tiles(plan.channels, x.dtype, large)
    if _in_slices(plan.cut.tiles, tiles, large):
        _by_slices(plan, w, words)
    else:
        _by_blocks(plan, w, words, tiles)
    return y


def _sums(plan: _Plan, rows: int, columns: int) -> dict[Word, int]:
    row = columns * plan.size + (LINE if columns * plan.size > 2 * LINE else 0)
    return {Word.SUMS_ROW: row, Word.SUMS_POINT: _apart(rows * row)}


def _scaled(tiles: int, large: int) -> int:
    """A number of tiles of 4x4 outputs as one of as many products."""
    return tiles * algorithm(4).points ** 2 // algorithm(large).points ** 2


def _block_tiles(channels: int, dtype: str, large: int) -> int:
    """How many tiles a block has at most, so that what its chunk works on stays in the second cache."""
    target = cpu.target()
    lanes, points = target.lanes(dtype), algorithm(large).points ** 2
    row = 2 * PANEL_VECTORS * target.vector_bytes
    each = points * (_up(channels * target.vector_bytes // lanes, LINE) + row + 2 * LINE)
    room = min(WORK_ROOM - points * LINE * 4, int(SHARE * cpu.caches().l2))
    return min(_scaled(MOST_TILES, large), room // each)


def _in_slices(tiles: int, most: int, large: int) -> bool:
    """Whether all tiles go past slices of the output channels, instead of a block at a time past all of them."""
    return tiles <= _scaled(FEW_TILES, large) or most < _scaled(FEWEST_TILES, large)


def _by_blocks(plan: _Plan, w: Array, words: Words, tiles: int) -> None:
    """Transform the weight; then each chunk transforms and multiplies a block of tiles."""
    low, channels, outputs = plan.low, plan.channels, plan.outputs
    depth, kernel_point = min(channels, 256), _apart(channels * plan.row)
    made = low.temporary((-(-outputs // plan.panel) * plan.points * kernel_point // plan.size,), w.dtype)
    plan.phase(
        "kernels",
        -(-outputs // plan.panel) * -(-channels // depth),
        plan.kernel(w),
        {Word.KERNEL: reads(w), Word.RESULT: writes(made), Word.DEPTH: depth, Word.KERNEL_POINT: kernel_point},
        **plan.transforms(outputs * channels, KERNEL_NS),
    )
    blocks = -(-plan.cut.tiles // tiles)
    while (rows := plan.cut.rows(blocks)) > tiles:
        blocks += 1
    point = _apart(rows * plan.tiles_row)
    slice_ = min(2 * plan.panel, _up(outputs, plan.panel))
    low.note(f"block by block: at most {rows} tiles past all output channels, {slice_} at a time")
    for first in range(0, blocks, MAX_CHUNKS):
        some = min(MAX_CHUNKS, blocks - first)
        plan.phase(
            "convolve",
            some,
            words,
            _sums(plan, rows, slice_),
            {
                Word.SOURCE: reads(plan.source), Word.KERNEL: reads(made), Word.KERNEL_PACK: -1, Word.BLOCKS: blocks,
                Word.BLOCK: first, Word.TILES_POINT: point, Word.KERNEL_POINT: kernel_point,
                Word.DEPTH: channels, Word.SLICE: slice_, Word.SLICES: 1,
                Word.SUMS_AT: WORK_AT + plan.points * point, Word.CHUNK_OUTPUTS: outputs,
            },
            **plan.product(plan.cut.tiles * some // blocks),
        )  # fmt: skip


def _by_slices(plan: _Plan, w: Array, words: Words) -> None:
    """Transform all tiles, or so many at a time that they stay in the cache; then multiply slice by slice."""
    low, channels, outputs, size = plan.low, plan.channels, plan.outputs, plan.size
    few = _scaled(FEW_TILES, plan.large)
    blocks = -(-plan.cut.tiles // few)
    rows = plan.cut.rows(blocks)
    point = _apart(rows * plan.tiles_row)
    made = low.temporary((plan.points * point // size,), w.dtype)
    slice_ = plan.panel * (2 if rows <= _scaled(WIDE_TILES, plan.large) and outputs > plan.panel * 16 else 1)
    sums = _sums(plan, rows, slice_)
    room = min(WORK_ROOM - plan.points * sums[Word.SUMS_POINT], int(KERNEL_SHARE * cpu.caches().l2))
    most = max(1, (room // (plan.points * slice_ // plan.panel) - 2 * LINE) // plan.row)
    depth = -(-channels // -(-channels // most))
    kernel_at = WORK_AT + plan.points * sums[Word.SUMS_POINT]
    common = {Word.BLOCKS: blocks, Word.TILES_POINT: point}
    each = max(1, rows // 16)
    for block in range(blocks):
        plan.phase(
            "tiles",
            -(-rows // each),
            common,
            {Word.SOURCE: reads(plan.source), Word.RESULT: writes(made), Word.BLOCK: block, Word.CHUNK_ROWS: each},
            **plan.transforms(rows * channels, FAR_NS),
            gradient=False,
        )
        low.note(f"slice by slice: {rows} tiles past {slice_} output channels, {depth} input channels at a time")
        plan.phase(
            "convolve",
            -(-outputs // slice_),
            words,
            common,
            plan.kernel(w),
            sums,
            {
                Word.KERNEL: reads(w), Word.TILES: reads(made), Word.BLOCK: block, Word.DEPTH: depth,
                Word.SUMS_AT: WORK_AT, Word.KERNEL_AT: kernel_at, Word.SLICE: slice_, Word.CHUNK_OUTPUTS: slice_,
                Word.KERNEL_POINT: _apart(depth * plan.row), Word.SLICES: -(-outputs // slice_),
            },
            **plan.product(rows),
        )  # fmt: skip


def weight_gradient(low: Lowering, x: Array, dy: Array, w: Array, geometry: Geometry, *, large: int) -> Array:
    """The gradient of a weight, laid out with its output channels side by side."""
    source, own = (ready(low, a, ((0, 0), (0, 0))) for a in (x, dy))
    outputs = w.shape[0]
    before = tuple(pair[0] for pair in geometry.padding)
    plan = _Plan(low, source, outputs, geometry.output, before, large)
    other = _Plan(low, own, outputs, geometry.output, (0, 0), large)
    size, channels = plan.size, plan.channels
    dw = low.output(w.shape, w.dtype, [2, 3, 1, 0])
    blocks = min(-(-plan.cut.tiles // CHAIN), MOST_BLOCKS)
    rows = plan.cut.rows(blocks)
    some, slice_ = min(_up(channels, LINE // size), CHUNK_CHANNELS), CHUNK_PANELS * plan.panel
    row, panels = some * size, -(-outputs // plan.panel)
    point, panel_point = _apart(rows * row), _apart(rows * plan.row)
    tiles = low.temporary((-(-channels // some) * plan.points * point // size,), w.dtype)
    columns = low.temporary((panels * plan.points * panel_point // size,), w.dtype)
    each = max(1, rows // 16)
    for block in range(blocks):
        common = {Word.BLOCKS: blocks, Word.BLOCK: block, Word.TILES_POINT: point, Word.TILES_ROW: row}
        run = {Word.RUN: some, Word.RUN_STEP: plan.points * point}
        plan.phase(
            "tiles",
            -(-rows // each),
            common,
            run,
            {Word.SOURCE: reads(source), Word.RESULT: writes(tiles), Word.CHUNK_ROWS: each},
            **plan.transforms(rows * channels, FAR_NS),
            gradient=False,
        )
        other.phase(
            "tiles",
            -(-rows // each),
            {
                Word.SOURCE: reads(own), Word.RESULT: writes(columns), Word.CHUNK_ROWS: each,
                Word.TILES_ROW: plan.row, Word.TILES_POINT: panel_point, Word.RUN: plan.panel,
                Word.RUN_STEP: plan.points * panel_point,
            },
            common,
            **plan.transforms(rows * outputs, FAR_NS),
            gradient=True,
        )  # fmt: skip
        low.note(f"a chunk: {some} input and {slice_} output channels, {rows} tiles")
        plan.phase(
            "weight_gradient",
            -(-channels // some) * -(-outputs // slice_),
            common,
            run,
            plan.kernel(dw),
            _sums(plan, some, slice_),
            {
                Word.TILES: reads(tiles), Word.PANELS: reads(columns), Word.DEPTH: -(-rows // -(-rows // DEPTH)),
                Word.RESULT: updates(dw) if block else writes(dw), Word.PANELS_POINT: panel_point,
                Word.SUMS_AT: WORK_AT, Word.CHUNK_ROWS: some, Word.CHUNK_OUTPUTS: slice_,
                Word.SLICES: -(-outputs // slice_), Word.ACCUMULATE: int(block > 0),
            },
            **plan.product(rows),
        )  # fmt: skip
    return dw


# -- where it pays


def refuses(problem: Problem, *, large: int) -> str:
    """Why a problem is not one of 3x3 taps at stride 1, in a few words; empty if it is."""
    geometry, size = problem.geometry, problem.itemsize
    if geometry.kernel != (TAPS, TAPS):
        return "for kernels of 3x3"
    if set(geometry.stride) != {1} or set(geometry.dilation) != {1}:
        return "for stride and dilation 1"
    if geometry.groups != 1:
        return "for one group"
    if max(problem.channels, problem.outputs) * size > CHANNEL_BYTES:
        return f"for at most {CHANNEL_BYTES // size} channels"
    if min(geometry.input) == 0:
        return "no place"
    return ""


def coarse(problem: Problem, *, large: int) -> bool:
    """Whether a pass errs more than adding up the products one by one (docs/decisions/convolutions.md)."""
    summed = problem.outputs if problem.which == "input gradient" else problem.channels
    return large > 2 or problem.which == "weight gradient" or summed < FINE_CHANNELS


def nanoseconds(problem: Problem, *, large: int) -> float:
    """Estimated time on one core."""
    geometry, target = problem.geometry, cpu.target()
    lanes = target.lanes(problem.dtype)
    backward = problem.which == "input gradient"
    channels, outputs = (problem.outputs, problem.channels) if backward else (problem.channels, problem.outputs)
    own, images = algorithm(large), cut(problem.batch, geometry.input if backward else geometry.output, large)
    wide = [-(-n // lanes) for n in (channels, outputs)]
    products = 1.0  # of a pair of channels
    for tiles in (images.down, images.across):
        products *= sum(n * tile.points for n, tile in zip(tiles, own.tiles, strict=True))
    products *= problem.batch * _up(wide[1], PANEL_VECTORS)
    share = own.points**2 / 36  # a transform's work grows with the points
    kernels = channels * wide[1] * KERNEL_NS * share
    if problem.which == "weight gradient":
        blocks = min(-(-images.tiles // CHAIN), MOST_BLOCKS)
        products *= channels * (1 + TILE_K * blocks / images.tiles)
        transforms = images.tiles * sum(wide) * FAR_NS * share + blocks * kernels
    else:
        products *= channels + TILE_K
        few, most = _scaled(FEW_TILES, large), _block_tiles(channels, problem.dtype, large)
        again = -(-images.tiles // few) if _in_slices(images.tiles, most, large) else 1
        transforms = images.tiles * sum(wide) * NEAR_NS * share + again * kernels
    return PHASES_NS + products / 2 * CYCLE_NS / BUSY + transforms
