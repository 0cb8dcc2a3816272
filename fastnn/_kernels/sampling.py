"""Random numbers from Philox's words: uniform, normal, exponential, Bernoulli, integers. See `philox` for arguments.

Element i of a draw depends on the seed, the draw's number and i alone. A float32 takes 32 bits, a float64 takes 64.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from fastnn._kernels.control import Code, Words, traced
from fastnn._kernels.elementwise import number_of
from fastnn._kernels.jit import kernel
from fastnn._kernels.mathematics.logarithm import log
from fastnn._kernels.philox import COUNTERS, OWN, over_tiles, stream, whole_cell, words32
from fastnn._kernels.vector import ELEMENTS, I8, Value, constant, fma, polynomial, select, sqrt

# sin(pi/2 t) / t and cos(pi/2 t) as polynomials of t**2, for |t| <= 1/2; interpolated at Chebyshev nodes.
_SIN = {
    "float32": (1.570796322, -0.6459634777, 0.07968021765, -0.004602149213),
    "float64": (
        1.5707963267948966,
        -0.6459640975062443,
        0.07969262624604301,
        -0.004681754132340976,
        0.0001604411507421909,
        -3.59864335298231e-06,
        5.633933781537854e-08,
    ),
}
_COS = {
    "float32": (1.0, -1.233700541, 0.2536692037, -0.0208600695, 0.0009036280664),
    "float64": (
        1.0,
        -1.2337005501361697,
        0.2536695079010467,
        -0.02086348076331121,
        0.0009192602741831558,
        -2.520203677046026e-05,
        4.710609726757823e-07,
        -6.321256869628588e-09,
    ),
}


def as_float(words: Value, bits: int) -> Value:
    """64-bit words below ``2**bits``, at most ``2**52``, as float64, without a conversion that AVX2 lacks."""
    assert bits <= 52
    magic = words.number(0x4330000000000000)
    return (words | magic).bits() - 2.0**52


def unit(words: Value, dtype: str) -> Value:
    """A float in [0, 1): a multiple of ``2**-24`` from 32 bits, of ``2**-53`` from 64."""
    if dtype == "float32":
        return words.shifted_right(8).to_float("float32") * 2.0**-24
    low = as_float(words.shifted_right(11) & 0x1FFFFF, 21) * 2.0**-53
    return fma(as_float(words.shifted_right(32), 32), 2.0**-32, low)


def positive_unit(words: Value, dtype: str) -> Value:
    """A float in (0, 1], as fine near 0 as its bits allow: at least ``2**-32`` (float64: ``2**-53``)."""
    if dtype == "float32":
        return fma(words.shifted_right(1).to_float("float32"), 2.0**-31, 2.0**-32)
    return unit(words, dtype) + 2.0**-53


def words_of(pair: tuple[Value, Value], dtype: str) -> list[Value]:
    """The words of a tile for elements of a float dtype."""
    return [words32(w) if dtype == "float32" else w for w in pair]


def below(u: Value, low: Value, high: Value) -> Value:
    """From [0, 1) to [low, high): what rounding would lift to `high` becomes `low`."""
    x = fma(u, high - low, low)
    return select(x.compare("<", high), x, low)


@kernel
def uniform(dtype: str) -> Any:
    """Numbers from [low, high). Own arguments: cells low, high."""

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        source = stream(code, args)
        low, high = (number_of(code.words(args[OWN + k]), dtype) for k in range(2))

        def body(tile: Value) -> list[Value]:
            made = [unit(w, dtype) for w in words_of(source.tile(tile), dtype)]
            return [below(u, low.splat(u.kind.count), high.splat(u.kind.count)) for u in made]

        over_tiles(code, args, first, last, [dtype], [], body)

    return traced(emit)


def turn(words: Value, dtype: str) -> tuple[Value, Value]:
    """Cosine and sine of an angle from a whole turn: an eighth on either side of a quarter, then by quarters."""
    if dtype == "float32":
        quarter = (words + (1 << 29)) >> 30
        t = (words - (quarter << 30)).to_float(dtype) * 2.0**-30
        top = 30
    else:
        magic = 1.5 * 2.0**52
        whole = as_float(words.shifted_right(12), 52) * 2.0**-50
        shifted = whole + magic
        t = whole - (shifted - magic)
        quarter = shifted.bits()
        top = 62
    z = t * t
    sine, cosine = t * polynomial(z, _SIN[dtype]), polynomial(z, _COS[dtype])
    odd = (quarter & 1).compare("!=", 0)
    x, y = select(odd, sine, cosine), select(odd, cosine, sine)
    return ((((quarter + 1) & 2) << top) ^ x.bits()).bits(), (((quarter & 2) << top) ^ y.bits()).bits()


@kernel
def normal(dtype: str) -> Any:
    """Normal numbers. Own arguments: cells mean and deviation.

    Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958: two words give two numbers, one in
    each half of a tile. Tails end at 6.7 deviations (float64: 8.6), where 2**-32 (2**-53) of a sample lies beyond.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        source = stream(code, args)
        mean, deviation = (number_of(code.words(args[OWN + k]), dtype) for k in range(2))

        def body(tile: Value) -> list[Value]:
            one, two = words_of(source.tile(tile), dtype)
            radius = sqrt(log(positive_unit(one, dtype)) * -2.0)
            count = radius.kind.count
            return [fma(radius * way, deviation.splat(count), mean.splat(count)) for way in turn(two, dtype)]

        over_tiles(code, args, first, last, [dtype], [], body)

    return traced(emit)


@kernel
def exponential(dtype: str) -> Any:
    """Positive numbers whose density falls as ``exp(-rate x)``. Own argument: cell rate."""
    least = 2.0**-25 if dtype == "float32" else 2.0**-54

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        source = stream(code, args)
        rate = number_of(code.words(args[OWN]), dtype)

        def body(tile: Value) -> list[Value]:
            made = [-log(positive_unit(w, dtype)) for w in words_of(source.tile(tile), dtype)]
            return [select(x.compare(">", least), x, least) / rate.splat(x.kind.count) for x in made]

        over_tiles(code, args, first, last, [dtype], [], body)

    return traced(emit)


class Coin:
    """Falls with the probability of a cell: a mask for 32-bit words."""

    def __init__(self, code: Code, cell: Value) -> None:
        # Of 2**32 words this many fall. The number may be 2**32 itself, so the last of them is compared with.
        builder = code.builder
        p = Value(builder, builder.bitcast(code.words(cell)[0].value, ELEMENTS["float64"]))
        scaled = p * 2.0**32
        fallen = Value(builder, builder.fptosi(scaled.value, ir.IntType(64)))
        fallen = select(fallen.to_float("float64").compare("<", scaled), fallen + 1, fallen)
        self.some = fallen.compare(">", 0)
        self.last = Value(builder, builder.trunc((fallen - 1).value, ir.IntType(32)))

    def falls(self, words: Value) -> Value:
        """Where it does."""
        count = words.kind.count
        return words.compare_unsigned("<=", self.last.splat(count)) & self.some.splat(count)


@kernel
def bernoulli(dtype: str) -> Any:
    """1 with probability p, else 0: the same places for both dtypes. Own argument: cell p."""

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        source = stream(code, args)
        coin = Coin(code, args[OWN])
        kind = ir.VectorType(ELEMENTS[dtype], 2 * COUNTERS)
        one = Value(code.builder, constant(kind, 1.0))

        def body(tile: Value) -> list[Value]:
            return [select(coin.falls(words32(w)), one, 0.0) for w in source.tile(tile)]

        over_tiles(code, args, first, last, [dtype], [], body, width=4)

    return traced(emit)


@kernel
def bernoulli_each(dtype: str) -> Any:
    """1 where a uniform number is below p, else 0. Own argument: address of p, laid out as the result."""

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        source = stream(code, args)

        def body(tile: Value, p: list[Value]) -> list[Value]:
            drawn = [unit(w, dtype) for w in words_of(source.tile(tile), dtype)]
            return [select(u.compare("<", own), u.number(1.0), 0.0) for u, own in zip(drawn, p, strict=True)]

        over_tiles(code, args, first, last, [dtype, dtype], [args[OWN]], body)

    return traced(emit)


def multiplied(words: Value, low: Value, high: Value) -> tuple[Value, Value]:
    """Upper and lower 64 bits of a product with a number of two 32-bit halves."""
    mask = 0xFFFFFFFF
    own_low, own_high = words & mask, words.shifted_right(32)
    ll, lh, hl, hh = own_low * low, own_low * high, own_high * low, own_high * high
    middle = ll.shifted_right(32) + (lh & mask) + (hl & mask)
    upper = hh + lh.shifted_right(32) + hl.shifted_right(32) + middle.shifted_right(32)
    return upper, (middle << 32) | (ll & mask)


@kernel
def integers(dtype: str) -> Any:
    """Integers from [low, low + n), all as likely. Own arguments: cells, the 32-bit halves of low and of n.

    Lemire, "Fast Random Integer Generation in an Interval", 2019: the upper half of a word times n; words whose lower
    half is below ``2**64 mod n`` are drawn again. n = 0 stands for ``2**64``. Always 64 bits an element.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        builder = code.builder
        source = stream(code, args)
        low_low, low_high, n_low, n_high = (whole_cell(code, args[OWN + k]) for k in range(4))
        low = low_low | (low_high << 32)
        n = n_low | (n_high << 32)
        every = n.compare("==", 0)
        divisor = select(every, 1, n)
        surplus = Value(builder, builder.urem((code.number(0) - n).value, divisor.value))
        count = COUNTERS
        split = [n_low.splat(count), n_high.splat(count)]

        def drawn(word: Value) -> tuple[Value, Value]:
            upper, lower = multiplied(word, *split)
            return select(every.splat(count), word, upper), lower.compare_unsigned("<", surplus.splat(count))

        def any_of(masks: list[Value]) -> Value:
            merged = masks[0] | masks[1]
            return Value(builder, builder.bitcast(merged.value, I8)).compare("!=", 0)

        def body(tile: Value) -> list[Value]:
            made = [drawn(w) for w in source.tile(tile)]
            found = [code.local(x) for x, _ in made]
            bad = [code.local(rejected) for _, rejected in made]
            attempt = code.local(0)
            with code.while_(lambda: any_of([b.now for b in bad])):
                attempt.now = attempt.now + 1
                again = [drawn(w) for w in source.tile(tile, attempt.now)]
                for x, b, (y, rejected) in zip(found, bad, again, strict=True):
                    x.now = select(b.now, y, x.now)
                    b.now = b.now & rejected
            results = [x.now + low.splat(count) for x in found]
            if dtype == "int32":
                kind = ir.VectorType(ELEMENTS["int32"], count)
                results = [Value(builder, builder.trunc(x.value, kind)) for x in results]
            return results

        over_tiles(code, args, first, last, [dtype], [], body, width=8)

    return traced(emit)
