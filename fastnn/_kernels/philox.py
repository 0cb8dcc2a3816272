"""Philox 4x32-10 over vectors: random words that depend on a seed, a draw's number and a place, on nothing else.

Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011. The key is the seed (64 bits). The
counter's low 64 bits number the blocks of a draw, the high 64 bits are the draw's number (53 bits) and, from bit 56
on, the attempt: kernels that throw words away find others there.

Eight counters make a tile of sixteen 64-bit words: the first and second 32-bit words of each counter side by side,
then the third and fourth ones. Lanes hold 32 bits in the low half of 64, where a product needs no shuffle; what
stands in the upper half is ignored by the next multiplication.

Kernels that draw take as arguments: address of the result, total elements, elements a chunk (whole tiles), addresses
of the cells SEED_LOW, SEED_HIGH (32 bits each) and DRAW, then their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from fastnn._kernels.control import Code, Words, smaller
from fastnn._kernels.vector import ELEMENTS, I64, ITEMSIZES, Lanes, Value, constant, mask_of

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
COUNTERS = 8  # of a tile
TILE_BYTES = 16 * COUNTERS
ATTEMPT = 1 << 24  # in the counter's last 32-bit word
MASK = 0xFFFFFFFF
RESULT, TOTAL, BLOCK, SEED_LOW, SEED_HIGH, DRAW, OWN = range(7)


def rounds(counter: Sequence[Value], key: Sequence[Value]) -> list[Value]:
    """The four words of counters, in the low halves of 64-bit lanes; upper halves come and go as they are."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for r in range(ROUNDS):
        p0, p1 = (x0 & MASK) * MULTIPLIERS[0], (x2 & MASK) * MULTIPLIERS[1]
        x0, x1, x2, x3 = p1.shifted_right(32) ^ x1 ^ k0, p1, p0.shifted_right(32) ^ x3 ^ k1, p0
        if r + 1 < ROUNDS:
            k0, k1 = k0 + WEYL[0], k1 + WEYL[1]
    return [x0, x1, x2, x3]


def paired(low: Value, high: Value) -> Value:
    """Two 32-bit words as one of 64 bits."""
    return (low & MASK) | (high << 32)


class Stream:
    """The words of one draw."""

    def __init__(self, code: Code, key: Sequence[Value], draw: Value) -> None:
        self.code = code
        self.key = [k.splat(COUNTERS) for k in key]
        self.high = [draw.splat(COUNTERS), draw.shifted_right(32).splat(COUNTERS)]
        lanes = ir.VectorType(I64, COUNTERS)
        self.lanes = Value(code.builder, ir.Constant(lanes, list(range(COUNTERS))))

    def tile(self, number: Value, attempt: Value | None = None) -> tuple[Value, Value]:
        """Two vectors of 64-bit words: those of a tile."""
        counter = self.lanes + (number * COUNTERS).splat(COUNTERS)
        last = self.high[1]
        if attempt is not None:
            last = last ^ (attempt * ATTEMPT).splat(COUNTERS)
        a, b, c, d = rounds([counter, counter.shifted_right(32), self.high[0], last], self.key)
        return paired(a, b), paired(c, d)


def whole_cell(code: Code, address: Value) -> Value:
    """A cell's value, a whole number up to 2**53, as an integer."""
    builder = code.builder
    value = builder.bitcast(code.words(address)[0].value, ELEMENTS["float64"])
    return Value(builder, builder.fptoui(value, I64))


def stream(code: Code, args: Words) -> Stream:
    """The words that a kernel's seed and draw stand for."""
    key = [whole_cell(code, args[SEED_LOW]), whole_cell(code, args[SEED_HIGH])]
    return Stream(code, key, whole_cell(code, args[DRAW]))


def words32(value: Value) -> Value:
    """64-bit words as twice as many of 32 bits, low halves first."""
    return Value(value.builder, value.builder.bitcast(value.value, ir.VectorType(ir.IntType(32), 2 * COUNTERS)))


def over_tiles(
    code: Code,
    args: Words,
    first: Value,
    last: Value,
    dtypes: Sequence[str],
    places: Sequence[Value],
    body: Callable[..., Any],
    width: int = 0,
) -> None:
    """Walk a kernel's chunks tile by tile.

    Parameters
    ----------
    dtypes : of the result, then of operands that lie as it does.
    places : addresses of the operands.
    body : ``body(number of the tile, *operands)``, an operand being a list of two vectors, gives the two vectors to
        store; a list of them for each of several results is not needed by anyone.
    width : bytes of the random word that an element takes; default: of an element of the result.
    """
    builder = code.builder
    count = TILE_BYTES // 2 // (width or ITEMSIZES[dtypes[0]])  # elements of half a tile
    lanes = [Lanes(builder, d, count) for d in dtypes]
    addresses = [args[RESULT], *places]
    start = first * args[BLOCK]
    stop = smaller(last * args[BLOCK], args[TOTAL])
    length = stop - start
    whole = start + (length & (-2 * count))

    def step(index: Value, masks: Sequence[Any]) -> None:
        halves = [index, index + count]
        operands = [
            [lane.load(lane.pointer(at.value, i.value), m) for i, m in zip(halves, masks, strict=True)]
            for lane, at in zip(lanes[1:], addresses[1:], strict=True)
        ]
        made = body(index // (2 * count), *operands)
        for value, i, m in zip(made, halves, masks, strict=True):
            lanes[0].store(value, lanes[0].pointer(addresses[0].value, i.value), m)

    at = code.local(start)
    with code.while_(lambda: at.now.compare("<", whole)):
        step(at.now, [None, None])
        at.now = at.now + 2 * count
    with code.when(whole.compare("<", stop)):
        left = stop - whole
        step(whole, [mask_of(builder, left.value, count), _later(builder, left, count)])


def _later(builder: Any, left: Value, count: int) -> Any:
    """The mask of the second half where `left` elements are left."""
    rest = left - count
    return mask_of(builder, builder.select(rest.compare(">", 0).value, rest.value, constant(I64, 0)), count)
