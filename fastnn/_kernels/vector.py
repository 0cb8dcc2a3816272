"""Vectors of 64 bytes emitted as LLVM IR: traced values, masked tails, and one loop over contiguous operands.

A kernel's arithmetic is a Python function of `Value`s. It runs once, while the kernel is compiled, and leaves its
instructions behind; the same function serves a vector, a masked tail and a scalar. Nothing depends on LLVM finding
a loop vectorisable, and an element's bits do not depend on its place: the tail runs the body's instructions.

Vectors have 64 bytes, or 128 in pairs, on every CPU (LLVM splits them where registers are narrower), so the
lanes of a sum, and with them its bits, do not depend on the vector width of the host.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastnn._kernels.cpu import target
from fastnn._kernels.jit import intrinsic

VECTOR_BYTES = 64
I1, I8, I32, I64 = (ir.IntType(n) for n in (1, 8, 32, 64))
ELEMENTS = {
    "float32": ir.FloatType(),
    "float64": ir.DoubleType(),
    "bool": I8,
    "int8": I8,
    "int16": ir.IntType(16),
    "int32": I32,
    "int64": I64,
}
ITEMSIZES = {"float32": 4, "float64": 8, "bool": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8}

Number = int | float


def constant(kind: Any, number: Number) -> Any:
    """A number in every lane of an IR type."""
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [number] * kind.count)
    return ir.Constant(kind, number)


def like(kind: Any, element: Any) -> Any:
    """The IR type with as many lanes as `kind`, of another element type."""
    return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element


def call(builder: Any, name: str, result: Any, args: Sequence[Any]) -> Any:
    """Call an LLVM intrinsic by its full name."""
    signature = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), list(args))


def suffix(kind: Any) -> str:
    """How LLVM's intrinsics name a type, such as ``v16f32``."""
    element = kind.element if isinstance(kind, ir.VectorType) else kind
    own = {"float": "f32", "double": "f64"}.get(str(element), str(element))
    return f"v{kind.count}{own}" if isinstance(kind, ir.VectorType) else own


class Value:
    """A scalar or a vector that is being computed; Python numbers on the other side of an operator fill all lanes."""

    def __init__(self, builder: Any, value: Any):
        self.builder, self.value, self.kind = builder, value, value.type
        element = self.kind.element if isinstance(self.kind, ir.VectorType) else self.kind
        self.dtype = {"float": "float32", "double": "float64"}.get(str(element), "integer")

    def _with(self, other: Value | Number) -> Any:
        return other.value if isinstance(other, Value) else constant(self.kind, other)

    def _new(self, value: Any) -> Value:
        return Value(self.builder, value)

    def _arithmetic(self, name: str, left: Any, right: Any) -> Value:
        return self._new(getattr(self.builder, name if self.dtype == "integer" else f"f{name}")(left, right))

    def __add__(self, other: Value | Number) -> Value:
        return self._arithmetic("add", self.value, self._with(other))

    def __radd__(self, other: Number) -> Value:
        return self._arithmetic("add", self._with(other), self.value)

    def __sub__(self, other: Value | Number) -> Value:
        return self._arithmetic("sub", self.value, self._with(other))

    def __rsub__(self, other: Number) -> Value:
        return self._arithmetic("sub", self._with(other), self.value)

    def __mul__(self, other: Value | Number) -> Value:
        return self._arithmetic("mul", self.value, self._with(other))

    def __rmul__(self, other: Number) -> Value:
        return self._arithmetic("mul", self._with(other), self.value)

    def __truediv__(self, other: Value | Number) -> Value:
        return self._new(self.builder.fdiv(self.value, self._with(other)))

    def __rtruediv__(self, other: Number) -> Value:
        return self._new(self.builder.fdiv(self._with(other), self.value))

    def __neg__(self) -> Value:
        return self._new((self.builder.neg if self.dtype == "integer" else self.builder.fneg)(self.value))

    def __floordiv__(self, other: Value | Number) -> Value:
        """The quotient of integers that are not negative."""
        return self._new(self.builder.sdiv(self.value, self._with(other)))

    def __mod__(self, other: Value | Number) -> Value:
        """The remainder of integers that are not negative."""
        return self._new(self.builder.srem(self.value, self._with(other)))

    def __lshift__(self, places: int) -> Value:
        return self._new(self.builder.shl(self.value, constant(self.kind, places)))

    def __rshift__(self, places: int) -> Value:
        """Shift right with the sign, as Python does."""
        return self._new(self.builder.ashr(self.value, constant(self.kind, places)))

    def __and__(self, other: Value | Number) -> Value:
        return self._new(self.builder.and_(self.value, self._with(other)))

    def __or__(self, other: Value | Number) -> Value:
        return self._new(self.builder.or_(self.value, self._with(other)))

    def __xor__(self, other: Value | Number) -> Value:
        return self._new(self.builder.xor(self.value, self._with(other)))

    def shifted_right(self, places: int) -> Value:
        """Shift right, zeros coming in."""
        return self._new(self.builder.lshr(self.value, constant(self.kind, places)))

    def compare_unsigned(self, operator: str, other: Value | Number) -> Value:
        """A mask; integers compare as numbers without sign."""
        return self._new(self.builder.icmp_unsigned(operator, self.value, self._with(other)))

    def to_float(self, dtype: str) -> Value:
        """An integer, by its sign, rounded to a float."""
        return self._new(self.builder.sitofp(self.value, like(self.kind, ELEMENTS[dtype])))

    def __invert__(self) -> Value:
        return self._new(self.builder.not_(self.value))

    def compare(self, operator: str, other: Value | Number) -> Value:
        """A mask; as IEEE says, NaN compares false except by ``!=``. Integers compare with their signs."""
        if self.dtype == "integer":
            return self._new(self.builder.icmp_signed(operator, self.value, self._with(other)))
        ordered = self.builder.fcmp_unordered if operator == "!=" else self.builder.fcmp_ordered
        return self._new(ordered(operator, self.value, self._with(other)))

    def bits(self) -> Value:
        """The same bits as integers (of a float) or as floats (of an integer)."""
        element = self.kind.element if isinstance(self.kind, ir.VectorType) else self.kind
        other = {"float": I32, "double": I64, "i32": ir.FloatType(), "i64": ir.DoubleType()}[str(element)]
        return self._new(self.builder.bitcast(self.value, like(self.kind, other)))

    def converted(self, dtype: str) -> Value:
        """The same floats in the other precision, rounded to nearest."""
        if dtype == self.dtype:
            return self
        kind = like(self.kind, ELEMENTS[dtype])
        return self._new((self.builder.fpext if dtype == "float64" else self.builder.fptrunc)(self.value, kind))

    def number(self, number: Number) -> Value:
        """A constant with the lanes of this value."""
        return self._new(constant(self.kind, number))

    def combined(self, combine: Callable[[Value, Value], Value]) -> Value:
        """All lanes combined to a scalar: halves onto each other, in that order."""
        value = self
        while value.kind.count > 1:
            half = value.kind.count // 2
            low, high = (
                self._new(
                    self.builder.shuffle_vector(
                        value.value,
                        ir.Constant(value.kind, ir.Undefined),
                        ir.Constant(ir.VectorType(I32, half), list(range(first, first + half))),
                    )
                )
                for first in (0, half)
            )
            value = combine(low, high)
        return self._new(self.builder.extract_element(value.value, I32(0)))

    def splat(self, count: int) -> Value:
        """A scalar in all of `count` lanes."""
        kind = ir.VectorType(self.kind, count)
        undefined = ir.Constant(kind, ir.Undefined)
        one = self.builder.insert_element(undefined, self.value, I32(0))
        return self._new(
            self.builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(I32, count), [0] * count))
        )


def select(mask: Value, yes: Value | Number, no: Value | Number) -> Value:
    """Lane by lane, `yes` where the mask holds, else `no`; one of them at least is a `Value`."""
    model = yes if isinstance(yes, Value) else no
    assert isinstance(model, Value)
    return Value(mask.builder, mask.builder.select(mask.value, model._with(yes), model._with(no)))


def fma(a: Value, b: Value | Number, c: Value | Number) -> Value:
    """``a * b + c``, rounded once."""
    return Value(a.builder, call(a.builder, f"llvm.fma.{suffix(a.kind)}", a.kind, [a.value, a._with(b), a._with(c)]))


def sqrt(x: Value) -> Value:
    """The square root, rounded correctly."""
    return Value(x.builder, call(x.builder, f"llvm.sqrt.{suffix(x.kind)}", x.kind, [x.value]))


def absolute(x: Value) -> Value:
    """The magnitude: the sign bit cleared."""
    return Value(x.builder, call(x.builder, f"llvm.fabs.{suffix(x.kind)}", x.kind, [x.value]))


def with_sign_of(x: Value, sign: Value) -> Value:
    """The magnitude of `x` with the sign of `sign`."""
    return Value(x.builder, call(x.builder, f"llvm.copysign.{suffix(x.kind)}", x.kind, [x.value, sign.value]))


def floor(x: Value) -> Value:
    """The largest integer that is not above x."""
    return _same("floor", x)


def ceil(x: Value) -> Value:
    """The smallest integer that is not below x."""
    return _same("ceil", x)


def truncated(x: Value) -> Value:
    """The integer part."""
    return _same("trunc", x)


def rounded(x: Value) -> Value:
    """The nearest integer, the even one of two."""
    return _same("rint", x)


def _same(name: str, x: Value) -> Value:
    """An intrinsic of one operand that gives the operand's type."""
    return Value(x.builder, call(x.builder, f"llvm.{name}.{suffix(x.kind)}", x.kind, [x.value]))


def larger(x: Value, y: Value) -> Value:
    """The larger; x if either is NaN."""
    return select(x.compare("<", y), y, x)


def added(x: Value, y: Value) -> Value:
    """The sum."""
    return x + y


def maximum(x: Value, y: Value | Number) -> Value:
    """The larger; NaN if either is (a NaN in `x` fails the comparison, one in `y` is picked by the second)."""
    if not isinstance(y, Value):
        return select(x.compare("<", y), y, x)
    larger = select(x.compare("<", y), y, x)
    return select(y.compare("!=", y), y, larger)


def in_pieces(x: Value, count: int, function: Callable[[Value], Value]) -> Value:
    """A function of x computed for `count` lanes after the others, where all together would not fit the registers."""
    if not isinstance(x.kind, ir.VectorType) or x.kind.count <= count:
        return function(x)
    builder, undefined = x.builder, ir.Constant(x.kind, ir.Undefined)
    parts = []
    for first in range(0, x.kind.count, count):
        lanes = ir.Constant(ir.VectorType(I32, count), list(range(first, first + count)))
        parts.append(function(Value(builder, builder.shuffle_vector(x.value, undefined, lanes))).value)
    while len(parts) > 1:
        lanes = ir.Constant(ir.VectorType(I32, 2 * parts[0].type.count), list(range(2 * parts[0].type.count)))
        parts = [builder.shuffle_vector(a, b, lanes) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return Value(builder, parts[0])


def any_lane(mask: Value) -> Any:
    """Whether a mask holds in some lane, as an IR condition."""
    builder = mask.builder
    if not isinstance(mask.kind, ir.VectorType):
        return mask.value
    bits = ir.IntType(mask.kind.count)
    return builder.icmp_unsigned("!=", builder.bitcast(mask.value, bits), bits(0))


def rarely(mask: Value, usual: Sequence[Value], otherwise: Callable[[], Sequence[Value]]) -> list[Value]:
    """The usual values, but where the mask holds those that `otherwise` computes.

    The latter is skipped where no lane asks for it, and other lanes never see it: bits do not depend on neighbours.
    """
    builder = mask.builder
    places = [cgutils.alloca_once(builder, v.kind) for v in usual]
    for value, place in zip(usual, places, strict=True):
        builder.store(value.value, place)
    with builder.if_then(any_lane(mask), likely=False):
        for value, found, place in zip(usual, otherwise(), places, strict=True):
            builder.store(select(mask, found, value).value, place)
    return [Value(builder, builder.load(place)) for place in places]


def repeated(value: Value, wanting: Callable[[Value], Value], step: Callable[[Value], Value]) -> Value:
    """``step(value)`` as long as some lane is ``wanting(value)``; other lanes stay as they are."""
    builder = value.builder
    place = cgutils.alloca_once(builder, value.kind)
    builder.store(value.value, place)
    test, body, end = (builder.append_basic_block(f"repeated.{part}") for part in ("test", "body", "end"))
    builder.branch(test)
    builder.position_at_end(test)
    now = Value(builder, builder.load(place))
    mask = wanting(now)
    builder.cbranch(any_lane(mask), body, end)
    builder.position_at_end(body)
    builder.store(select(mask, step(now), now).value, place)
    builder.branch(test)
    builder.position_at_end(end)
    return Value(builder, builder.load(place))


def _in_registers(x: Value) -> bool:
    """Whether a value fills whole registers of AVX-512, and the target has it."""
    return (
        isinstance(x.kind, ir.VectorType)
        and x.kind.count * ITEMSIZES[x.dtype] % 64 == 0
        and (target().level == "avx512")
    )


def _by_register(name: str, values: Sequence[Value], extra: Callable[[Sequence[Any]], list[Any]]) -> Value:
    """Call an intrinsic of AVX-512 on 64 bytes of the values at a time; `extra` makes its arguments from the pieces."""
    builder, kind, dtype = values[0].builder, values[0].kind, values[0].dtype
    count = VECTOR_BYTES // ITEMSIZES[dtype]
    name = f"llvm.x86.avx512.{name}.{'ps' if dtype == 'float32' else 'pd'}.512"
    undefined = ir.Constant(kind, ir.Undefined)
    parts = []
    for first in range(0, kind.count, count):
        lanes = ir.Constant(ir.VectorType(I32, count), list(range(first, first + count)))
        pieces = [builder.shuffle_vector(v.value, undefined, lanes) for v in values]
        parts.append(call(builder, name, pieces[0].type, extra(pieces)))
    while len(parts) > 1:
        lanes = ir.Constant(ir.VectorType(I32, 2 * parts[0].type.count), list(range(2 * parts[0].type.count)))
        parts = [builder.shuffle_vector(a, b, lanes) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return Value(builder, parts[0])


def quotient(x: Value, y: Value) -> Value:
    """``x / y`` within 0.51 ULP for finite numbers and quotients with y from 1/2 to 2**126.

    With AVX-512 a reciprocal of 14 bits is refined by FMAs, since a division of 64 bytes blocks its port for 16 cycles.
    """
    if not _in_registers(x):
        return x / y
    single = x.dtype == "float32"
    unmasked = ir.Constant(ir.IntType(16 if single else 8), -1)
    r = _by_register("rcp14", [y], lambda pieces: [pieces[0], pieces[0], unmasked])
    for _ in range(1 if single else 2):
        r = fma(fma(-y, r, 1.0), r, r)
    q = x * r
    return fma(fma(-y, q, x), r, q)


def scaled(x: Value, exponent: Value, bits: Value, mantissa: int, bias: int) -> Value:
    """``x * 2**exponent``, rounded once, for x near 1; `bits` is the exponent as an integer."""
    if _in_registers(x):
        unmasked = ir.Constant(ir.IntType(16 if x.dtype == "float32" else 8), -1)
        return _by_register("mask.scalef", [x, exponent], lambda p: [p[0], p[1], p[0], unmasked, I32(4)])
    # Two factors reach where one power of two would overflow or be subnormal; only the second one can round.
    half = bits >> 1
    return x * ((half + bias) << mantissa).bits() * ((bits - half + bias) << mantissa).bits()


def polynomial(x: Value, coefficients: Sequence[float]) -> Value:
    """Horner's rule in FMAs; coefficients from the constant term up."""
    result = x.number(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = fma(result, x, c)
    return result


class Lanes:
    """Vectors of one element type in memory: full or masked loads and stores at element pointers."""

    def __init__(self, builder: Any, dtype: str, count: int = 0):
        self.builder, self.dtype = builder, dtype
        self.element, self.itemsize = ELEMENTS[dtype], ITEMSIZES[dtype]
        self.count = count or VECTOR_BYTES // self.itemsize
        self.kind = ir.VectorType(self.element, self.count)

    def pointer(self, address: Any, index: Any | None = None) -> Any:
        """Element pointer at an int64 address, `index` elements further on."""
        base = self.builder.inttoptr(address, self.element.as_pointer())
        return base if index is None else self.builder.gep(base, [index])

    def _vector(self, pointer: Any) -> Any:
        return self.builder.bitcast(pointer, self.kind.as_pointer())

    def load(self, pointer: Any, mask: Any | None = None, other: Number = 0) -> Value:
        """Read a vector; lanes without a mask bit are not touched and hold `other`."""
        place = self._vector(pointer)
        if mask is None:
            return Value(self.builder, self.builder.load(place, align=self.itemsize))
        args = [place, I32(self.itemsize), mask, constant(self.kind, other)]
        return Value(self.builder, call(self.builder, f"llvm.masked.load.{suffix(self.kind)}.p0", self.kind, args))

    def store(self, value: Value, pointer: Any, mask: Any | None = None) -> None:
        """Write a vector, or the lanes that have a mask bit. A mask is written as bytes 0 and 1."""
        given = value.value
        if self.dtype == "bool":
            given = self.builder.zext(given, self.kind)
        place = self._vector(pointer)
        if mask is None:
            self.builder.store(given, place, align=self.itemsize)
        else:
            args = [given, place, I32(self.itemsize), mask]
            call(self.builder, f"llvm.masked.store.{suffix(self.kind)}.p0", ir.VoidType(), args)

    def scalar(self, address: Any, index: int = 0) -> Value:
        """Read one element and put it in all lanes."""
        return Value(self.builder, self.builder.load(self.pointer(address, I64(index)))).splat(self.count)

    def zero(self) -> Value:
        """Zero in all lanes."""
        return Value(self.builder, constant(self.kind, 0))


def mask_of(builder: Any, remaining: Any, count: int) -> Any:
    """The mask of the first `remaining` (int64) of `count` lanes."""
    left = Value(builder, builder.trunc(remaining, I32)).splat(count).value
    return builder.icmp_unsigned("<", ir.Constant(ir.VectorType(I32, count), list(range(count))), left)


@contextmanager
def loop(builder: Any, start: Any, stop: Any, step: int) -> Iterator[Any]:
    """Emit ``for i in range(start, stop, step)`` around the body; yields i."""
    with cgutils.for_range_slice(builder, start, stop, I64(step), intp=I64) as (index, _):
        yield index


def vectors(builder: Any, length: Any, count: int, body: Callable[[Any, Any | None, int], None]) -> None:
    """Emit ``body(index, mask, lanes)`` for pairs of whole vectors of `count` lanes, then masked for the rest.

    Pairs, because a chain of FMAs as long as exp's fills the scheduler before the next vector's first instruction
    comes: two vectors whose instructions alternate take the time of one.
    """
    whole = builder.and_(length, I64(-2 * count))
    with loop(builder, I64(0), whole, 2 * count) as index:
        body(index, None, 2 * count)
    with loop(builder, whole, length, count) as index:
        body(index, mask_of(builder, builder.sub(length, index), count), count)


def in_steps(builder: Any, length: Any, counts: Sequence[int], body: Callable[[Any, Any | None, int], None]) -> None:
    """Emit ``body(index, mask, count)`` for runs of so many lanes, longest first, then under a mask for the rest."""
    start = I64(0)
    for count in counts:
        stop = builder.and_(length, I64(-count))
        with loop(builder, start, stop, count) as index:
            body(index, None, count)
        start = stop
    left = builder.sub(length, start)
    with builder.if_then(builder.icmp_signed(">", left, I64(0))):
        body(start, mask_of(builder, left, count), count)


def fold(
    lanes: Lanes,
    length: Any,
    start: Number,
    combine: Callable[[Value, Value], Value],
    term: Callable[[Lanes, Any, Any | None], Value],
) -> Value:
    """One number that combines ``term(lanes, index, mask)`` over `length` elements, in 64 lanes (32 of float64).

    Element e goes to lane ``e mod 64``; in the end the lanes are combined by halves. Lanes that a mask leaves out must
    give the neutral element `start`.
    """
    builder, ways = lanes.builder, 2
    pair = Lanes(builder, lanes.dtype, 2 * lanes.count)
    sums = [cgutils.alloca_once(builder, pair.kind) for _ in range(ways)]
    result = cgutils.alloca_once(builder, lanes.element)

    def step(index: Any, way: int, mask: Any | None) -> None:
        builder.store(combine(Value(builder, builder.load(sums[way])), term(pair, index, mask)).value, sums[way])

    # Up to one vector goes the short way, which gives the same bits: all other lanes are neutral.
    with builder.if_else(builder.icmp_signed("<=", length, I64(lanes.count))) as (short, long):
        with short:
            mask = mask_of(builder, length, lanes.count)
            only = combine(Value(builder, constant(lanes.kind, start)), term(lanes, I64(0), mask))
            builder.store(only.combined(combine).value, result)
        with long:
            for s in sums:
                builder.store(constant(pair.kind, start), s)
            whole = builder.and_(length, I64(-ways * pair.count))
            with loop(builder, I64(0), whole, ways * pair.count) as index:
                for way in range(ways):
                    step(builder.add(index, I64(way * pair.count)), way, None)
            for way in range(ways):
                index = builder.add(whole, I64(way * pair.count))
                with builder.if_then(builder.icmp_signed("<", index, length)):
                    step(index, way, mask_of(builder, builder.sub(length, index), pair.count))
            a, b = (Value(builder, builder.load(s)) for s in sums)
            builder.store(combine(a, b).combined(combine).value, result)
    return Value(builder, builder.load(result))


def emitted(signature: Any, emit: Callable[..., Any]) -> Any:
    """A Numba function of the given signature whose body is ``emit(builder, *args)``; emit returns IR or None.

    Parameters
    ----------
    signature : ``(result, *arguments)``, Numba types; ``None`` for no result.
    """
    result, *arguments = signature

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        value = emit(builder, *args)
        return context.get_dummy_value() if value is None else value

    typed = (types.void if result is None else result)(*arguments)

    def function(typing: Any, *args: Any) -> Any:
        return typed, codegen

    # Numba reads an intrinsic's parameters from its Python signature.
    names = ["typing", *(f"a{k}" for k in range(len(arguments)))]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])  # type: ignore[attr-defined]
    return intrinsic(function)


def sweep_loop(
    builder: Any,
    expression: Callable[..., Any],
    dtypes: Sequence[str],
    results: int,
    entry: Sequence[Any],
    given: Sequence[Value],
    length: Any,
) -> None:
    """Emit the loop that evaluates an expression over contiguous elements.

    Parameters
    ----------
    expression : ``expression(*operands, *given)`` gives a `Value` or a tuple of them, one for each result.
    dtypes : of the results (the first `results`), then of the operands.
    entry : for each of them an address, then for each 1 (or, operands only, 0 to read one pair of vectors again and
        again).
    given : scalars, for all lanes.
    """

    def body(index: Any, mask: Any | None, count: int) -> None:
        lanes = [Lanes(builder, d, count) for d in dtypes]
        places = [
            lane.pointer(entry[k], builder.mul(index, entry[len(dtypes) + k]) if k >= results else index)
            for k, lane in enumerate(lanes)
        ]
        loaded = [lane.load(p, mask) for lane, p in zip(lanes[results:], places[results:], strict=True)]
        made = expression(*loaded, *(number.splat(count) for number in given))
        made = made if isinstance(made, tuple) else (made,)
        for value, lane, p in zip(made, lanes, places, strict=False):
            lane.store(value, p, mask)

    vectors(builder, length, VECTOR_BYTES // max(ITEMSIZES[d] for d in dtypes), body)
