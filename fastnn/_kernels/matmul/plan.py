"""How a matrix product becomes phases: which way round, packed or not, cut into which chunks.

Runs in the main process while an op is lowered, once for each signature. Nothing here depends on the number of
threads, and no choice changes the bits of a result: an element is one chain of FMAs over k in any case.
"""

from __future__ import annotations

from fastnn._kernels.matmul import table
from fastnn._kernels.matmul.table import Tiles
from fastnn.ops.lowering import Array, Lowering, reads, updates, writes


def product(
    low: Lowering,
    a: Array,
    b: Array,
    c: Array,
    *,
    bias: Array | None = None,
    activation: str | None = None,
    gate: Array | None = None,
    accumulate: bool = False,
) -> None:
    """Append the phases of ``c = a @ b`` (or ``c += a @ b``), then bias and activation, or a gate.

    Parameters
    ----------
    low : the lowering that collects the phases.
    a, b, c : symbolic arrays (M, K), (K, N) and (M, N) of one dtype, float32 or float64. a and b have any strides; c
        has unit stride along one axis and shares no memory with a or b.
    bias : (N,), added to every row after the sum over k.
    activation : None or ``"relu"``, applied last.
    gate : an array (M, N) of any strides; the result is zero wherever it is not positive. Not together with bias or
        activation.
    accumulate : start from what c holds.

    Raises
    ------
    ValueError : shapes that do not fit, c without a unit stride, or an epilogue that no row of the table has.
    """
    (m, k), n = a.shape, b.shape[1]
    if b.shape[0] != k or c.shape != (m, n):
        raise ValueError(f"product: shapes {a.shape} @ {b.shape} -> {c.shape} do not fit")
    key = (bias is not None, activation, gate is not None)
    if key not in table.EPILOGUES:
        raise ValueError(f"product: no epilogue for bias, activation, gate = {key}")
    if c.size == 0:
        return
    extra = gate if bias is None else bias.broadcast_to((m, n))
    if _turned(a, b, c):
        a, b, c, extra = b.T, a.T, c.T, None if extra is None else extra.T
    _append(low, a, b, c, extra, table.EPILOGUES[key], accumulate)


def _unit(array: Array, axis: int) -> bool:
    """Whether neighbours along an axis lie side by side."""
    return array.shape[axis] <= 1 or array.strides[axis] == 1


def _turned(a: Array, b: Array, c: Array) -> bool:
    """Whether to compute ``c.T = b.T @ a.T`` instead."""
    if not (_unit(c, 0) or _unit(c, 1)):
        raise ValueError(f"product: c needs a unit stride, got strides {c.strides}")
    if not (_unit(c, 0) and _unit(c, 1)):
        return not _unit(c, 1)
    # a single row or column: the way in which the matrix needs no turning
    return not _unit(b, 1) if c.shape[0] == 1 else a.strides[0] == 1 != a.strides[1]


def _append(
    low: Lowering, a: Array, b: Array, c: Array, extra: Array | None, epilogue: table.Epilogue, accumulate: bool
) -> None:
    """Append the phases for a c whose rows have unit stride."""
    (m, k), n, size = a.shape, b.shape[1], c.itemsize
    from fastnn._kernels import cpu  # only now: importing fastnn asks nothing of the CPU

    target = cpu.target()
    tiles = Tiles(target.vector_bytes, target.registers)
    lanes = tiles.width // size
    height, vectors = tiles.choose(m, n, lanes)
    panel = vectors * lanes
    b_step, b_panel = b.strides[0], panel
    packed = k > 0 and table.pack_first(tiles, n, size, _unit(b, 1))
    if packed:
        b = _pack(low, b, panel, tiles.width)
        b_step, b_panel = panel, k * panel
    nanoseconds = table.work(m, n, k, lanes)
    cut = table.cut(m, n, k, size, panel, height, a.strides, packed, cpu.caches().l2, nanoseconds)
    by_tile = extra is None or (_unit(extra, 1) and (epilogue.tile == table.GATE or extra.strides[0] == 0 or m == 1))
    low.phase(
        "matmul.product.product",
        [
            reads(a),
            reads(b),
            updates(c) if accumulate else writes(c),
            0 if extra is None else reads(extra),
            *(m, n, k),
            *a.strides,
            *(b_step, b_panel),
            c.strides[0],
            *((0, 0) if extra is None else extra.strides),
            *((epilogue.tile, 0) if by_tile else (table.NONE, epilogue.second)),
            int(accumulate),
            *(cut.rows, cut.columns, cut.block),
            *(cut.stretch, vectors, height, cut.pack_a, int(cut.pack_b)),
        ],
        chunks=-(-m // cut.rows) * -(-n // cut.columns),
        work=nanoseconds,
        block=cut.rows * n if cut.columns >= n and c.contiguous else 0,
        dtype=c.dtype,
        width=tiles.width,
        registers=tiles.registers,
    )


def _pack(low: Lowering, b: Array, panel: int, width: int) -> Array:
    """Append the phase that copies b into panels; return them."""
    k, n = b.shape
    count = -(-n // panel)
    panels = low.temporary((count * k * panel,), b.dtype)
    work = k * n * b.itemsize * table.PACK_NS_A_BYTE
    group, rows = table.pack_cut(count, k, work)
    down = -(-k // rows)
    low.phase(
        "matmul.pack.panels",
        [reads(b), writes(panels), n, k, b.strides[1], b.strides[0], panel, group, rows],
        chunks=-(-count // group) * down,
        work=work,
        block=group * k * panel if down == 1 else 0,
        dtype=b.dtype,
        width=width,
    )
    return panels
