"""The columns of a depthwise convolution's kernel: which of a tile's columns meet which sources by which taps.

Pure Python, without Numba: the main process plans with it, the compile helper generates from it.
"""

from __future__ import annotations

from typing import NamedTuple

# Columns that are done together, or about so many: where each is a sum, and where all go into the sums of the taps.
TILE, TILE_SUMMED = 4, 8


class Columns(NamedTuple):
    """What is known of the kernel along columns."""

    taps: int
    stride: int
    dilation: int
    transposed: bool
    tile: int = TILE

    @property
    def together(self) -> int:
        """Columns of a tile: whole steps of the source where that is spread."""
        return self.stride * max(1, self.tile // self.stride) if self.transposed else self.tile

    def met(self, column: int) -> list[tuple[int, int]]:
        """What a tile's column meets: (tap, source column relative to the tile's first), in the order of taps."""
        if not self.transposed:
            return [(tap, column * self.stride + tap * self.dilation) for tap in range(self.taps)]
        reached = [(tap, column - tap * self.dilation) for tap in range(self.taps)]
        return [(tap, at // self.stride) for tap, at in reached if at % self.stride == 0]

    def sources(self) -> dict[int, list[tuple[int, int]]]:
        """For each source column that a tile meets, as above: which (column, tap) meet it.

        Down the sources of a transposed convolution, and up the others, a column meets its taps in order.
        """
        found: dict[int, list[tuple[int, int]]] = {}
        for column in range(self.together):
            for tap, source in self.met(column):
                found.setdefault(source, []).append((column, tap))
        return dict(sorted(found.items(), reverse=self.transposed))
