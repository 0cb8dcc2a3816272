"""Philox 4x32-10 in NumPy, its words laid out as `fastnn._kernels.philox` says, and the cells that name a draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.ops.elementwise import cut
from fastnn.ops.lowering import Array, Cell, Lowering, Operand, writes

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
COUNTERS = 8
ATTEMPT = 1 << 24
_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)

# The cells of every op that draws: the seed's halves, and which draw it is. Defaults are somebody's first draw.
CELLS = {"seed_low": 0.0, "seed_high": 0.0, "draw": 0.0}


def rounds(counter: Sequence[np.ndarray], key: Sequence[int]) -> list[np.ndarray]:
    """The four 32-bit words of each counter, as uint64."""
    x0, x1, x2, x3 = (np.asarray(c, np.uint64) for c in counter)
    k0, k1 = key
    for _ in range(10):
        p0, p1 = x0 * np.uint64(MULTIPLIERS[0]), x2 * np.uint64(MULTIPLIERS[1])
        x0, x1 = (p1 >> _HALF) ^ x1 ^ np.uint64(k0), p1 & _MASK
        x2, x3 = (p0 >> _HALF) ^ x3 ^ np.uint64(k1), p0 & _MASK
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return [x0, x1, x2, x3]


def words64(count: int, seed_low: float, seed_high: float, draw: float, attempt: float = 0) -> np.ndarray:
    """The first `count` words of a draw."""
    tiles = -(-count // (2 * COUNTERS))
    block = np.arange(tiles * COUNTERS, dtype=np.uint64)
    number = int(draw)
    high = [np.full_like(block, number & 0xFFFFFFFF), np.full_like(block, (number >> 32) ^ int(attempt * ATTEMPT))]
    a, b, c, d = rounds([block & _MASK, block >> _HALF, *high], [int(seed_low), int(seed_high)])
    pairs = [(low | (up << _HALF)).reshape(tiles, COUNTERS) for low, up in ((a, b), (c, d))]
    return np.concatenate(pairs, axis=1).reshape(-1)[:count]


def words32(count: int, seed_low: float, seed_high: float, draw: float) -> np.ndarray:
    """The first `count` words of 32 bits of a draw."""
    wide = words64((count + 1) // 2, seed_low, seed_high, draw)
    return wide.astype("<u8").view("<u4").astype(np.uint32)[:count]


def draws(
    low: Lowering,
    kernel: str,
    out: Array,
    own: Sequence[Operand | Cell],
    cost: float,
    **static: Any,
) -> Array:
    """Append a phase that draws one number for each element of a C-contiguous array; `cost` in ns an element."""
    if out.size == 0:
        return out
    block, chunks = cut(out.size, cost)
    low.phase(
        kernel,
        [writes(out), out.size, block, *(low.cell(n) for n in CELLS), *own],
        chunks=chunks,
        work=out.size * cost + 50,
        flops=out.size,
        block=0 if low.storages[out.storage].kind == "out" else block,
        **static,
    )
    return out


def lies_in_order(out: Array) -> bool:
    """Whether kernels that draw can write an array: an element's place is its number."""
    return out.contiguous
