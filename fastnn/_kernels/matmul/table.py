"""What the matrix product chooses from: tiles for each CPU, epilogues, packings, and how a product is cut up.

Pure Python, without Numba: the main process plans with it (`plan.py`), the compile helper generates from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# What a tile does before it stores its sums; `tile.py` has the same numbers.
NONE, BIAS, RELU, BIAS_RELU, GATE = range(5)

# Bits of the second pass over C, for what tiles do not do: add e, cut off below zero, clear where e is not positive.
ADD, CUT, SHUT = 1, 2, 4

# How the rows of A that a tile reads are copied to scratch first: not at all, or in the direction in which they lie.
PACK_NONE, PACK_ROWS, PACK_COLUMNS = range(3)


@dataclass(frozen=True)
class Epilogue:
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


@dataclass(frozen=True)
class Tiles:
    """The register tiles for a CPU.

    Attributes
    ----------
    width : bytes of a vector: 64 (AVX-512), 32 (AVX2) or 16 (NEON and others).
    registers : vector registers: 32 (AVX-512, NEON) or 16.
    """

    width: int
    registers: int

    @property
    def heights(self) -> dict[int, int]:
        """For each number of vectors side by side, the most rows whose accumulators leave room in the registers."""
        return {1: 12, 2: 12, 4: 6, 8: 3} if self.registers >= 32 else {1: 6, 2: 6, 4: 2, 8: 1}

    @property
    def tallest(self) -> int:
        """Most rows of any tile."""
        return max(self.heights.values())

    @property
    def masks(self) -> bool:
        """Whether vectors are loaded under a mask at full speed."""
        return self.width > 16

    def shapes(self) -> Iterator[tuple[int, int]]:
        """Every tile, as (rows, vectors)."""
        for vectors, tallest in self.heights.items():
            for rows in range(1, tallest + 1):
                yield rows, vectors

    def choose(self, m: int, n: int, lanes: int) -> tuple[int, int]:
        """Rows and vectors of the tile for a product: wide where there are few rows, which fill few registers."""
        needed = -(-n // lanes)
        height = -(-m // -(-m // self.heights[2]))
        vectors = max(v for v, tallest in self.heights.items() if v == 1 or (height <= tallest and v < 2 * needed))
        return self.heights[vectors], vectors


# Nanoseconds of work that a chunk should have, and how many chunks serve up to 16 threads.
CHUNK_NS = 10_000
MOST_CHUNKS = 64
# k of a block of a product whose operands are packed.
BLOCK = 384
# Cost of packing, and FMAs of one lane in a nanosecond.
PACK_NS_A_BYTE = 0.1
LANE_FMAS_A_NS = 4.5


def work(m: int, n: int, k: int, size: int, lanes: int) -> float:
    """Nanoseconds of a product on one thread, roughly."""
    whole = -(-n // lanes) * lanes
    return m * whole * k / (lanes * LANE_FMAS_A_NS) + m * n * size / 20 + 50


def pack_b(tiles: Tiles, m: int, n: int, k: int, size: int, rows_contiguous: bool) -> bool:
    """Whether to copy B into panels: where it lies badly, or is read often and too large to stay in the cache."""
    lanes = tiles.width // size
    if not rows_contiguous or (not tiles.masks and n % lanes):
        return True
    limit = 800_000 if tiles.registers >= 32 else 120_000
    return m >= 40 and k * n * size > limit


@dataclass(frozen=True)
class Cut:
    """How a product is cut up.

    Attributes
    ----------
    rows, columns : of C in a chunk; columns are a multiple of the panel.
    block : k of a block.
    pack_a : how a tile's rows of A are packed.
    """

    rows: int
    columns: int
    block: int
    pack_a: int


def cut(
    m: int, n: int, k: int, size: int, panel: int, height: int, a_strides: tuple[int, ...], packed: bool
) -> Cut:
    """Choose chunks, blocks of k and the packing of A."""
    wanted = min(MOST_CHUNKS, max(1, int(work(m, n, k, size, 64 // size) / CHUNK_NS)))
    panels, strips = -(-n // panel), -(-m // height)
    best = (float("inf"), 1, 1)
    for across in range(1, min(panels, wanted) + 1):
        down = min(strips, -(-wanted // across))
        columns, rows = -(-panels // across), -(-strips // down)
        # A is read once for each column of chunks, B once for each row; ragged chunks leave threads idle
        ragged = columns * across / panels * rows * down / strips
        too_few = wanted / min(wanted, across * down)
        cost = (m * across + 2 * n * down) * ragged * too_few
        best = min(best, (cost, across, down))
    _, across, down = best
    columns = -(-panels // across) * panel
    rows = -(-strips // down) * height if strips >= 4 * down else -(-m // down)
    far = a_strides[1] == 1 and a_strides[0] * size % 2048 == 0 and k * size >= 2048
    wide = columns >= 8 * panel and packed
    pack_a = PACK_NONE
    if wide or (far and columns >= 2 * panel and m >= 8) or 1 not in a_strides:
        pack_a = PACK_COLUMNS if a_strides[0] == 1 else PACK_ROWS
    block = max(1, k)
    if packed or pack_a:
        blocks = -(-block // BLOCK)
        block = -(-block // (blocks * 16)) * 16
    return Cut(rows, columns, block, pack_a)
