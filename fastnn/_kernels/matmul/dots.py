"""Products with one column: every element of the result is a dot product, summed in lanes.

    c[j] (+)= sum over k of a[k] b[k, j], where a is the column and b holds the rows that it is multiplied by

One chain of FMAs would wait for itself, so element k goes to lane ``k mod 64`` (32 for float64), each lane is a chain,
and the lanes are added by halves: the order depends on the summed length alone, not on how b lies or on the vectors of
the CPU.

A. b's columns each lie along k: a vector holds neighbouring lanes of one sum.
B. They lie otherwise: a vector holds one lane of the sums of neighbouring columns, and all lanes are kept in scratch.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from fastnn._kernels.control import Code, smaller
from fastnn._kernels.emit import Vectors, internal
from fastnn._kernels.vector import I64, Lanes, Value, fma, loop, mask_of, select

# Bytes of all lanes: 64 of float32, 32 of float64.
LANES_BYTES = 256
# `b_step`: from one k to the next, `b_column`: from column to column; `scratch` has room for a vector of each lane.
ARGUMENTS = ("k", "a", "b", "b_step", "b_column", "c", "columns", "old", "scratch")


def define_dots(module: ir.Module, size: int, width: int) -> ir.Function:
    """Define (once) the function of `ARGUMENTS`: addresses, distances in bytes; `old`: whether c is added to.

    a and c are contiguous.
    """
    name = f"fastnn_dots_{size}"
    function, fresh = internal(module, name, ir.FunctionType(ir.VoidType(), [I64] * len(ARGUMENTS)), "nounwind")
    if not fresh:
        return function
    builder = ir.IRBuilder(function.append_basic_block("start"))
    given = dict(zip(ARGUMENTS, (Value(builder, a) for a in function.args), strict=True))
    code = Code(builder)
    with builder.if_else(given["b_step"].compare("==", size).value) as (along, otherwise):
        with along:
            _along(code, size, given)
        with otherwise:
            _across(code, Vectors(builder, size, width), given)
    builder.ret_void()
    return function


def _along(code: Code, size: int, given: dict[str, Value]) -> None:
    """Emit A: all lanes in registers."""
    builder, k = code.builder, given["k"]
    dtype = "float32" if size == 4 else "float64"
    lanes = Lanes(builder, dtype, LANES_BYTES // size)
    c = Lanes(builder, dtype, 1)
    with code.range(0, given["columns"]) as j:
        line = given["b"] + j * given["b_column"]

        def term(index: Any, mask: Any | None, total: Value, line: Value = line) -> Value:
            x = lanes.load(lanes.pointer(given["a"].value, index), mask)
            longer = fma(x, lanes.load(lanes.pointer(line.value, index), mask), total)
            # a lane that has ended keeps its sum: 0 * 0 added to -0.0 would make it 0.0
            return longer if mask is None else select(Value(builder, mask), longer, total)

        total = code.local(lanes.zero())
        whole = (k // lanes.count) * lanes.count
        with loop(builder, I64(0), whole.value, lanes.count) as index:
            total.now = term(index, None, total.now)
        with code.when(whole.compare("<", k)):
            total.now = term(whole.value, mask_of(builder, (k - whole).value, lanes.count), total.now)
        _put(code, c.pointer(given["c"].value, j.value), total.now.combined(lambda x, y: x + y), given["old"])


def _put(code: Code, place: Any, total: Value, old: Value) -> None:
    """Store a sum, added to what is there if that is wanted."""
    result = code.local(total)
    with code.when(old.compare("!=", 0)):
        result.now = result.now + Value(code.builder, code.builder.load(place))
    code.builder.store(result.now.value, place)


def _across(code: Code, v: Vectors, given: dict[str, Value]) -> None:
    """Emit B: a lane at a time, for as many columns as a vector has elements."""
    builder, size, count = code.builder, v.size, LANES_BYTES // v.size
    k, scratch = given["k"], given["scratch"]
    j = code.local(0)
    with code.while_(lambda: j.now.compare("<", given["columns"])):
        left = smaller(given["columns"] - j.now, v.lanes)
        mask = v.mask(left.value)
        first = given["b"] + j.now * given["b_column"]
        with code.range(0, count) as lane:
            v.store(v.zero, v.pointer((scratch + lane * v.width).value))
        with code.range(0, k) as p:
            element = v.splat(v.load_element(v.pointer((given["a"] + p * size).value)))
            row = first + p * given["b_step"]
            columns = code.local(Value(builder, v.zero))
            with builder.if_else(given["b_column"].compare("==", size).value) as (beside, apart):
                with beside:
                    columns.now = Value(builder, v.load(v.pointer(row.value), mask))
                with apart:
                    gathered: Any = ir.Constant(v.type, ir.Undefined)
                    for r in range(v.lanes):
                        at = row + (smaller(left - 1, r) if r else left * 0) * given["b_column"]
                        gathered = builder.insert_element(gathered, v.load_element(v.pointer(at.value)), I32(r))
                    columns.now = Value(builder, gathered)
            place = v.pointer((scratch + (p % count) * v.width).value)
            v.store(v.fma(element, columns.now.value, v.load(place)), place)
        half = count // 2
        while half:
            with code.range(0, half) as lane:
                place = v.pointer((scratch + lane * v.width).value)
                other = v.pointer((scratch + (lane + half) * v.width).value)
                v.store(builder.fadd(v.load(place), v.load(other)), place)
            half //= 2
        total = code.local(Value(builder, v.load(v.pointer(scratch.value))))
        target = v.pointer((given["c"] + j.now * size).value)
        with code.when(given["old"].compare("!=", 0)):
            total.now = total.now + Value(builder, v.load(target, mask))
        v.store(total.now.value, target, mask)
        j.now = j.now + v.lanes


I32 = ir.IntType(32)
