"""What the matrix product chooses from: tiles for each CPU, epilogues, packings, and how a product is cut up.

Pure Python, without Numba: the main process plans with it, the compile helper generates from it. `plan.py` turns a
choice into phases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# What a tile does before it stores its sums, by the names that ops use; the numbers are the tile's.
EPILOGUES = {None: 0, "bias": 1, "relu": 2, "bias relu": 3, "gate": 4}

# How the rows of A that a tile reads are copied to scratch first: not at all, or in the direction in which they lie.
PACK_NONE, PACK_ROWS, PACK_COLUMNS = range(3)
SCRATCH_ALIGN = 64


@dataclass(frozen=True)
class Tiles:
    """The register tiles for vectors of `width` bytes.

    Attributes
    ----------
    width : bytes of a vector: 64 (AVX-512), 32 (AVX2) or 16 (NEON).
    """

    width: int

    @property
    def tallest(self) -> int:
        """Most rows of a tile."""
        return 6 if self.width == 32 else 12

    @property
    def masks(self) -> bool:
        """Whether vectors are loaded under a mask at full speed."""
        return self.width > 16

    @property
    def heights(self) -> dict[int, int]:
        """For each number of vectors, the most rows whose accumulators leave room in the registers."""
        if self.width == 32:
            return {1: 6, 2: 6, 4: 2, 8: 1}
        return {1: 12, 2: 12, 4: 6, 8: 3}

    def shapes(self) -> Iterator[tuple[int, int]]:
        """Every tile, as (rows, vectors)."""
        for vectors, tallest in self.heights.items():
            for rows in range(1, tallest + 1):
                yield rows, vectors
