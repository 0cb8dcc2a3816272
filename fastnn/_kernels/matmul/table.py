"""What the matrix product chooses from: tiles for each CPU, epilogues, packings, and how a product is cut up.

Pure Python, without Numba: the main process plans with it (`plan.py`), the compile helper generates from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

# What a tile does before it stores its sums; `tile.py` has the same numbers.
NONE, BIAS, RELU, BIAS_RELU, GATE = range(5)
# The steps after the sum over k that a tile can do itself, in one pass over its registers; all others are a kernel
# over the rows of C that were just computed (`epilogue.py`). "add" here adds one row to every row.
IN_TILE: dict[tuple[str, ...], int] = {
    (): NONE,
    ("add",): BIAS,
    ("relu",): RELU,
    ("add", "relu"): BIAS_RELU,
    ("relu_backward",): GATE,
}

# Most vectors of a tile.
WIDEST = 8

# How lines (a tile's rows of A, its columns of B) are packed: not at all; lying side by side; each along k; anyhow; they
# are packed already; a single row of A is multiplied by them in other ways (`row.py`, `dots.py`).
PACK_NONE, PACK_BESIDE, PACK_ALONG, PACK_ANY, PACKED, ROW_BESIDE, ROW_ALONG, DOTS = range(8)

# A thread's scratch: the epilogue's arguments, a tile of C at an edge, panels of B, strips of A.
EPILOGUE_AT, TILE_AT, PANELS_AT, STRIPS_AT = 0, 1 << 10, 16 << 10, 528 << 10
PANELS_ROOM, STRIPS_ROOM = STRIPS_AT - PANELS_AT, (1 << 20) - STRIPS_AT


class Tiles(NamedTuple):
    """The register tiles for a CPU.

    Attributes
    ----------
    width : bytes of a vector: 64 (AVX-512), 32 (AVX2) or 16 (NEON and others).
    registers : vector registers: 32 (AVX-512, NEON) or 16.
    """

    width: int
    registers: int

    @property
    def heights(self) -> dict[int, range]:
        """For each number of vectors side by side, the rows whose accumulators fill the registers but fit."""
        if self.registers >= 32:
            return {1: range(1, 13), 2: range(1, 13), 3: range(5, 10), 4: range(1, 4), 8: range(1, 4)}
        return {1: range(1, 7), 2: range(1, 7), 3: range(1, 5), 4: range(1, 3), 8: range(1, 2)}

    @property
    def tallest(self) -> int:
        """Most rows of any tile."""
        return max(rows[-1] for rows in self.heights.values())

    @property
    def masks(self) -> bool:
        """Whether vectors are loaded and stored under a mask at full speed (AVX2 stores take 40 operations)."""
        return self.width > 32

    @property
    def prefetch(self) -> int:
        """Rows of B ahead of the present one that a tile asks for (docs/decisions/matmul-tiles.md)."""
        return 4 if self.width > 32 else 0

    def shapes(self) -> Iterator[tuple[int, int]]:
        """Every tile, as (rows, vectors)."""
        for vectors, heights in self.heights.items():
            for rows in heights:
                yield rows, vectors

    def choose(self, m: int, n: int, lanes: int) -> tuple[int, int]:
        """Rows and vectors of the tile for a product.

        Few rows take wide tiles, which fill the registers too. Many rows and columns take three vectors on CPUs with
        32 registers: fewer loads for each FMA, which shows where another hardware thread shares the core
        (docs/decisions/matmul-tiles.md).
        """
        needed = -(-n // lanes)
        if self.registers >= 32 and m >= 2 * self.heights[3][-1] and needed >= 6:
            return self.heights[3][-1], 3
        height = -(-m // -(-m // self.heights[2][-1]))
        if self.registers < 32 and needed >= 3 and m in (3, 7):
            # two vectors would leave tiles of three rows with six sums, which an FMA's latency keeps waiting
            return 4, 3
        fitting = [v for v, heights in self.heights.items() if v != 3 and height in heights and v < 2 * needed]
        vectors = max(fitting, default=1)
        return self.heights[vectors][-1], vectors


# Nanoseconds of work in a chunk: of a small product, and of a large one.
SMALL_CHUNK_NS, LARGE_CHUNK_NS = 16_000, 200_000
# How many chunks serve up to 16 threads, and how many a large product may have.
ENOUGH_CHUNKS, MOST_CHUNKS = 16, 64
# k of a block, roughly: where chunks pack what they need, and where B was packed before.
BLOCK, READY_BLOCK = 320, 512
# FMAs of a vector in a nanosecond; nanoseconds of an element's FMA, of reading it again, of packing it.
VECTOR_FMAS_A_NS = 6.4
FMA_NS, READ_NS, PACK_NS = 0.02, 0.12, 0.13
PACK_NS_A_BYTE = 0.06
# B is packed from this many rows of A on.
PACKING_ROWS = 48
# Panels of B that are packed by a phase of their own take at most so many bytes: a bounded workspace, not a copy of B.
PANELS_BYTES = 2 << 20
# Columns of B that some strips of A go past at a time, and the strips that are packed at a time: parts of the cache.
GROUP_BYTES, STRIPS_BYTES = 128 << 10, 192 << 10


def work(m: int, n: int, k: int, lanes: int) -> float:
    """Nanoseconds of a product on one thread, roughly."""
    return m * -(-n // lanes) * (k / VECTOR_FMAS_A_NS + 1) + 50


def chunks_wanted(nanoseconds: float) -> int:
    """How many chunks a phase of some length should have."""
    few = min(ENOUGH_CHUNKS, nanoseconds / SMALL_CHUNK_NS)
    return max(1, int(max(few, min(MOST_CHUNKS, nanoseconds / LARGE_CHUNK_NS))))


def direction(line: int, step: int) -> int:
    """How lines that lie `line` elements apart, with `step` from one k to the next, are packed."""
    return PACK_BESIDE if line == 1 else PACK_ALONG if step == 1 else PACK_ANY


def pack_b(m: int, n: int, size: int, strides: tuple[int, ...]) -> int:
    """How panels of B, of the given strides (k, columns), are packed."""
    if strides[1] == 1 or n == 1:
        if m == 1 and n * size > 256:
            return ROW_BESIDE
        # rows far apart by a power of two fall into a few sets of the cache
        apart = abs(strides[0]) * size
        few = 12 if apart % 2048 == 0 else 24 if apart % 512 == 0 else PACKING_ROWS
        return PACK_BESIDE if m >= few else PACK_NONE
    if m == 1 and strides[0] == 1:
        return ROW_ALONG
    return direction(strides[1], strides[0])  # no tile reads columns that do not lie side by side


def panels_first(m: int, n: int, k: int) -> bool:
    """Whether panels of B are packed by a phase before, for all rows of A at once."""
    return m >= 768 and n >= 512 and k >= 256


def panels_columns(n: int, panel: int, size: int) -> int:
    """How many columns of B are packed by one phase at most, so that the workspace is bounded whatever n."""
    most = 4 * PANELS_BYTES // (READY_BLOCK * size * panel) * panel
    return -(-n // (-(-n // most) * panel)) * panel


def panels_parts(k: int, n: int, size: int) -> list[tuple[int, int]]:
    """The parts of k whose panels are packed by one phase."""
    count = max(1, min(-(-n * k * size // PANELS_BYTES), round(k / READY_BLOCK)))
    length = -(-k // count)
    return [(k0, min(k, k0 + length)) for k0 in range(0, k, length)]


def pack_a(m: int, n: int, k: int, size: int, panel: int, strides: tuple[int, ...], ready: bool) -> int:
    """How strips of A, of the given strides (rows, k), are packed."""
    how = direction(*strides)
    if m == 1:
        return PACK_NONE
    if how == PACK_ANY:
        return how if n > panel else PACK_NONE
    # rows (or columns) a multiple of 2 KiB apart fall into a few sets of the cache
    far = max(abs(s) for s in strides) * size % 2048 == 0 and k * size >= 1024 and n >= 8 * panel and m >= 32
    # where the rows lie side by side, each k touches a line of the cache of which a strip takes a part
    scattered = how == PACK_BESIDE and n >= 16 * panel and m >= 64
    return how if far or ready or scattered else PACK_NONE


class Blocks(NamedTuple):
    """How a chunk is gone through: k at a time, strips of A and columns of B at a time."""

    k: int
    strips: int
    columns: int


def blocks(m: int, k: int, height: int, panel: int, size: int, step: int, pack_a: int, pack_b: int) -> Blocks:
    """Choose the blocks; `step` is the distance of one k from the next in a packed strip, in bytes."""
    count = max(1, round(k / (READY_BLOCK if pack_b == PACKED else BLOCK))) if m > height else 1
    length = -(-k // count)
    length = max(1, min(length, PANELS_ROOM // (panel * size), STRIPS_BYTES // step if pack_a else length))
    columns = max(1, GROUP_BYTES // (length * panel * size)) * panel if pack_b else panel
    return Blocks(length, max(1, STRIPS_BYTES // (length * step)) if pack_a else 1 << 40, columns)


def row_chunk(m: int, n: int, panel: int, height: int, strips: int) -> tuple[int, int]:
    """Strips and columns of a chunk where B is packed already: a few rows of C, whose pages stay at hand."""
    some = max(1, -(-48 // height))
    if -(-strips // some) >= ENOUGH_CHUNKS:
        return some, -(-n // panel) * panel
    panels = -(-n // panel)
    return some, -(-panels // -(-ENOUGH_CHUNKS // -(-strips // some))) * panel


def chunk(m: int, n: int, panel: int, height: int, most: int, nanoseconds: float, packs: bool) -> tuple[int, int]:
    """Strips and columns of a chunk; at most `most` columns. `packs`: each chunk packs its panels of B."""
    wanted = chunks_wanted(nanoseconds)
    panels, strips = -(-n // panel), -(-m // height)
    least = -(-panels * panel // most)
    best = (float("inf"), 1, 1)
    for across in range(min(panels, least), min(panels, max(wanted, least)) + 1):
        down = min(strips, -(-wanted // across))
        # ragged chunks, and too few of them, leave threads idle
        ragged = -(-panels // across) * across / panels * -(-strips // down) * down / strips
        missing = wanted / min(wanted, across * down)
        # A is read once for each column of chunks, B read, and packed, once for each row
        each = FMA_NS * m * n + READ_NS * m * across + (READ_NS + packs * PACK_NS) * n * down
        best = min(best, (each * ragged * missing, across, down))
    _, across, down = best
    return -(-strips // down), -(-panels // across) * panel


def panels_chunk(panels: int, panel: int, k: int, nanoseconds: float) -> tuple[int, int]:
    """Columns and k of a chunk of the phase that packs B: runs of at least a few panels, which memory serves better."""
    wanted = chunks_wanted(nanoseconds)
    across = max(1, min(wanted, panels * panel // 128))
    down = min(-(-wanted // across), max(1, k // 64))
    return -(-panels // across) * panel, -(-k // (down * 16)) * 16
