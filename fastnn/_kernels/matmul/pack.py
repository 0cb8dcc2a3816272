"""Copies of operands into the order in which tiles read them.

A panel of B: the columns that a tile multiplies at a time side by side, one k after the other. A strip of A: the rows
that a tile multiplies at a time side by side, likewise. Both are "some lines, side by side, for one k after the other",
and one set of functions serves them: `strip` for lines that lie side by side already, `transposed_strip` for lines
that each lie along k, `any_strip` for the rest. Lines past the last one repeat others or are zero; no tile stores what
they give.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.emit import Vectors, internal
from fastnn._kernels.jit import kernel
from fastnn._kernels.matmul.layout import PanelWord
from fastnn._kernels.matmul.table import PACK_ALONG, PACK_ANY, PACK_BESIDE
from fastnn._kernels.vector import I64, Value, loop, select

# How many k ahead rows of B are asked for while they are copied.
PREFETCH = 8
CACHE_LINE = 64


class Packer:
    """Functions of a module that copy; each is defined when it is first called. Distances are in bytes."""

    def __init__(self, module: ir.Module, size: int, width: int) -> None:
        self.module, self.size, self.width = module, size, width
        self.lanes = width // size
        self.masks = width > 32  # as in `table.Tiles`

    def _call(self, name: str, emit: Callable[..., None], *arguments: Value) -> None:
        full = f"fastnn_pack_{name}_{self.size}"
        kind = ir.FunctionType(ir.VoidType(), [I64] * len(arguments))
        function, fresh = internal(self.module, full, kind, "nounwind")
        if fresh:
            builder = ir.IRBuilder(function.append_basic_block("start"))
            emit(Code(builder), Vectors(builder, self.size, self.width), *(Value(builder, a) for a in function.args))
            builder.ret_void()
        arguments[0].builder.call(function, [a.value for a in arguments])

    # -- what drivers call

    def packed(
        self, how: Value, to: Value, to_step: Value, source: Value, line: Value, step: Value, lines: Value, k: Value
    ) -> None:
        """Pack in the way that a word of the arguments says."""
        code = Code(how.builder)
        ways = ((PACK_BESIDE, self.strip), (PACK_ALONG, self.transposed_strip), (PACK_ANY, self.any_strip))
        for number, way in ways:
            with code.when(how.compare("==", number)):
                way(to, to_step, source, line, step, lines, k)

    def strip(self, to: Value, to_step: Value, source: Value, line: Value, step: Value, lines: Value, k: Value) -> None:
        """Lines that lie side by side: for each k, copy `lines` elements; the rest of the last vector is
        zero, or not written where stores are masked.
        """
        self._call("strip", self._strip, to, to_step, source, step, lines, k)

    def transposed_strip(
        self, to: Value, to_step: Value, source: Value, line: Value, step: Value, lines: Value, k: Value
    ) -> None:
        """Lines that lie along k, `line` bytes apart. Vectors are filled up with copies of the last line."""
        self._call("transposed", self._transposed, to, to_step, source, line, lines, k)

    def any_strip(
        self, to: Value, to_step: Value, source: Value, line: Value, step: Value, lines: Value, k: Value
    ) -> None:
        """Lines that lie anyhow, one element at a time."""
        self._call("any", self._any, to, to_step, source, line, step, lines, k)

    def panels(
        self, how: Value, to: Value, panel: Value, behind: Value, source: Value, line: Value, step: Value,
        lines: Value, k: Value,
    ) -> None:  # fmt: skip
        """Several panels of `panel` lines, `behind` bytes from one to the next; `how` lines lie is as in `packed`."""
        self._call("panels", self._panels, how, to, panel, behind, source, line, step, lines, k)

    def rectangle(self, to: Value, to_row: Value, source: Value, row: Value, rows: Value, columns: Value) -> None:
        """Copy a few columns of a few rows, and nothing beside them."""
        self._call("rectangle", self._rectangle, to, to_row, source, row, rows, columns)

    # -- how it is done

    def _strip(
        self, code: Code, v: Vectors, to: Value, to_step: Value, source: Value, step: Value, lines: Value, k: Value
    ) -> None:
        whole = (lines // self.lanes) * self.lanes
        rest = lines - whole
        mask = v.mask(rest.value)
        stored = mask if self.masks else None
        with code.builder.if_else(whole.compare("==", 0).value) as (few, many):
            with few:
                # fewer lines than a vector has lanes, as a strip of A: nothing but a load and a store for each k
                target, place = code.local(to), code.local(source)
                with code.range(0, k):
                    v.store(v.load(v.pointer(place.now.value), mask), v.pointer(target.now.value), stored)
                    target.now, place.now = target.now + to_step, place.now + step
            with many, code.range(0, k) as p:
                target_row, row = to + p * to_step, source + p * step
                with code.range(0, lines // self.lanes) as q:
                    vector = v.load(v.pointer((row + q * self.width).value))
                    v.store(vector, v.pointer((target_row + q * self.width).value))
                with code.when(rest.compare("!=", 0)):
                    at = v.pointer((row + whole * self.size).value)
                    v.store(v.load(at, mask), v.pointer((target_row + whole * self.size).value), stored)

    def _panels(
        self, code: Code, v: Vectors, how: Value, to: Value, panel: Value, behind: Value, source: Value, line: Value,
        step: Value, lines: Value, k: Value,
    ) -> None:  # fmt: skip
        width, size = self.width, self.size
        count, vectors = lines // panel, panel // self.lanes
        whole = count * panel
        beside = how.compare("==", PACK_BESIDE) & whole.compare("!=", 0)
        with code.when(beside):
            row = panel * size
            # a number of vectors that is known leaves no loop over them
            for known in (2, 3, 0):
                fits = vectors.compare("==", known) if known else vectors.compare("!=", 2) & vectors.compare("!=", 3)
                with code.when(fits):
                    first, place = code.local(to), code.local(source)
                    with code.range(0, k):
                        # a whole row of all panels at a time: long runs, few pages
                        ahead = v.pointer((place.now + step * PREFETCH).value)
                        with loop(code.builder, I64(0), (lines * size).value, CACHE_LINE) as offset:
                            v.prefetch(v.at(ahead, offset))
                        write, read = code.local(first.now), code.local(place.now)
                        with code.range(0, count):
                            if known:
                                loaded = [v.load(v.pointer((read.now + q * width).value)) for q in range(known)]
                                for q, vector in enumerate(loaded):
                                    v.store(vector, v.pointer((write.now + q * width).value))
                            else:
                                with code.range(0, vectors) as at:
                                    vector = v.load(v.pointer((read.now + at * width).value))
                                    v.store(vector, v.pointer((write.now + at * width).value))
                            read.now, write.now = read.now + row, write.now + behind
                        first.now, place.now = first.now + row, place.now + step
        j = code.local(select(beside, whole, code.number(0)))
        with code.while_(lambda: j.now.compare("<", lines)):
            some = smaller(lines - j.now, panel)
            target = to + (j.now // panel) * behind
            self.packed(how, target, panel * size, source + j.now * line, line, step, some, k)
            j.now = j.now + panel

    def _transposed(
        self, code: Code, v: Vectors, to: Value, to_step: Value, source: Value, line: Value, lines: Value, k: Value
    ) -> None:
        lanes, size, builder = self.lanes, self.size, code.builder
        whole = (k // lanes) * lanes
        with code.range(0, (lines + (lanes - 1)) // lanes) as block:
            here = smaller(lines - block * lanes, lanes)
            first, target = source + block * line * lanes, to + block * self.width
            offsets = [(smaller(here - 1, r) if r else here * 0) * line for r in range(lanes)]
            beyond = lines * line  # the lines of the next strip
            # where stores are masked, the next k may follow at once
            some = v.mask(here.value) if self.masks else None
            with code.range(0, k // lanes) as number:
                base = v.pointer((first + number * self.width).value)
                places = [v.at(base, offset.value) for offset in offsets]
                for place in places:
                    v.prefetch(v.at(place, beyond.value))
                at = target + number * lanes * to_step
                for r, column in enumerate(v.transposed(places)):
                    v.store(column, v.pointer((at + to_step * r).value), some)
            with code.when(whole.compare("<", k)):
                base = v.pointer((first + whole * size).value)
                places = [v.at(base, offset.value) for offset in offsets]
                rest = k - whole
                columns = v.transposed(places, v.mask(rest.value))
                done = builder.append_basic_block("done")
                for r, column in enumerate(columns[:-1]):
                    more = builder.append_basic_block("column")
                    builder.cbranch(rest.compare(">", r).value, more, done)
                    builder.position_at_end(more)
                    v.store(column, v.pointer((target + (whole + r) * to_step).value), some)
                builder.branch(done)
                builder.position_at_end(done)

    def _any(
        self, code: Code, v: Vectors, to: Value, to_step: Value, source: Value, line: Value, step: Value,
        lines: Value, k: Value,
    ) -> None:  # fmt: skip
        with code.range(0, k) as p, code.range(0, lines) as r:
            element = v.load_element(v.pointer((source + p * step + r * line).value))
            target = v.pointer((to + p * to_step + r * self.size).value)
            code.builder.store(element, target)

    def _rectangle(
        self, code: Code, v: Vectors, to: Value, to_row: Value, source: Value, row: Value, rows: Value, columns: Value
    ) -> None:
        whole, builder = columns // self.lanes, code.builder
        with code.range(0, rows) as i:
            target, place = code.local(to + i * to_row), code.local(source + i * row)
            with code.range(0, whole):
                v.store(v.load(v.pointer(place.now.value)), v.pointer(target.now.value))
                target.now, place.now = target.now + self.width, place.now + self.width
            part = self.lanes // 2
            while part:
                kind = ir.VectorType(v.element, part) if part > 1 else v.element
                with code.when((columns & part).compare("!=", 0)):
                    value = builder.load(v.pointer(place.now.value), typ=kind, align=self.size)
                    builder.store(value, v.pointer(target.now.value), align=self.size)
                    target.now, place.now = target.now + part * self.size, place.now + part * self.size
                part //= 2


@kernel
def panels(dtype: str, width: int) -> Any:
    """Copy B into panels, for an element type and a vector width in bytes; see `PanelWord`."""
    size = np.dtype(dtype).itemsize

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        packer = Packer(code.builder.module, size, width)
        n, k, panel, rows = (args[w] for w in (PanelWord.N, PanelWord.K, PanelWord.PANEL, PanelWord.CHUNK_K))
        columns = args[PanelWord.CHUNK_COLUMNS]
        down = (k + rows - 1) // rows
        behind = panel * k * size
        with code.range(first, last) as chunk:
            k0, j = (chunk % down) * rows, (chunk // down) * columns
            target = args[PanelWord.TO] + j * k * size + k0 * panel * size
            source = args[PanelWord.B] + j * args[PanelWord.COLUMN] + k0 * args[PanelWord.STEP]
            given = (args[PanelWord.COLUMN], args[PanelWord.STEP], smaller(n - j, columns), smaller(k - k0, rows))
            packer.panels(args[PanelWord.HOW], target, panel, behind, source, *given)

    return traced(emit)
