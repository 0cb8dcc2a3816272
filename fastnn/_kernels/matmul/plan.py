"""How a matrix product becomes phases: which way round, packed or not, cut into which chunks.

Runs in the main process while an op is lowered, once for each signature. Nothing here depends on the number of
threads, and no choice changes the bits of a result: an element is one chain of FMAs over k in any case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from fastnn._kernels.matmul import table
from fastnn._kernels.matmul.layout import EPILOGUE_CELLS, EPILOGUE_OPERANDS
from fastnn._kernels.matmul.table import Blocks, Tile, Tiles, Way
from fastnn.ops.lowering import (
    MAX_CHUNKS,
    Array,
    Candidate,
    Cell,
    Lowering,
    Routine,
    join_axes,
    reads,
    updates,
    writes,
)


class Step(NamedTuple):
    """Something that is done to the sums of a product while they are in the cache.

    Attributes
    ----------
    name : a row of the elementwise table (``"add"``, ``"relu"``, ``"gelu_backward"``), applied to what is there; or
        ``"keep"``, which writes it to the operand.
    operands : what the row takes besides, each (..., M, N) with any strides; a row of zeros among them repeats.
    cells : hyper-parameters that the row takes.
    """

    name: str
    operands: tuple[Array, ...] = ()
    cells: tuple[Cell, ...] = ()


def product(
    low: Lowering,
    a: Array,
    b: Array,
    c: Array,
    *,
    bias: Array | None = None,
    activation: str | None = None,
    gate: Array | None = None,
    then: Sequence[Step] = (),
    accumulate: bool = False,
) -> None:
    """Append the phases of ``c = a @ b`` (or ``c += a @ b``), then what follows the sum over k.

    Parameters
    ----------
    low : the lowering that collects the phases.
    a, b, c : symbolic arrays (..., M, K), (..., K, N) and (..., M, N) of one dtype, float32 or float64.
        a and b have any strides (0 along axes of the batch that repeat); c has unit stride along one of its last two
        axes and shares no memory with a or b.
    bias : (N,), added to every row after the sum over k.
    activation : a function of the elementwise table, applied after the bias.
    gate : an array (..., M, N) of any strides; the result is zero wherever it is not positive.
    then : further steps, in order, after these.
    accumulate : start from what c holds.

    Raises
    ------
    ValueError : shapes that do not fit, c without a unit stride, or too many operands of the steps.
    """
    batch, (m, k), n = a.shape[:-2], a.shape[-2:], b.shape[-1]
    if b.shape != (*batch, k, n) or c.shape != (*batch, m, n):
        raise ValueError(f"product: shapes {a.shape} @ {b.shape} -> {c.shape} do not fit")
    steps = []
    if bias is not None:
        steps.append(Step("add", (bias.broadcast_to(c.shape),)))
    if activation is not None:
        steps.append(Step(activation))
    if gate is not None:
        steps.append(Step("relu_backward", (gate,)))
    steps += then
    if sum(len(s.operands) for s in steps) > EPILOGUE_OPERANDS or sum(len(s.cells) for s in steps) > EPILOGUE_CELLS:
        raise ValueError(f"product: too many operands or cells in {[s.name for s in steps]}")
    if c.size == 0:
        return
    dots = n == 1
    if dots and c.strides[-2] != 1 and m > 1:
        # the column is not contiguous: neither are its epilogue's rows of one element any use
        own = low.temporary(c.shape, c.dtype)
        if accumulate:
            copy(low, c, own)
        product(low, a, b, own, then=steps, accumulate=accumulate)
        copy(low, own, c)
        return
    if dots and k > 1 and b.strides[-2] != 1:
        # a vector each, and one where the batch repeats it
        each = (*(e if s else 1 for e, s in zip(b.shape[:-2], b.strides[:-2], strict=True)), k, 1)
        packed = low.temporary(each, b.dtype)
        copy(low, replace(b, shape=each), packed)
        b = packed.broadcast_to(b.shape)
    if dots or _turned(a, b, c):
        a, b, c = _swapped(b), _swapped(a), _swapped(c)
        steps = [s._replace(operands=tuple(map(_swapped, s.operands))) for s in steps]
    _Planner(low, steps, accumulate, dots=dots).append(a, b, c)


def copy(low: Lowering, source: Array, target: Array) -> None:
    """Append the phase that copies an array to another of the same shape."""
    from fastnn.ops.elementwise import apply

    apply(low, "copy", target, source)


def _swapped(x: Array) -> Array:
    """The last two axes exchanged, without a copy."""
    return replace(
        x,
        shape=(*x.shape[:-2], x.shape[-1], x.shape[-2]),
        strides=(*x.strides[:-2], x.strides[-1], x.strides[-2]),
    )


def _unit(array: Array, axis: int) -> bool:
    """Whether neighbours along an axis lie side by side."""
    return array.shape[axis] <= 1 or array.strides[axis] == 1


def _turned(a: Array, b: Array, c: Array) -> bool:
    """Whether to compute ``c.T = b.T @ a.T`` instead."""
    if not (_unit(c, -2) or _unit(c, -1)):
        raise ValueError(f"product: c needs a unit stride, got strides {c.strides}")
    if not (_unit(c, -2) and _unit(c, -1)):
        return not _unit(c, -1)
    return False


class _Planner:
    """Appends the phases for a c whose rows have unit stride."""

    def __init__(self, low: Lowering, steps: Sequence[Step], accumulate: bool, *, dots: bool) -> None:
        from fastnn._kernels import cpu  # only now: importing fastnn asks nothing of the CPU

        self.low, self.steps, self.accumulate, self.dots = low, steps, accumulate, dots
        target = cpu.target()
        self.tiles = Tiles(target.vector_bytes, target.registers)
        self.l2 = cpu.caches().l2

    def append(self, a: Array, b: Array, c: Array) -> None:
        """Append the phases; where B is packed before, part by part, so that the workspace is bounded."""
        (m, k), n, size = a.shape[-2:], b.shape[-1], c.itemsize
        self.lanes = self.tiles.width // size
        way = self._choose("tile (rows x vectors)", self.tiles.ways(m, n, k, self.lanes))
        self.tile: Tile = way.value
        self.nanoseconds = way.nanoseconds / (k + 12)  # for each k
        self.panel = self.tile.vectors * self.lanes
        count = math.prod(c.shape[:-2])
        columns = table.panels_columns(n, self.panel, size)
        # a B that the whole batch shares is packed once, if at all
        shared = all(s == 0 or e == 1 for e, s in zip(b.shape[:-2], b.strides[:-2], strict=True))
        if self.dots:
            ways = [Way("summed in lanes", 0.0, "one column: every element is a dot product", table.DOTS)]
        else:
            rows = m * count if shared and m > 1 else m
            how_a = table.cheapest(table.a_ways(m, n, k, size, a.strides[-2:])).value
            again = table.READ_NS + table.STRIP_NS.get(how_a, 0.0)
            few = -(-n // columns) * table.panels_count(k, columns, size) <= table.MOST_PARTS
            ways = table.b_ways(rows, n, k, size, b.strides[-2:], once=shared and few, again=again)
        pack_b = self._choose("reading of B", ways).value
        if pack_b != table.PACKED:
            self._multiply(a, b, c, self.steps, pack_b, first=True)
            return
        parts = table.panels_parts(k, columns, size)
        # one part after the other lies in the same memory
        space = self.low.temporary((max(k1 - k0 for k0, k1 in parts) * columns,), b.dtype)
        for j in range(0, n, columns):
            stop = min(n, j + columns)
            side, own = _part(b, -1, j, stop), _part(c, -1, j, stop)
            steps = [s._replace(operands=tuple(_part(x, -1, j, stop) for x in s.operands)) for s in self.steps]
            for k0, k1 in parts:
                panels = self._panels(_part(side, -2, k0, k1), space)
                part = _part(a, -1, k0, k1)
                self._multiply(part, panels, own, steps if k1 == k else (), pack_b, first=k0 == 0)

    def _choose(self, what: str, ways: Sequence[Way]) -> Way:
        """The cheapest way; leaves a note of all of them where that is wanted."""
        taken = table.cheapest(ways)
        if self.low.explaining:
            self.low.consider(what, [Candidate(w.name, w.nanoseconds, w is taken, w.why) for w in ways])
        return taken

    def _multiply(self, a: Array, b: Array, c: Array, steps: Sequence[Step], pack_b: int, *, first: bool) -> None:
        """Append the phase that multiplies; the parts of a sum over k but the first start from c."""
        (m, k), n, size = a.shape[-2:], b.shape[-1], c.itemsize
        operands = [x for s in steps for x in s.operands]
        axes = c.ndim - 2
        batch, strides = join_axes(c.shape[:-2], [x.strides[:axes] for x in (a, b, c, *operands)])
        count = math.prod(c.shape[:-2])
        each = self.nanoseconds * (k + 12) + 50
        tile = self.tile
        step = (tile.most if self.tiles.masks else -(-tile.most // self.lanes) * self.lanes) * size
        pack_a = table.PACK_NONE
        if pack_b < table.ROW_BESIDE and k > 0:
            pack_a = self._choose("reading of A", table.a_ways(m, n, k, size, a.strides[-2:])).value
        blocks = table.blocks(m, k, tile.most, self.panel, size, step, pack_a, pack_b, self.l2)
        widest = n + self.panel
        if pack_b == table.PACKED:
            chunk_strips, chunk_columns = table.row_chunk(n, self.panel, tile)
        else:
            packs = pack_b in (table.PACK_BESIDE, table.PACK_ALONG, table.PACK_ANY)
            if packs:  # the panels of a chunk must fit its scratch
                widest = max(1, table.PANELS_ROOM // (blocks.k * size * self.panel)) * self.panel
            # a batch is cut into its products, and these where they are few
            own = each if count == 1 else min(each, count * each / min(count, table.ENOUGH_CHUNKS))
            chunk_strips, chunk_columns = table.chunk(m, n, k, self.panel, tile, widest, own, packs)
        down, across = -(-tile.strips // chunk_strips), -(-n // chunk_columns)
        items = 1
        if down * across == 1 and count > 1:
            items = -(-count // min(count, table.chunks_wanted(count * each)))
        if -(-count // items) * down * across > MAX_CHUNKS:
            # so large a batch needs fewer cuts inside a product, or none
            chunk_strips = -(-tile.strips // max(1, MAX_CHUNKS // (count * across)))
            down = -(-tile.strips // chunk_strips)
            items = -(-count // (MAX_CHUNKS // (down * across)))
        chunks = -(-count // items) * down * across
        self._note_chunks(blocks, chunk_strips, chunk_columns, items)
        kind, finish = self._epilogue(steps, c, n, tiles=pack_b < table.ROW_BESIDE)
        padding = EPILOGUE_OPERANDS - len(operands)
        cells: list[Cell | int] = [x for s in steps for x in s.cells]
        starts_from_c = self.accumulate or not first
        modes = [writes if s.name == "keep" else reads for s in steps for _ in s.operands]
        self.low.phase(
            "matmul.product.product",
            [
                reads(a),
                reads(b),
                updates(c) if starts_from_c else writes(c),
                *(mode(x) for mode, x in zip(modes, operands, strict=True)),
                *[0] * padding,
                *(m, n, k),
                *(a.strides[-2] * size, a.strides[-1] * size, b.strides[-2] * size, b.strides[-1] * size),
                c.strides[-2] * size,
                *(step * size for x in operands for step in x.strides[-2:]),
                *[0] * (2 * padding),
                kind,
                *finish,
                *cells,
                *[0] * (EPILOGUE_CELLS - len(cells)),
                int(starts_from_c),
                *(chunks, down, across, chunk_strips, chunk_columns, items, count),
                *(tile.strips, tile.height, tile.tall, tile.vectors),
                *(blocks.k, pack_a, pack_b, step, blocks.strips, blocks.columns),
                widest,
                int(
                    pack_b == table.PACK_BESIDE
                    and n % self.lanes == 0
                    and table.kept_if_aligned(m, size, b.strides[-2])
                ),
                len(batch),
                *batch,
                *(step * size for own_steps in strides for step in own_steps),
                *[0] * (padding * len(batch)),
            ],
            chunks=chunks,
            work=count * each,
            # of strips that are all alike, chunks of whole rows are blocks of C
            block=tile.height * chunk_strips * n if count == across == 1 and not tile.tall and c.contiguous else 0,
            flops=2.0 * count * m * n * k,
            dtype=c.dtype,
            width=self.tiles.width,
            registers=self.tiles.registers,
        )

    def _note_chunks(self, blocks: Blocks, strips: int, columns: int, items: int) -> None:
        """Say how a product is cut, where that is wanted."""
        if not self.low.explaining:
            return
        what = f"{items} products of the batch" if items > 1 else f"{strips} strips, {columns} columns"
        several = f", {blocks.strips} strips packed" if blocks.strips < 1 << 30 else ""
        self.low.note(f"a chunk: {what}; at a time: {blocks.k} of k, {blocks.columns} columns{several}")

    def _epilogue(
        self, steps: Sequence[Step], c: Array, n: int, *, tiles: bool
    ) -> tuple[int, tuple[int, Routine | int]]:
        """What tiles do (if there are any), for what the epilogue's kernel is called, and that kernel."""
        names = tuple(s.name for s in steps)
        kind = table.IN_TILE.get(names)
        if kind is not None and (tiles or not names):
            extra = next((x for s in steps for x in s.operands), None)
            # a tile reads whole vectors of one row, or of an array like C
            fits = extra is None or (
                _unit(extra, -1) and (kind == table.GATE or extra.strides[-2] == 0 or c.shape[-2] == 1)
            )
            if fits and (not names or self.tiles.masks or n % self.lanes == 0):
                return kind, (0, 0)
            if fits:
                return kind, (2, Routine("matmul.epilogue.finish", (("dtype", c.dtype), ("steps", names))))
        if not names:
            return table.NONE, (0, 0)
        return table.NONE, (1, Routine("matmul.epilogue.finish", (("dtype", c.dtype), ("steps", names))))

    def _panels(self, b: Array, space: Array) -> Array:
        """Append the phase that copies b into panels in `space`; return them, with strides as products need them."""
        (k, n), size = b.shape[-2:], b.itemsize
        count = -(-n // self.panel)
        work = k * n * (table.PACK_NS + table.MEMORY_NS)
        columns, rows = table.panels_chunk(count, self.panel, k, work)
        self.low.phase(
            "matmul.pack.panels",
            [
                reads(b),
                writes(space),
                *(n, k, b.strides[-1] * size, b.strides[-2] * size, self.panel),
                table.direction(b.strides[-1], b.strides[-2]),
                *(columns, rows),
            ],
            chunks=-(-n // columns) * -(-k // rows),
            work=work,
            flops=0,
            dtype=b.dtype,
            width=self.tiles.width,
        )
        return replace(space, shape=b.shape, strides=(*[0] * (b.ndim - 2), self.panel, k))


def _part(x: Array, axis: int, start: int, stop: int) -> Array:
    """Elements start to stop - 1 along an axis, counted from the last one: -1, -2."""
    axis += x.ndim
    shape = (*x.shape[:axis], stop - start, *x.shape[axis + 1 :])
    return replace(x, shape=shape, offset=x.offset + start * x.strides[axis] * x.itemsize)
