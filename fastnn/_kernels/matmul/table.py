"""What the matrix product chooses from: tiles for each CPU, epilogues, packings, and how a product is cut up.

Pure Python, without Numba: the main process plans with it (`plan.py`), the compile helper generates from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

# What a tile does before it stores its sums; `tile.py` has the same numbers.
NONE, BIAS, RELU, BIAS_RELU, GATE = range(5)

# Most vectors of a tile.
WIDEST = 8

# Bits of the second pass over C, for what tiles do not do: add e, cut off below zero, clear where e is not positive.
ADD, CUT, SHUT = 1, 2, 4

# How the rows of A that a tile reads are copied to scratch first: not at all, or in the direction in which they lie.
PACK_NONE, PACK_ROWS, PACK_COLUMNS = range(3)
# Bytes of a thread's scratch, and of its part for a tile's rows of A; the rest is for a block of B.
SCRATCH, ROOM_A = 1 << 20, 128 << 10


class Epilogue(NamedTuple):
    """How an epilogue is done: by the tile where it can, else by a second pass over the hot block."""

    tile: int
    second: int


# By (bias, activation, gate). A new activation is a row here, a bit above, and its arithmetic in `product.py`.
EPILOGUES = {
    (False, None, False): Epilogue(NONE, 0),
    (True, None, False): Epilogue(BIAS, ADD),
    (False, "relu", False): Epilogue(RELU, CUT),
    (True, "relu", False): Epilogue(BIAS_RELU, ADD | CUT),
    (False, None, True): Epilogue(GATE, SHUT),
}


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
        return {1: range(1, 7), 2: range(1, 7), 4: range(1, 3), 8: range(1, 2)}

    @property
    def tallest(self) -> int:
        """Most rows of any tile."""
        return max(rows[-1] for rows in self.heights.values())

    @property
    def masks(self) -> bool:
        """Whether vectors are loaded under a mask at full speed."""
        return self.width > 16

    def shapes(self) -> Iterator[tuple[int, int]]:
        """Every tile, as (rows, vectors)."""
        for vectors, heights in self.heights.items():
            for rows in heights:
                yield rows, vectors

    def choose(self, m: int, n: int, lanes: int) -> tuple[int, int]:
        """Rows and vectors of the tile for a product.

        Few rows take wide tiles, which fill the registers too. Many rows and columns take three vectors: fewer loads
        for each FMA, which shows where another hardware thread shares the core (docs/decisions/matmul-tiles.md).
        """
        needed = -(-n // lanes)
        if 3 in self.heights and m >= 2 * self.heights[3][-1] and needed >= 6:
            return self.heights[3][-1], 3
        height = -(-m // -(-m // self.heights[2][-1]))
        fitting = [v for v, heights in self.heights.items() if v != 3 and height in heights and v < 2 * needed]
        vectors = max(fitting, default=1)
        return self.heights[vectors][-1], vectors


# Nanoseconds of work in a chunk: of a small product, and of a large one, whose chunks each read A and B again.
SMALL_CHUNK_NS, LARGE_CHUNK_NS = 8_000, 800_000
# How many chunks serve up to 16 threads, and how many a large product may have.
ENOUGH_CHUNKS, MOST_CHUNKS = 16, 64
# k of a block whose operands are packed.
BLOCK = 352
# Cost of packing, and FMAs of a vector in a nanosecond.
PACK_NS_A_BYTE = 0.12
VECTOR_FMAS_A_NS = 4.5
# B is copied into panels of its own from this many rows of A on.
PACKING_ROWS = 40


def work(m: int, n: int, k: int, lanes: int) -> float:
    """Nanoseconds of a product on one thread, roughly."""
    return m * -(-n // lanes) * (k / VECTOR_FMAS_A_NS + 1) + 50


def chunks_wanted(nanoseconds: float) -> int:
    """How many chunks a phase of some length should have."""
    few = min(ENOUGH_CHUNKS, nanoseconds / SMALL_CHUNK_NS)
    return max(1, int(max(few, min(MOST_CHUNKS, nanoseconds / LARGE_CHUNK_NS))))


def pack_first(tiles: Tiles, n: int, size: int, rows_contiguous: bool) -> bool:
    """Whether a phase of its own must copy B into panels: where no tile can read it as it lies."""
    return not rows_contiguous or (not tiles.masks and n % (tiles.width // size) != 0)


class Cut(NamedTuple):
    """How a product is cut up.

    Attributes
    ----------
    rows, columns : of C in a chunk; columns are a multiple of the panel.
    block, stretch : k and columns of a block, which a thread goes through at a time.
    pack_a : how a tile's rows of A are packed.
    pack_b : whether each block of B is packed into scratch.
    """

    rows: int
    columns: int
    block: int
    stretch: int
    pack_a: int
    pack_b: bool = False


def cut(
    m: int,
    n: int,
    k: int,
    size: int,
    panel: int,
    height: int,
    a_strides: tuple[int, ...],
    packed: bool,
    l2: int,
    nanoseconds: float,
) -> Cut:
    """Choose chunks, blocks and packing for a product in tiles of `height` x `panel`.

    `packed` says that B lies in panels already; `l2` is the size of the second-level cache in bytes.
    """
    rows, columns = _chunk(m, n, panel, height, chunks_wanted(nanoseconds))
    # B is read once for each tile's rows: from the second-level cache, if a block fits into a part of it
    pack_b = not packed and m >= PACKING_ROWS and k * n * size > l2 // 2
    # rows (or columns) a multiple of 2 KiB apart fall into a few sets of the cache
    far = max(abs(s) for s in a_strides) * size % 2048 == 0 and k * size >= 1024
    pack_a = PACK_NONE
    if m >= 8 and n >= 2 * panel and (pack_b or packed or far or 1 not in a_strides):
        pack_a = PACK_COLUMNS if a_strides[0] == 1 else PACK_ROWS
    block, stretch = max(1, k), -(-n // panel) * panel
    if pack_b or packed or pack_a:
        blocks = -(-block // BLOCK)
        block = -(-block // (blocks * 16)) * 16
        room = min(l2 * 3 // 8, SCRATCH - ROOM_A) // (block * panel * size)
        parts = -(-stretch // (max(1, room) * panel))
        stretch = -(-stretch // (parts * panel)) * panel
    return Cut(rows, columns, block, stretch, pack_a, pack_b)


def _chunk(m: int, n: int, panel: int, height: int, wanted: int) -> tuple[int, int]:
    """Rows and columns of a chunk, for about as many chunks as wanted."""
    panels, strips = -(-n // panel), -(-m // height)
    best = (float("inf"), 1, 1)
    for across in range(1, min(panels, wanted) + 1):
        down = min(strips, -(-wanted // across))
        # A is read once for each column of chunks, B once for each row, which also leaves a weight's columns with
        # more than one thread; ragged chunks leave threads idle
        ragged = -(-panels // across) * across / panels * -(-strips // down) * down / strips
        missing = wanted / min(wanted, across * down)
        best = min(best, ((m * across + 2 * n * down) * ragged * missing, across, down))
    _, across, down = best
    rows = -(-strips // down) * height if strips >= 4 * down else -(-m // down)
    return rows, -(-panels // across) * panel


def pack_cut(panels: int, k: int, nanoseconds: float) -> tuple[int, int]:
    """Panels and rows of a chunk of the packing phase: runs of at least a few panels, which memory serves better."""
    wanted = chunks_wanted(nanoseconds)
    across = max(1, min(wanted, panels // 8))
    down = min(-(-wanted // across), max(1, k // 64))
    return -(-panels // across), -(-k // (down * 16)) * 16
