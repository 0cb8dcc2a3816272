"""What the matrix product chooses from, and what each choice costs: tiles, packings, blocks, chunks.

Pure Python, without Numba: the main process plans with it (`plan.py`), the compile helper generates from it. Costs are
nanoseconds of one thread, from the measurements in docs/decisions/matmul-tiles.md; only their ratios matter. Nothing
here knows the number of threads, and no choice changes a bit of a result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

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

# How lines (a tile's rows of A, its columns of B) are packed: not at all; lying side by side; each along k; anyhow;
# they are packed already; a single row of A is multiplied by them in other ways (`row.py`, `dots.py`).
PACK_NONE, PACK_BESIDE, PACK_ALONG, PACK_ANY, PACKED, ROW_BESIDE, ROW_ALONG, DOTS = range(8)

# A thread's scratch: the epilogue's arguments, a tile of C at an edge, panels of B, strips of A.
EPILOGUE_AT, TILE_AT, PANELS_AT, STRIPS_AT = 0, 1 << 10, 16 << 10, 528 << 10
PANELS_ROOM, STRIPS_ROOM = STRIPS_AT - PANELS_AT, (1 << 20) - STRIPS_AT

# Nanoseconds of a cycle; of an element's packing into strips of A, by direction, and into panels of B; of its way
# through memory where a phase of its own packs it; of reading it once more from the second-level cache.
CYCLE_NS = 0.31
STRIP_NS = {PACK_BESIDE: 0.15, PACK_ALONG: 0.35, PACK_ANY: 0.7}
PACK_NS, MEMORY_NS, READ_NS = 0.25, 0.3, 0.12
# For each FMA, what operands cost that are read as they lie, instead of aligned and side by side. Of B: rows at any
# address; rows 512 bytes or 2 KiB apart (or a multiple), which share a few sets of the cache; rows at multiples of a
# vector, and these 2 KiB apart. Of A: rows along k; the same 2 KiB apart; rows side by side, where each k touches a
# line of the cache of which a strip takes a part; anyhow.
B_APART_NS, B_512_NS, B_2048_NS = 0.0052, 0.0104, 0.0208
B_ALIGNED_NS, B_ALIGNED_2048_NS = 0.001, 0.006
A_ALONG_NS, A_2048_NS, A_BESIDE_NS, A_ANY_NS = 0.0004, 0.0027, 0.0017, 0.01

# k of a block, roughly: where chunks pack what they need, and where B was packed before.
BLOCK, READY_BLOCK = 320, 512
# Panels of B that are packed by a phase of their own take about so many bytes: a bounded workspace, which one part of
# B after the other goes through. A B of more parts than these is packed by chunks.
PANELS_BYTES, MOST_PARTS = 2 << 20, 2048
# The part of the second-level cache for the columns of B that a strip of A goes past at a time; bytes of the strips
# that are packed at a time.
GROUP_SHARE, STRIPS_BYTES = 1 / 4, 192 << 10
# Nanoseconds of work in a chunk: of a small product, and of a large one.
SMALL_CHUNK_NS, LARGE_CHUNK_NS = 16_000, 200_000
# How many chunks serve up to 16 threads, and how many a large product may have; how many rows of chunks, where each
# of them has few rows of C.
ENOUGH_CHUNKS, MOST_CHUNKS, MOST_DOWN = 16, 64, 4096


class Way(NamedTuple):
    """One of the ways to do something: what it is called, what it costs in nanoseconds, what speaks for or against it.

    ``value`` is what the planner goes on with.
    """

    name: str
    nanoseconds: float
    why: str
    value: Any


def cheapest(ways: Sequence[Way]) -> Way:
    """The way that costs least; the first of equals."""
    return min(ways, key=lambda way: way.nanoseconds)


# -- tiles


class Tile(NamedTuple):
    """A tile and the strips of A that it cuts: `strips` of `height` rows, the first `tall` of them with one more."""

    vectors: int
    strips: int
    height: int
    tall: int

    @property
    def most(self) -> int:
        """Most rows of a strip."""
        return self.height + (self.tall > 0)


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
            return {1: range(1, 13), 2: range(1, 13), 3: range(5, 10), 4: range(1, 4), 8: range(1, 3)}
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

    def narrower(self, vectors: int, widest: int) -> int:
        """The vectors of the tile that takes what is left of a row, `vectors` of at most `widest`; as the driver does.

        Not every number of vectors has tiles.
        """
        if vectors >= widest:
            return widest
        return 2 if vectors == 3 else 4 if vectors > 4 else vectors

    def cycles(self, rows: int, vectors: int) -> float:
        """Cycles of a tile for each k: two FMAs, two loads, 32 bytes of B in a cycle, or the FMAs' latency of four.

        Every instruction counts a little, which shows where another hardware thread shares the core.
        """
        fmas, loads = rows * vectors, rows + vectors
        return max(fmas / 2, loads / 2, vectors * self.width / 32, 4.0) + 0.02 * (fmas + loads)

    def ways(self, m: int, n: int, k: int, lanes: int) -> list[Way]:
        """The tiles that can serve a product, and what it costs with each."""
        needed = -(-n // lanes)
        found = []
        for vectors, heights in self.heights.items():
            strips = -(-m // heights[-1])
            height, tall = divmod(m, strips)
            if height < heights[0] or (vectors > needed and vectors > 1):
                continue
            if vectors == 3 and self.registers < 32 and m > 7:
                continue  # as fast as two vectors where these fill the registers, but its rows of C split cache lines
            rows = [(height, strips - tall), (height + 1, tall)]
            cost, left = 0.0, needed
            while left > 0:
                this = self.narrower(left, vectors)
                times = left // vectors if this == vectors else 1
                # each tile begins and ends: about as long as 12 steps of k
                cost += times * sum(count * (k + 12) * self.cycles(h, this) for h, count in rows if count)
                left -= times * this
            words = f"{strips} strips of {height}" + (f" to {height + 1}" if tall else "") + " rows"
            found.append(Way(f"{heights[-1]} x {vectors}", cost * CYCLE_NS, words, Tile(vectors, strips, height, tall)))
        return found


# -- packing


def direction(line: int, step: int) -> int:
    """How lines that lie `line` elements apart, with `step` from one k to the next, are packed."""
    return PACK_BESIDE if line == 1 else PACK_ALONG if step == 1 else PACK_ANY


NAMES = {
    PACK_NONE: "as it lies",
    PACK_BESIDE: "packed, lines side by side",
    PACK_ALONG: "packed, lines along k turned",
    PACK_ANY: "packed one by one",
    PACKED: "packed by a phase before",
}


def b_ways(m: int, n: int, k: int, size: int, strides: tuple[int, ...], *, once: bool, again: float) -> list[Way]:
    """How B, of the given strides (k, columns), may be read; the value is one of the numbers above.

    `once`: all rows meet the same B. `again`: nanoseconds to read, or pack, an element of A once more.
    """

    def read_a(columns: int) -> float:
        """Once for each group of some columns."""
        return m * k * again * -(-n // columns)

    step, column = strides
    beside, elements = column == 1 or n == 1, n * k
    if m == 1 and beside and n * size > 256:
        return [Way("rows of B added to C", 0.0, "one row reads each element of B once", ROW_BESIDE)]
    if m == 1 and step == 1 and not beside:
        return [Way("turned in registers", 0.0, "one row reads each element of B once", ROW_ALONG)]
    how = PACK_BESIDE if beside else direction(column, step)
    ways = [
        Way(
            f"{NAMES[how]}, by each chunk",
            elements * PACK_NS + read_a(256),
            "stays in the caches of a core",
            how,
        )
    ]
    if beside:
        apart = abs(step) * size
        each = B_2048_NS if apart % 2048 == 0 else B_512_NS if apart % 512 == 0 else B_APART_NS
        why = f"rows lie {apart} bytes apart"
        ways.insert(0, Way(NAMES[PACK_NONE], m * elements * each + read_a(256), why, PACK_NONE))
    if once and k >= 64 and n >= 64:
        cost = elements * (PACK_NS + MEMORY_NS) + read_a(n)
        ways.append(Way(NAMES[PACKED], cost, "once for all rows; chunks are rows of C", PACKED))
    return ways


def kept_if_aligned(m: int, size: int, step: int) -> bool:
    """Whether a B whose rows begin at multiples of a vector is better read as it lies; seen when the product runs."""
    return m * (B_ALIGNED_2048_NS if abs(step) * size % 2048 == 0 else B_ALIGNED_NS) < PACK_NS


def a_ways(m: int, n: int, k: int, size: int, strides: tuple[int, ...]) -> list[Way]:
    """How A, of the given strides (rows, k), may be read."""
    how = direction(*strides)
    apart = max(abs(s) for s in strides) * size
    far = apart % 2048 == 0 and k * size >= 1024 and m > 1
    if how == PACK_ANY:
        each, why = A_ANY_NS, "neither rows nor k lie side by side"
    elif far:
        each, why = A_2048_NS, f"{'rows' if how == PACK_ALONG else 'k'} lie {apart} bytes apart"
    else:
        each, why = (A_ALONG_NS, "rows lie along k") if how == PACK_ALONG else (A_BESIDE_NS, "rows lie side by side")
    ways = [Way(NAMES[PACK_NONE], m * n * k * each, why, PACK_NONE)]
    if m > 1:
        ways.append(Way(NAMES[how], m * k * STRIP_NS[how], "a group of strips at a time", how))
    return ways


def panels_columns(n: int, panel: int, size: int) -> int:
    """How many columns of B are packed by one phase at most, so that the workspace is bounded whatever n."""
    most = 4 * PANELS_BYTES // (READY_BLOCK * size * panel) * panel
    return -(-n // (-(-n // most) * panel)) * panel


def panels_count(k: int, n: int, size: int) -> int:
    """Into how many parts of k some columns of B are cut, whose panels are packed by one phase each."""
    return max(1, min(-(-n * k * size // PANELS_BYTES), round(k / READY_BLOCK)))


def panels_parts(k: int, n: int, size: int) -> list[tuple[int, int]]:
    """These parts of k."""
    length = -(-k // panels_count(k, n, size))
    return [(k0, min(k, k0 + length)) for k0 in range(0, k, length)]


# -- blocks and chunks


class Blocks(NamedTuple):
    """How a chunk is gone through: k at a time, strips of A and columns of B at a time."""

    k: int
    strips: int
    columns: int


def blocks(m: int, k: int, most: int, panel: int, size: int, step: int, pack_a: int, pack_b: int, l2: int) -> Blocks:
    """Choose the blocks; `most` rows of a strip, `step` bytes from one k to the next in a packed strip."""
    count = max(1, round(k / (READY_BLOCK if pack_b == PACKED else BLOCK))) if m > most else 1
    length = -(-k // count)
    length = max(1, min(length, PANELS_ROOM // (panel * size), STRIPS_BYTES // step if pack_a else length))
    group = int(l2 * GROUP_SHARE) // (length * panel * size)
    columns = max(1, group) * panel if pack_b else panel
    return Blocks(length, max(1, STRIPS_BYTES // (length * step)) if pack_a else 1 << 40, columns)


def chunks_wanted(nanoseconds: float) -> int:
    """How many chunks a phase of some length should have."""
    few = min(ENOUGH_CHUNKS, nanoseconds / SMALL_CHUNK_NS)
    return max(1, int(max(few, min(MOST_CHUNKS, nanoseconds / LARGE_CHUNK_NS))))


def row_chunk(n: int, panel: int, tile: Tile) -> tuple[int, int]:
    """Strips and columns of a chunk where B is packed already: a few rows of C, whose pages stay at hand."""
    some = max(1, -(-48 // tile.most), -(-tile.strips // MOST_DOWN))
    down, panels = -(-tile.strips // some), -(-n // panel)
    return some, -(-panels // max(1, -(-ENOUGH_CHUNKS // down))) * panel


def chunk(
    m: int, n: int, k: int, panel: int, tile: Tile, widest: int, nanoseconds: float, packs: bool
) -> tuple[int, int]:
    """Strips and columns of a chunk, at most `widest` columns where a few chunks do.

    `packs`: each chunk packs its panels of B.
    """
    wanted = chunks_wanted(nanoseconds)
    panels, strips = -(-n // panel), tile.strips
    least = min(-(-panels * panel // widest), MOST_CHUNKS)
    best = (float("inf"), 1, 1)
    for across in range(min(panels, least), min(panels, max(wanted, least)) + 1):
        down = min(strips, -(-wanted // across))
        # ragged chunks, and too few of them, leave threads idle
        ragged = -(-panels // across) * across / panels * -(-strips // down) * down / strips
        missing = wanted / min(wanted, across * down)
        # A is read once for each column of chunks, B read, and packed, once for each row
        again = k * (READ_NS * m * across + (READ_NS + packs * PACK_NS / 2) * n * down)
        best = min(best, ((nanoseconds + again) * ragged * missing, across, down))
    _, across, down = best
    return -(-strips // down), -(-panels // across) * panel


def panels_chunk(panels: int, panel: int, k: int, nanoseconds: float) -> tuple[int, int]:
    """Columns and k of a chunk of the phase that packs B: runs of at least a few panels, which memory serves better."""
    wanted = chunks_wanted(nanoseconds)
    across = max(1, min(wanted, panels * panel // 128))
    down = min(-(-wanted // across), max(1, k // 64))
    return -(-panels // across) * panel, -(-k // (down * 16)) * 16
