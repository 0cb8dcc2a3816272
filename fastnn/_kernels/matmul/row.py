"""One row times B: every element of B is used once, so what counts is to read B as memory likes it.

    c[j] (+)= sum over k of a[k] b[k, j], one chain of FMAs for each j, as in the tiles

A. B's columns each lie along k: blocks of B are transposed in registers. A vector of columns at a time would wait for
   its chain of FMAs, so several go through k side by side.
B. B's columns lie side by side: a few whole rows of B at a time are added to c, which stays in the first cache.
"""

from __future__ import annotations

from llvmlite import ir

from fastnn._kernels.control import Code, smaller
from fastnn._kernels.emit import Vectors, internal
from fastnn._kernels.vector import I64, Value

# Vectors of columns that go through k side by side (A); rows of B that are added at a time (B).
SIDE_BY_SIDE = 2
ROWS_AT_ONCE = 8
LINES_PER_POINTER = 8
# `b_line`: from column to column of B (A), or from k to k (B); distances in bytes; `old`: whether sums start from c.
ARGUMENTS = ("k", "a", "a_step", "b", "b_line", "c", "columns", "old")


def define_row(module: ir.Module, size: int, width: int, *, along_k: bool) -> ir.Function:
    """Define (once) the function of `ARGUMENTS` for a B whose columns lie along k, or side by side."""
    name = f"fastnn_row_{'along' if along_k else 'beside'}_{size}"
    function, fresh = internal(module, name, ir.FunctionType(ir.VoidType(), [I64] * len(ARGUMENTS)), "nounwind")
    if not fresh:
        return function
    builder = ir.IRBuilder(function.append_basic_block("start"))
    kind = _Along if along_k else _Beside
    kind(Code(builder), Vectors(builder, size, width), *(Value(builder, a) for a in function.args)).emit()
    builder.ret_void()
    return function


class _Row:
    """The arguments of a function."""

    def __init__(
        self, code: Code, v: Vectors, k: Value, a: Value, a_step: Value, b: Value, b_line: Value, c: Value,
        columns: Value, old: Value,
    ) -> None:  # fmt: skip
        self.code, self.v, self.k, self.a, self.a_step = code, v, k, a, a_step
        self.b, self.b_line, self.c, self.columns, self.old = b, b_line, c, columns, old

    def element(self, p: Value) -> ir.Value:
        """a[p] in all lanes."""
        return self.v.splat(self.v.load_element(self.v.pointer((self.a + p * self.a_step).value)))


class _Beside(_Row):
    """Emits B."""

    def emit(self) -> None:
        code = self.code
        some = code.local(smaller(self.k, ROWS_AT_ONCE))
        self.rows(code.number(0), some.now, code.local(self.old).now, whole=False)
        p = code.local(some.now)
        # the first rows, fewer than the others, have set c
        with code.while_(lambda: (p.now + ROWS_AT_ONCE).compare("<=", self.k)):
            self.rows(p.now, code.number(ROWS_AT_ONCE), code.number(1), whole=True)
            p.now = p.now + ROWS_AT_ONCE
        with code.when(p.now.compare("<", self.k)):
            self.rows(p.now, self.k - p.now, code.number(1), whole=False)

    def rows(self, p: Value, count: Value, old: Value, *, whole: bool) -> None:
        """Add ROWS_AT_ONCE rows of B (`whole`), or `count` of them, to c (`old`), or make them c."""
        code, v = self.code, self.v
        first = self.b + p * self.b_line
        spread = [self.element(p + r) for r in range(ROWS_AT_ONCE)] if whole else []
        offsets = [self.b_line * r for r in range(ROWS_AT_ONCE)] if whole else []

        def vector(at: Value, mask: ir.Value | None) -> None:
            place = v.pointer((self.c + at).value)
            if whole:
                total = v.load(place, mask)
                for element, offset in zip(spread, offsets, strict=True):
                    total = v.fma(element, v.load(v.pointer((first + offset + at).value), mask), total)
                v.store(total, place, mask)
                return
            total = code.local(Value(code.builder, v.zero))
            with code.when(old.compare("!=", 0)):
                total.now = Value(code.builder, v.load(place, mask))
            with code.range(0, count) as r:
                row = v.load(v.pointer((first + r * self.b_line + at).value), mask)
                total.now = Value(code.builder, v.fma(self.element(p + r), row, total.now.value))
            v.store(total.now.value, place, mask)

        vectors = self.columns // v.lanes
        with code.range(0, vectors) as q:
            vector(q * v.width, None)
        rest = self.columns - vectors * v.lanes
        with code.when(rest.compare("!=", 0)):
            vector(vectors * v.width, v.mask(rest.value))


class _Along(_Row):
    """Emits A."""

    def emit(self) -> None:
        code, lanes = self.code, self.v.lanes
        wide = lanes * SIDE_BY_SIDE
        j = code.local(0)
        with code.while_(lambda: (j.now + wide).compare("<=", self.columns)):
            self.block(j.now, SIDE_BY_SIDE, None)
            j.now = j.now + wide
        with code.while_(lambda: j.now.compare("<", self.columns)):
            self.block(j.now, 1, smaller(self.columns - j.now, lanes))
            j.now = j.now + lanes

    def block(self, j: Value, count: int, left: Value | None) -> None:
        """Columns j and following: `count` vectors, of the only one the first `left` columns."""
        code, v, builder = self.code, self.v, self.code.builder
        lanes, size = v.lanes, v.size
        first = self.b + j * self.b_line
        # the lines of B, a few from each moving pointer: x86 adds a register times 1, 2, 4 or 8 to an address
        starts = [first + self.b_line * r for r in range(0, count * lanes, LINES_PER_POINTER)]
        pointers = [code.local(start) for start in starts]
        odd = {
            number: Value(builder, v.opaque_number((self.b_line * number).value))
            for number in range(1, min(count * lanes, LINES_PER_POINTER), 2)
        }

        def line(r: int) -> ir.Value:
            group, within = divmod(r, LINES_PER_POINTER)
            base = v.pointer(pointers[group].now.value)
            if within == 0:
                return base
            factor = within // (within & -within)
            return v.at(base, (odd[factor] * (within // factor)).value)

        def edge_line(r: int) -> ir.Value:
            # columns past the last one repeat it
            assert left is not None
            number = smaller(left - 1, r) if r else left * 0
            return v.at(v.pointer(pointers[0].now.value), (self.b_line * number).value)

        lines = line if left is None else edge_line
        mask = None if left is None else v.mask(left.value)
        places = [v.pointer((self.c + (j + q * lanes) * size).value) for q in range(count)]
        sums = [code.local(Value(builder, v.zero)) for _ in range(count)]
        with code.when(self.old.compare("!=", 0)):
            for place, total in zip(places, sums, strict=True):
                total.now = Value(builder, v.load(place, mask))
        at = code.local(self.a)
        with code.range(0, self.k // lanes):
            for q, total in enumerate(sums):
                new = total.now.value
                columns = v.transposed([lines(q * lanes + r) for r in range(lanes)])
                # unknown to LLVM as the same place, or it would keep these elements, spread, on the stack
                place = v.opaque(v.pointer(at.now.value))
                for r, column in enumerate(columns):
                    element = v.splat(v.load_element(v.at(place, (self.a_step * r).value)))
                    new = v.fma(element, column, new)
                total.now = Value(builder, new)
            for pointer in pointers:
                pointer.now = pointer.now + v.width
            at.now = at.now + self.a_step * lanes
        with code.range((self.k // lanes) * lanes, self.k) as p:
            element = self.element(p)
            for q, total in enumerate(sums):
                column = ir.Constant(v.type, ir.Undefined)
                for r in range(lanes):
                    column = builder.insert_element(column, v.load_element(lines(q * lanes + r)), ir.IntType(32)(r))
                total.now = Value(builder, v.fma(element, column, total.now.value))
            for pointer in pointers:
                pointer.now = pointer.now + size
        for place, total in zip(places, sums, strict=True):
            v.store(total.now.value, place, mask)
