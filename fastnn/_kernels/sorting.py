"""Sorting lines, stably, with places; and the first few elements of the sorted order.

A. Order. An element becomes an unsigned key whose order is the elements' (sign bit flipped, or all bits of a negative
   number); -0 is 0, and every NaN is the largest key. A descending order complements the keys. So equal elements keep
   their order in both directions, and NaN comes last ascending, first descending, as in torch.
B. An entry is a key with its place: one 64-bit word of float32 (key above place), two of float64. Up to `SMALL`
   entries are sorted by insertion; more by radix, 8 bits at a time from the lowest (Knuth, "Sorting and Searching",
   5.2.5), where passes in which all digits are equal are left out.
C. `top` keeps the best `count` entries in order. Blocks of elements are compared with the last of them as vectors, so
   that most of a long line is only read.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from fastnn._kernels.control import Code, Local, Words, smaller, traced
from fastnn._kernels.jit import kernel
from fastnn._kernels.lines import Line, Lines
from fastnn._kernels.vector import I32, I64, ITEMSIZES, Lanes, Value, mask_of, select

SMALL = 40
DIGITS = 256
LIST = 1 << 16  # scratch: `top`'s entries
BITS = {"float32": 32, "float64": 64}


class Entries:
    """Keys with places, in one array of words (float32) or two (float64)."""

    def __init__(self, code: Code, dtype: str, keys: Value, places: Value) -> None:
        self.code, self.builder, self.dtype = code, code.builder, dtype
        self.keys, self.places = code.words(keys), code.words(places)
        self.two = dtype == "float64"

    def get(self, k: Value) -> tuple[Value, ...]:
        """An entry's words."""
        return (self.keys[k], self.places[k]) if self.two else (self.keys[k],)

    def put(self, k: Value, entry: tuple[Value, ...]) -> None:
        """Write an entry."""
        self.keys[k] = entry[0]
        if self.two:
            self.places[k] = entry[1]

    def place(self, k: Value) -> Value:
        """Where an entry's element stands."""
        return self.places[k] if self.two else self.keys[k] & 0xFFFFFFFF


def entry_of(code: Code, dtype: str, x: Value, place: Value, descending: bool) -> tuple[Value, ...]:
    """An element's entry."""
    builder, width = code.builder, BITS[dtype]
    integer = I32 if width == 32 else I64
    bits = (x + 0.0).bits()
    sign = builder.ashr(bits.value, ir.Constant(integer, width - 1))
    flip = builder.or_(sign, ir.Constant(integer, 1 << (width - 1)))
    key = builder.xor(bits.value, flip)
    key = builder.select(x.compare("!=", x).value, ir.Constant(integer, -1), key)
    if descending:
        key = builder.not_(key)
    if width == 64:
        return Value(builder, key), place
    wide = builder.shl(builder.zext(key, I64), I64(32))
    return (Value(builder, builder.or_(wide, place.value)),)


def after(a: Value, b: Value) -> Value:
    """Whether one unsigned word is larger than another."""
    return Value(a.builder, a.builder.icmp_unsigned(">", a.value, b.value))


def insert(code: Code, entries: Entries, entry: tuple[Value, ...], end: Value) -> None:
    """Put an entry into its place among the first `end` ones, which are sorted; those behind it move on."""
    at = code.local(end)

    def before() -> Value:
        previous = select(at.now.compare(">", 0), at.now - 1, at.now)
        return at.now.compare(">", 0) & after(entries.keys[previous], entry[0])

    with code.while_(before):
        entries.put(at.now, entries.get(at.now - 1))
        at.now = at.now - 1
    entries.put(at.now, entry)


def digit(code: Code, word: Value, shift: Value) -> Value:
    """Eight bits of a word."""
    shifted = code.builder.lshr(word.value, shift.value)
    return Value(code.builder, shifted) & (DIGITS - 1)


@kernel
def sort(dtype: str, descending: bool) -> Any:
    """The first `count` elements of each line in sorted order, and their places.

    args: values, places (int64), x, work (two words of float32, four of float64 for each element of a line, line after
    line), length, count, then the lines.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        lines = Lines(code, args, 6, (dtype, "int64", dtype))
        length, count = args[4], args[5]
        words = 1 if dtype == "float32" else 2
        passes, lowest = BITS[dtype] // 8, 64 - BITS[dtype]
        table = code.words(scratch)
        start, stop = lines.numbers(first, last)
        with code.range(start, stop) as number:
            values, places, x = lines.line(number)
            here = code.local(args[3] + number * length * (16 * words))
            there = code.local(here.now + length * (8 * words))

            def entries(at: Local, length: Value = length) -> Entries:
                return Entries(code, dtype, at.now, at.now + length * 8)

            with code.builder.if_else(length.compare("<=", SMALL).value) as (few, many):
                with few:
                    sorted_ = entries(here)
                    with code.range(0, length) as k:
                        insert(code, sorted_, entry_of(code, dtype, x[k], k, descending), k)
                with many:
                    _radix(code, dtype, x, length, entries, here, there, table, passes, lowest, descending)
            result = entries(here)
            with code.range(0, count) as k:
                place = result.place(k)
                values[k] = x[place]
                places[k] = place

    return traced(emit)


def _radix(
    code: Code,
    dtype: str,
    x: Line,
    length: Value,
    entries: Any,
    here: Local,
    there: Local,
    table: Words,
    passes: int,
    lowest: int,
    descending: bool,
) -> None:
    """Sort a line's entries from the lowest digit on; they end up at `here`."""
    with code.range(0, passes * DIGITS) as k:
        table[k] = 0
    target = entries(here)
    with code.range(0, length) as k:
        entry = entry_of(code, dtype, x[k], k, descending)
        target.put(k, entry)
        for p in range(passes):
            slot = digit(code, entry[0], code.number(lowest + 8 * p)) + p * DIGITS
            table[slot] = table[slot] + 1
    with code.range(0, passes) as number:
        shift, base = number * 8 + lowest, number * DIGITS
        source = entries(here)
        common = digit(code, source.keys[code.number(0)], shift) + base
        with code.when(table[common].compare("!=", length)):
            total = code.local(0)
            with code.range(0, DIGITS) as d:
                own = table[base + d]
                table[base + d] = total.now
                total.now = total.now + own
            target = entries(there)
            with code.range(0, length) as k:
                entry = source.get(k)
                slot = digit(code, entry[0], shift) + base
                place = table[slot]
                table[slot] = place + 1
                target.put(place, entry)
            swapped = here.now
            here.now = there.now
            there.now = swapped


@kernel
def top(dtype: str, descending: bool) -> Any:
    """As `sort`, for a few elements of lines that lie side by side. args: as for `sort`, without the work."""
    size = ITEMSIZES[dtype]

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        builder = code.builder
        lines = Lines(code, args, 5, (dtype, "int64", dtype))
        length, count = args[3], args[4]
        lanes = Lanes(builder, dtype, 256 // size)
        kept = Entries(code, dtype, scratch + LIST, scratch + 2 * LIST)
        for values, places, x in lines.walk(first, last):
            with code.range(0, count) as k:
                insert(code, kept, entry_of(code, dtype, x[k], k, descending), k)
            at = code.local(count)

            def more(at: Local = at) -> Value:
                return at.now.compare("<", length)

            with code.while_(more):
                limit = x[kept.place(count - 1)]
                wide = limit.splat(lanes.count)
                mask = mask_of(builder, (length - at.now).value, lanes.count)
                block = lanes.load(lanes.pointer(x.address.value, at.now.value), mask)
                beats = block.compare(">" if descending else "<", wide)
                if descending:
                    beats = beats | block.compare("!=", block)
                else:
                    beats = beats | wide.compare("!=", wide)
                bits = builder.bitcast(builder.and_(beats.value, mask), ir.IntType(lanes.count))
                some = builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))
                with code.when(Value(builder, some)):
                    end = smaller(at.now + lanes.count, length)
                    with code.range(at.now, end) as k:
                        entry = entry_of(code, dtype, x[k], k, descending)
                        with code.when(after(kept.keys[count - 1], entry[0])):
                            insert(code, kept, entry, count - 1)
                at.now = at.now + lanes.count
            with code.range(0, count) as k:
                place = kept.place(k)
                values[k] = x[place]
                places[k] = place

    return traced(emit)
