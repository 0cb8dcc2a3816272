"""Memory for what lives only within a call: one block, in which buffers that are not needed at once share a place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

ALIGNMENT = 64


class Life(NamedTuple):
    """A buffer's size in bytes, and the first and the last phase that need it."""

    nbytes: int
    first: int
    last: int


def rounded(nbytes: int) -> int:
    """The next multiple of a cache line; at least one."""
    return max(1, -(-nbytes // ALIGNMENT)) * ALIGNMENT


def pack(lives: Sequence[Life]) -> tuple[list[int], int]:
    """Places for buffers, so that none overlaps another that is needed at the same time.

    Large ones first, each in the tightest gap among those that it meets in time (greedy by size, Pisarchyk and Lee,
    2020, arXiv:2001.03288).

    Returns
    -------
    The offset of each, and the bytes that all take.
    """
    offsets = [0] * len(lives)
    placed: list[int] = []
    end = 0
    for i in sorted(range(len(lives)), key=lambda i: (-lives[i].nbytes, lives[i].first)):
        life, size = lives[i], rounded(lives[i].nbytes)
        meets = sorted(
            (offsets[j], offsets[j] + rounded(lives[j].nbytes))
            for j in placed
            if lives[j].first <= life.last and life.first <= lives[j].last
        )
        best, tightest, reached = -1, 0, 0
        for low, high in meets:
            gap = low - reached
            if gap >= size and (best < 0 or gap < tightest):
                best, tightest = reached, gap
            reached = max(reached, high)
        offsets[i] = reached if best < 0 else best
        end = max(end, offsets[i] + size)
        placed.append(i)
    return offsets, end


__all__ = ["Life", "pack", "rounded"]
