"""Multiples of pi/2 taken off an angle, exactly enough for any float.

Usually three FMAs do it (Cody and Waite, "Software Manual for the Elementary Functions"): the first is exact, because
its result is a multiple of the last places of both operands and smaller than 2; the second rounds once; so the
remainder has full relative precision however close to zero it lies.

Beyond `_FAR` a scalar function multiplies the argument by the bits of 2/pi that matter to it (M. H. Payne and
R. N. Hanek, "Radian reduction for trigonometric functions", ACM SIGNUM Newsletter 18, 1983), with 192 of them: no
float64 lies closer to a multiple of pi/2 than 2**-62 of it, so 74 bits are right at least.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastnn._kernels.mathematics.double import fast_two_sum, two_product, two_sum
from fastnn._kernels.mathematics.exponential import nearest
from fastnn._kernels.vector import I32, I64, Value, absolute, fma, like, loop, rarely, select

# pi/2 in three parts, each rounded to the format.
HALF_PI = {
    "float32": (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    "float64": (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
_TWO_OVER_PI = 0.6366197723675814
# Up to here the first of the FMAs is exact, and the third ends where the remainder's digits do.
_FAR = {"float32": 2.0**17, "float64": 2.0**30}
# The bits of 2/pi, after 64 zeros.
_BITS = (
    0x0000000000000000,
    0xA2F9836E4E441529,
    0xFC2757D1F534DDC0,
    0xDB6295993C439041,
    0xFE5163ABDEBBC561,
    0xB7246E3A424DD2E0,
    0x06492EEA09D1921C,
    0xFE1DEB1CB129A73E,
    0xE88235F52EBB4484,
    0xE99C7026B45F7E41,
    0x3991D639835339F4,
    0x9C845F8BBDF9283B,
    0x1FF897FFDE05980F,
    0xEF2F118B5A0A6D1F,
    0x6D367ECF27CB09B7,
    0x4F463F669E5FEA2D,
    0x7527BAC7EBE5F17B,
    0x3D0739F78A5292EA,
    0x6BFB5FB11F8D5D08,
    0x56033046FC7B6BAB,
)


def quadrant(x: Value, *, exact: bool = False) -> list[Value]:
    """Take the nearest multiple of pi/2 off.

    Returns
    -------
    The multiple as an integer, of which the last two bits count; the remainder, rounded; and, if asked to be `exact`,
    what rounding took from the remainder. The remainder of NaN and inf is NaN.
    """
    n, bits = nearest(x, _TWO_OVER_PI)
    first, second, third = HALF_PI[x.dtype]
    r = fma(n, -first, x)
    if exact:
        product, product_low = two_product(n, -second)
        r, lost = two_sum(r, product)
        found = [bits, *fast_two_sum(r, fma(n, -third, lost + product_low))]
    else:
        found = [bits, fma(n, -third, fma(n, -second, r))]
    far = ~absolute(x).compare("<=", _FAR[x.dtype])
    return rarely(far, found, lambda: _reduced_lanes(x, far)[: len(found)])


def _reduced_lanes(x: Value, far: Value) -> list[Value]:
    """Lane by lane, by the scalar function."""
    builder = x.builder
    count = x.kind.count if isinstance(x.kind, ir.VectorType) else 1
    wide = x.converted("float64")
    remainders, rests = (cgutils.alloca_once(builder, wide.kind) for _ in range(2))
    quadrants, asked = (cgutils.alloca_once(builder, like(x.kind, I64)) for _ in range(2))
    builder.store(wide.value, remainders)
    builder.store(builder.zext(far.value, like(x.kind, I64)), asked)
    double = ir.DoubleType()
    arrays = ((remainders, double), (rests, double), (quadrants, I64), (asked, I64))
    starts = [builder.bitcast(array, element.as_pointer()) for array, element in arrays]
    with loop(builder, I64(0), I64(count), 1) as lane:
        remainder, rest, integer, ask = (builder.gep(start, [lane]) for start in starts)
        with builder.if_then(builder.icmp_unsigned("!=", builder.load(ask), I64(0))):
            builder.call(_function(builder.module), [builder.load(remainder), integer, remainder, rest])
    q, r, rest = (Value(builder, builder.load(array)) for array in (quadrants, remainders, rests))
    if x.dtype == "float64":
        return [q, r, rest]
    rounded = r.converted("float32")
    q = Value(builder, builder.trunc(q.value, like(x.kind, I32)))
    return [q, rounded, (r - rounded.converted("float64")).converted("float32")]


def _function(module: Any) -> Any:
    """``void fastnn_remainder(double x, int64 *quadrant, double *remainder, double *rest)``, in the module."""
    name = "fastnn_remainder"
    found = module.globals.get(name)
    if found is not None:
        return found
    double = ir.DoubleType()
    kind = ir.FunctionType(ir.VoidType(), [double, I64.as_pointer(), double.as_pointer(), double.as_pointer()])
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    table = ir.GlobalVariable(module, ir.ArrayType(I64, len(_BITS)), "fastnn_two_over_pi")
    table.initializer = ir.Constant(table.value_type, list(_BITS))
    table.global_constant = True
    table.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    x, integer, remainder, rest = function.args
    _emit(builder, x, table, integer, remainder, rest)
    builder.ret_void()
    return function


def _emit(b: Any, x: Any, table: Any, integer: Any, remainder: Any, rest_at: Any) -> None:
    wide = ir.IntType(128)
    bits = b.bitcast(x, I64)
    # |x| = m 2**(e - 1075); the window of 2/pi begins where a bit times that weighs 2.
    e = b.and_(b.lshr(bits, I64(52)), I64(0x7FF))
    m = b.or_(b.and_(bits, I64((1 << 52) - 1)), I64(1 << 52))
    start = b.sub(e, I64(1075 + 1 - 63))
    word, shift = b.lshr(start, I64(6)), b.and_(start, I64(63))
    words = [b.load(b.gep(table, [I64(0), b.add(word, I64(k))])) for k in range(4)]
    funnel = cgutils.get_or_insert_function(b.module, ir.FunctionType(I64, [I64] * 3), "llvm.fshl.i64")
    window = [b.call(funnel, [words[k], words[k + 1], shift]) for k in range(3)]
    # The product's lowest 192 bits; of them the first two are the quadrant, the others a fraction of pi/2.
    low, middle = (b.mul(b.zext(m, wide), b.zext(window[k], wide)) for k in (2, 1))
    middle = b.add(middle, b.lshr(low, wide(64)))
    top = b.add(b.mul(m, window[0]), b.trunc(b.lshr(middle, wide(64)), I64))
    q = b.lshr(top, I64(62))
    rest = b.or_(b.shl(b.zext(top, wide), wide(66)), b.shl(b.and_(middle, wide((1 << 64) - 1)), wide(2)))
    rest = b.or_(rest, b.zext(b.lshr(b.trunc(low, I64), I64(62)), wide))
    # A fraction from 1/2 on counts from the next quadrant; then sign and magnitude.
    minus = b.icmp_signed("<", rest, wide(0))
    q = b.add(q, b.zext(minus, I64))
    rest = b.select(minus, b.neg(rest), rest)
    zeros = cgutils.get_or_insert_function(b.module, ir.FunctionType(wide, [wide, ir.IntType(1)]), "llvm.ctlz.i128")
    lead = b.and_(b.call(zeros, [rest, ir.IntType(1)(0)]), wide(127))
    rest = b.shl(rest, lead)
    lead = b.trunc(lead, I64)
    # 53 and 63 bits of the fraction as two floats.
    high = b.sitofp(b.trunc(b.lshr(rest, wide(75)), I64), ir.DoubleType())
    low = b.sitofp(b.and_(b.trunc(b.lshr(rest, wide(12)), I64), I64((1 << 63) - 1)), ir.DoubleType())
    scale = Value(b, b.bitcast(b.shl(b.sub(I64(1023 - 53), lead), I64(52)), ir.DoubleType()))
    high, low = Value(b, high) * scale, Value(b, low) * scale * 2.0**-63
    first, second, _ = HALF_PI["float64"]
    whole = high * first
    part = fma(high, first, -whole)
    result, lost = fast_two_sum(whole, fma(low, first, fma(high, second, part)))
    negative = Value(b, b.icmp_signed("<", bits, I64(0)))
    minus = Value(b, minus) ^ negative
    result, lost = select(minus, -result, result), select(minus, -lost, lost)
    # Neither NaN nor inf has a remainder.
    result = select(Value(b, e).compare("==", 0x7FF), Value(b, x) - Value(b, x), result)
    q = select(negative, -Value(b, q), Value(b, q))
    b.store(q.value, integer)
    b.store(result.value, remainder)
    b.store(lost.value, rest_at)
