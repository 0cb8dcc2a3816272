"""The register tile of the matrix product, emitted as LLVM vectors.

    C[mr rows, nv vectors] (+)= A[mr, k] B[k, nv vectors], then the epilogue

The accumulators start from C or from zero and stay in registers over all of k, so that an element of C is one chain
of FMAs however the product is cut up. A is read one element at a time and spread over a vector: its rows and its
columns may lie any distance apart, and no transposition needs a tile of its own. B's columns lie side by side.

Where vectors are loaded under a mask at full speed (AVX-512), the last vector of a row is masked. Elsewhere a tile
works on whole vectors alone, and its caller sees to the edges (`product.py`).
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from fastnn._kernels.emit import I64, POINTER, Value, Vectors, internal
from fastnn._kernels.matmul.table import BIAS, GATE, NONE, RELU

# The arguments of a tile, addresses as pointers, distances in bytes, the rest int64: k; A, from row to row and from
# column to column; B, from row to row; C, from row to row; columns of the last vector (read under masks only); whether
# the sums start from C; what to do before storing, with E (a row to add, or an array like C that gates); where the
# tile of C lies that follows all of these; how many panels of B the rows of A go past, one after the other (at least
# one), and the distance between these.
ARGUMENTS = (
    *("k", "a", "a_row", "a_step", "b", "b_step"),
    *("c", "c_row", "last", "accumulate", "epilogue", "e", "e_row", "c_next", "panels", "b_panel"),
)
POINTERS = {"a", "b", "c", "e", "c_next"}
TYPE = ir.FunctionType(ir.VoidType(), [POINTER if name in POINTERS else I64 for name in ARGUMENTS])

# Rows of A that share a moving pointer: x86 adds one, two, four or eight times a register to an address, and one
# register each holds one, three and five times the rows' distance.
ROWS_PER_POINTER = 6
CACHE_LINE = 64


class Style(NamedTuple):
    """How tiles are emitted for a CPU.

    Attributes
    ----------
    masks : vectors are loaded and stored under a mask at full speed.
    prefetch : rows of B ahead of the present one that are asked for; 0: none.
    """

    masks: bool
    prefetch: int


def define_tile(module: ir.Module, size: int, width: int, rows: int, vectors: int, style: Style) -> ir.Function:
    """Define (once) the tile of `rows` x `vectors` as an internal function of the module.

    Parameters
    ----------
    size : bytes of an element.
    width : bytes of a vector.
    """
    name = f"fastnn_tile_{size}_{rows}x{vectors}"
    function, fresh = internal(module, name, TYPE, "nounwind")
    if not fresh:
        return function
    for value, argument in zip(function.args, ARGUMENTS, strict=True):
        value.name = argument
    _Tile(function, size, width, rows, vectors, style).emit()
    return function


class _Tile:
    """Emits the body of one tile."""

    def __init__(self, function: ir.Function, size: int, width: int, rows: int, vectors: int, style: Style) -> None:
        self.builder = ir.IRBuilder(function.append_basic_block("start"))
        self.vector = Vectors(self.builder, size, width)
        self.rows, self.vectors, self.style = rows, vectors, style
        self.cells = [(m, q) for m in range(rows) for q in range(vectors)]
        self.args = dict(zip(ARGUMENTS, function.args, strict=True))
        self.mask = self.vector.mask(self.args["last"]) if style.masks else None

    def block(self, name: str) -> ir.Block:
        return self.builder.append_basic_block(name)

    def edge(self, q: int) -> Value | None:
        """The mask of vector q of a row: only the last one has any."""
        return self.mask if q == self.vectors - 1 else None

    def rows_of(self, base: Value, step: Value) -> list[Value]:
        """The address of every row of an operand."""
        rows = [base]
        for _ in range(self.rows - 1):
            rows.append(self.vector.at(rows[-1], step))
        return rows

    def cell(self, rows: list[Value], m: int, q: int) -> Value:
        """The address of vector q in row m of an operand."""
        return self.vector.at(rows[m], q * self.vector.width) if q else rows[m]

    def emit(self) -> None:
        b, v, args = self.builder, self.vector, self.args
        before, panel, done = b.block, self.block("panel"), self.block("done")
        b.branch(panel)
        b.position_at_end(panel)
        left, places = b.phi(I64), {name: b.phi(POINTER) for name in ("b", "c", "e")}
        # unknown to LLVM as the same in every panel, or it would write the whole loop once for each of their values
        asked = {name: v.opaque_number(args[name]) for name in ("accumulate", "epilogue")}
        outside, self.args = args, args | places | asked
        self.c_rows = self.rows_of(places["c"], args["c_row"])
        beside = v.at(places["c"], self.vectors * v.width)
        self.following = b.select(b.icmp_signed(">", left, I64(1)), beside, args["c_next"])
        self.next = self.block("next")
        self.finish(self.chain(self.first()))
        b.position_at_end(self.next)
        fewer = b.sub(left, I64(1))
        moved = {
            "b": v.at(places["b"], args["b_panel"]),
            "c": beside,
            "e": v.at(places["e"], self.vectors * v.width),
        }
        left.add_incoming(outside["panels"], before)
        left.add_incoming(fewer, self.next)
        for name, phi in places.items():
            phi.add_incoming(outside[name], before)
            phi.add_incoming(moved[name], self.next)
        b.cbranch(b.icmp_signed(">", fewer, I64(0)), panel, done)
        b.position_at_end(done)
        b.ret_void()

    def first(self) -> list[Value]:
        """The accumulators' first values: C or zero."""
        b, v, args = self.builder, self.vector, self.args
        for row in self.rows_of(self.following, args["c_row"]):
            for offset in range(0, self.vectors * v.width, CACHE_LINE):
                v.prefetch(v.at(row, offset), write=True)
        start, from_c, ready = b.block, self.block("from_c"), self.block("ready")
        b.cbranch(b.icmp_signed("!=", args["accumulate"], I64(0)), from_c, ready)
        b.position_at_end(from_c)
        old = [v.load(self.cell(self.c_rows, m, q), self.edge(q)) for m, q in self.cells]
        b.branch(ready)
        b.position_at_end(ready)
        return [self.merge((v.zero, start), (value, from_c)) for value in old]

    def merge(self, *incoming: tuple[Value, ir.Block]) -> Value:
        """A phi of values that come from different blocks."""
        phi = self.builder.phi(incoming[0][0].type)
        for value, block in incoming:
            phi.add_incoming(value, block)
        return phi

    def row(self, base: Value, m: int) -> Value:
        """The address of row m of A from a moving pointer, by an odd multiple of the rows' distance times 2**n."""
        if m == 0:
            return base
        odd = m // (m & -m)
        return self.vector.at(base, self.builder.mul(self.multiples[odd], I64(m // odd)))

    def chain(self, sums: list[Value]) -> list[Value]:
        """Add the products of all k, in order, to each accumulator."""
        b, v, args = self.builder, self.vector, self.args
        starts = self.rows_of(args["a"], args["a_row"])[::ROWS_PER_POINTER]
        self.multiples = {1: args["a_row"]}
        for odd in range(3, min(self.rows, ROWS_PER_POINTER), 2):
            self.multiples[odd] = v.opaque_number(b.mul(args["a_row"], I64(odd)))
        before, head, done = b.block, self.block("k"), self.block("k_done")
        b.cbranch(b.icmp_signed(">", args["k"], I64(0)), head, done)
        b.position_at_end(head)
        left, row_b = b.phi(I64), b.phi(POINTER)
        rows_a = [b.phi(POINTER) for _ in starts]
        accumulators = [b.phi(v.type) for _ in sums]
        new = list(accumulators)
        vectors = [v.load(v.at(row_b, q * v.width), self.edge(q)) for q in range(self.vectors)]
        if self.style.prefetch:
            ahead = v.at(row_b, b.mul(args["b_step"], I64(self.style.prefetch)))
            for q in range(self.vectors):
                v.prefetch(v.at(ahead, q * v.width))
        moving = [v.opaque(p) for p in rows_a]
        for m in range(self.rows):
            at = self.row(moving[m // ROWS_PER_POINTER], m % ROWS_PER_POINTER)
            element = v.splat(v.load_element(at))
            for q in range(self.vectors):
                i = m * self.vectors + q
                new[i] = v.fma(element, vectors[q], new[i])
        then = b.sub(left, I64(1))
        moves = [(left, args["k"], then), (row_b, args["b"], v.at(row_b, args["b_step"]))]
        moves += [(p, s, v.at(q, args["a_step"])) for p, s, q in zip(rows_a, starts, moving, strict=True)]
        moves += zip(accumulators, sums, new, strict=True)
        for phi, at_first, next_time in moves:
            phi.add_incoming(at_first, before)
            phi.add_incoming(next_time, head)
        b.cbranch(b.icmp_signed(">", then, I64(0)), head, done)
        b.position_at_end(done)
        return [self.merge((x, before), (y, head)) for x, y in zip(sums, new, strict=True)]

    def finish(self, sums: list[Value]) -> None:
        """The epilogue that the caller chose, with stores of its own: values that meet again would cost moves."""
        b = self.builder
        plain, more, add, gate = (self.block(name) for name in ("plain", "more", "add", "gate"))
        kind = self.args["epilogue"]
        b.cbranch(b.icmp_signed("==", kind, I64(NONE)), plain, more)
        b.position_at_end(more)
        b.cbranch(b.icmp_signed("==", kind, I64(GATE)), gate, add)
        for block, values in ((plain, lambda x: x), (add, self.biased), (gate, self.gated)):
            b.position_at_end(block)
            for (m, q), value in zip(self.cells, values(sums), strict=True):
                self.vector.store(value, self.cell(self.c_rows, m, q), self.edge(q))
            b.branch(self.next)

    def biased(self, sums: list[Value]) -> list[Value]:
        """Add a row to each row, then cut off below zero; either may be left out, by operands that change nothing."""
        b, v, kind = self.builder, self.vector, self.args["epilogue"]
        # x + -0.0 is x for every x
        nothing, before, load, ready = v.splat_constant(-0.0), b.block, self.block("load_row"), self.block("row_ready")
        b.cbranch(b.icmp_signed("==", kind, I64(RELU)), ready, load)
        b.position_at_end(load)
        loaded = [v.load(v.at(self.args["e"], q * v.width), self.edge(q)) for q in range(self.vectors)]
        b.branch(ready)
        b.position_at_end(ready)
        row = [self.merge((nothing, before), (x, load)) for x in loaded]
        # ordered comparison: a NaN stays; nothing but minus infinity itself is as low as minus infinity
        floor = b.select(b.icmp_signed("==", kind, I64(BIAS)), v.splat_constant(float("-inf")), v.zero)
        added = [b.fadd(x, row[q]) for (_, q), x in zip(self.cells, sums, strict=True)]
        return [b.select(b.fcmp_ordered("<=", x, floor), floor, x) for x in added]

    def gated(self, sums: list[Value]) -> list[Value]:
        """Clear the sums where e, an array like C, is not positive (a NaN lets them pass, as in `relu_backward`)."""
        b, v = self.builder, self.vector
        rows = self.rows_of(self.args["e"], self.args["e_row"])
        out = []
        for (m, q), x in zip(self.cells, sums, strict=True):
            y = v.load(self.cell(rows, m, q), self.edge(q))
            out.append(b.select(b.fcmp_ordered("<=", y, v.zero), v.zero, x))
        return out
