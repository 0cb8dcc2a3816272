"""The register tile of convolutions: a product whose operands lie anywhere, said by tables of offsets.

    C[m, :] (+)= sum over k of A[row(m) + step(k)] * B[k, :], then a bias          `rows` m, `vectors` of columns

With rows for places and steps for taps and channels it is the forward pass, where nothing is unfolded in memory; with
rows for taps and channels and steps for places it is the gradient of the weight. (A table of rows in place of unfolding
is M. Dukhan, "The Indirect Convolution Algorithm", 2019; here the taps have a table too, so that it stays small.) The
accumulators start from C or from zero: an element is one chain of FMAs however the sum is cut.
"""

from __future__ import annotations

from llvmlite import ir

from fastnn._kernels.emit import I64, POINTER, Value, Vectors, internal

# Arguments of a tile, offsets and distances in bytes: how many k; A, tables of its rows' and of the steps' offsets; B,
# from row to row; C, the table of its rows' offsets; whether the sums start from C; a row to add, or null; how many
# panels of B the rows go past, one after the other, and the distance between these.
ARGUMENTS = ("k", "a", "rows", "steps", "b", "b_step", "c", "c_rows", "old", "bias", "panels", "b_panel")
_NUMBERS = {"k", "b_step", "old", "panels", "b_panel"}
TYPE = ir.FunctionType(ir.VoidType(), [I64 if name in _NUMBERS else POINTER for name in ARGUMENTS])


def shapes(registers: int) -> list[tuple[int, int]]:
    """Every tile, as (rows, vectors)."""
    return [(rows, vectors) for vectors in (1, 2) for rows in range(1, most_rows(registers) + 1)]


def most_rows(registers: int) -> int:
    """Rows of the tile whose accumulators, two vectors a row, fill the registers."""
    return 12 if registers >= 32 else 6


def define_tile(module: ir.Module, size: int, width: int, rows: int, vectors: int) -> ir.Function:
    """Define (once) the tile of `rows` x `vectors` as an internal function of the module.

    Elements have `size` bytes, vectors `width`.
    """
    name = f"fastnn_gather_{size}_{rows}x{vectors}"
    function, fresh = internal(module, name, TYPE, "nounwind")
    if not fresh:
        return function
    _emit(function, size, width, rows, vectors)
    return function


def _emit(function: ir.Function, size: int, width: int, rows: int, vectors: int) -> None:
    b = ir.IRBuilder(function.append_basic_block("start"))
    v = Vectors(b, size, width)
    args = dict(zip(ARGUMENTS, function.args, strict=True))
    cells = [(m, q) for m in range(rows) for q in range(vectors)]
    panel, from_c, head, step, last, biased, store, done = (
        b.append_basic_block(part) for part in ("panel", "from_c", "head", "step", "last", "biased", "store", "done")
    )

    def offset(table: str, m: int) -> Value:
        return b.load(v.at(args[table], 8 * m), typ=I64, align=8)

    sources = [v.at(args["a"], offset("rows", m)) for m in range(rows)]
    end = v.at(args["steps"], b.mul(args["k"], I64(8)))
    start = b.block
    b.branch(panel)

    b.position_at_end(panel)
    left, panel_b, panel_c, panel_bias = b.phi(I64), b.phi(POINTER), b.phi(POINTER), b.phi(POINTER)
    targets = [v.at(panel_c, offset("c_rows", m)) for m in range(rows)]
    for m in range(rows):
        v.prefetch(targets[m], write=True)
    b.cbranch(b.icmp_signed("!=", v.opaque_number(args["old"]), I64(0)), from_c, head)
    b.position_at_end(from_c)
    old = [v.load(v.at(targets[m], q * width)) for m, q in cells]
    b.branch(head)
    b.position_at_end(head)
    first = []
    for value in old:
        phi = b.phi(v.type)
        phi.add_incoming(v.zero, panel)
        phi.add_incoming(value, from_c)
        first.append(phi)
    b.branch(step)

    b.position_at_end(step)
    at, row_b, sums = b.phi(POINTER), b.phi(POINTER), [b.phi(v.type) for _ in cells]
    moved = b.load(at, typ=I64, align=8)
    columns = [v.load(v.at(row_b, q * width)) for q in range(vectors)]
    new = list(sums)
    for m in range(rows):
        element = v.splat(v.load_element(v.at(sources[m], moved)))
        for q in range(vectors):
            new[m * vectors + q] = v.fma(element, columns[q], sums[m * vectors + q])
    following = v.at(at, 8)
    moves = [(at, args["steps"], following), (row_b, panel_b, v.at(row_b, args["b_step"]))]
    for phi, before, after in (*moves, *zip(sums, first, new, strict=True)):
        phi.add_incoming(before, head)
        phi.add_incoming(after, step)
    b.cbranch(b.icmp_unsigned("<", following, end), step, last)

    b.position_at_end(last)
    b.cbranch(b.icmp_unsigned("==", panel_bias, ir.Constant(POINTER, None)), store, biased)
    b.position_at_end(biased)
    row = [v.load(v.at(panel_bias, q * width)) for q in range(vectors)]
    added = [b.fadd(value, row[q]) for (_, q), value in zip(cells, new, strict=True)]
    b.branch(store)
    b.position_at_end(store)
    for (m, q), plain, with_bias in zip(cells, new, added, strict=True):
        phi = b.phi(v.type)
        phi.add_incoming(plain, last)
        phi.add_incoming(with_bias, biased)
        added[m * vectors + q] = phi
    again = [v.at(panel_c, offset("c_rows", m)) for m in range(rows)]
    for (m, q), value in zip(cells, added, strict=True):
        v.store(value, v.at(again[m], q * width))
    fewer = b.sub(left, I64(1))
    beside = vectors * width
    no_bias = b.icmp_unsigned("==", panel_bias, ir.Constant(POINTER, None))
    next_bias = b.select(no_bias, panel_bias, v.at(panel_bias, beside))
    for phi, before, after in (
        (left, args["panels"], fewer),
        (panel_b, args["b"], v.at(panel_b, args["b_panel"])),
        (panel_c, args["c"], v.at(panel_c, beside)),
        (panel_bias, args["bias"], next_bias),
    ):
        phi.add_incoming(before, start)
        phi.add_incoming(after, store)
    b.cbranch(b.icmp_signed(">", fewer, I64(0)), panel, done)
    b.position_at_end(done)
    b.ret_void()
