"""Integers, memory and control flow for traced kernels: what surrounds the arithmetic of `fastnn._kernels.vector`.

A kernel whose chunk and stride bookkeeping is traced compiles four times as fast as one in which Numba infers types for
it, because Numba's time goes into every operator of the Python source. Integers are 64-bit `Value`s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastnn._kernels.emit import internal
from fastnn._kernels.vector import I64, Value, call, emitted, loop, select

Int = Value | int


class Words:
    """int64 words in memory, read and written as ``words[i]``."""

    def __init__(self, builder: Any, pointer: Any) -> None:
        self.builder = builder
        at_integer = isinstance(pointer.type, ir.IntType)
        self.pointer = builder.inttoptr(pointer, I64.as_pointer()) if at_integer else pointer

    def _place(self, index: Int) -> Any:
        return self.builder.gep(self.pointer, [index.value if isinstance(index, Value) else I64(index)])

    def __getitem__(self, index: Int) -> Value:
        return Value(self.builder, self.builder.load(self._place(index)))

    def __setitem__(self, index: Int, value: Int) -> None:
        self.builder.store(value.value if isinstance(value, Value) else I64(value), self._place(index))


class Local:
    """A variable that changes: ``x.now`` reads and writes it."""

    def __init__(self, builder: Any, value: Value) -> None:
        self.builder = builder
        self.place = cgutils.alloca_once(builder, value.kind)
        self.now = value

    @property
    def now(self) -> Value:
        """The present value."""
        return Value(self.builder, self.builder.load(self.place))

    @now.setter
    def now(self, value: Value) -> None:
        self.builder.store(value.value, self.place)


class Code:
    """Emits control flow into a builder."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def number(self, value: Int) -> Value:
        """An integer constant as a value."""
        return value if isinstance(value, Value) else Value(self.builder, I64(value))

    def words(self, address: Any) -> Words:
        """The int64 words at an address or pointer."""
        return Words(self.builder, address.value if isinstance(address, Value) else address)

    def local(self, value: Int) -> Local:
        """A new variable."""
        return Local(self.builder, self.number(value))

    @contextmanager
    def range(self, start: Int, stop: Int) -> Iterator[Value]:
        """``for i in range(start, stop)``."""
        with loop(self.builder, self.number(start).value, self.number(stop).value, 1) as index:
            yield Value(self.builder, index)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """``if condition``."""
        with self.builder.if_then(condition.value):
            yield

    @contextmanager
    def while_(self, condition: Callable[[], Value]) -> Iterator[None]:
        """``while condition()``."""
        builder = self.builder
        test, body, end = (builder.append_basic_block(f"while.{part}") for part in ("test", "body", "end"))
        builder.branch(test)
        builder.position_at_end(test)
        builder.cbranch(condition().value, body, end)
        builder.position_at_end(body)
        yield
        builder.branch(test)
        builder.position_at_end(end)

    def move(self, width: int, target: Value, target_step: Int, source: Value, source_step: Int, length: Int) -> None:
        """Copy elements of `width` bytes between addresses; steps in bytes. One function of the module serves all."""
        module, name = self.builder.module, f"fastnn_move{width}"
        function, fresh = internal(module, name, ir.FunctionType(ir.VoidType(), [I64] * 5), "optsize")
        if fresh:
            builder = ir.IRBuilder(function.append_basic_block())
            kind = ir.IntType(8 * width).as_pointer()
            to, to_step, of, of_step, count = function.args
            with loop(builder, I64(0), count, 1) as i:
                read = builder.inttoptr(builder.add(of, builder.mul(i, of_step)), kind)
                write = builder.inttoptr(builder.add(to, builder.mul(i, to_step)), kind)
                builder.store(builder.load(read, align=width), write, align=width)
            builder.ret_void()
        given = (target, target_step, source, source_step, length)
        self.builder.call(function, [self.number(x).value for x in given])

    def copy(self, target: Value, source: Value, length: Value) -> None:
        """Copy `length` bytes that lie side by side."""
        b = self.builder
        places = [b.inttoptr(address.value, ir.IntType(8).as_pointer()) for address in (target, source)]
        call(b, "llvm.memcpy.p0.p0.i64", ir.VoidType(), [*places, length.value, ir.Constant(ir.IntType(1), 0)])


def smaller(x: Value, y: Int) -> Value:
    """The smaller of two integers."""
    return select(x.compare("<", y), x, y)


def traced(emit: Callable[[Code, Words, Value, Value, Value], None]) -> Any:
    """A kernel's body from ``emit(code, args, first, last, scratch)``."""

    def write(builder: Any, args: Any, first: Any, last: Any, scratch: Any) -> None:
        # Vectorising and unrolling the loops over strides and chunks takes long and gains nothing.
        builder.function.attributes.add("optsize")
        emit(Code(builder), Words(builder, args), *(Value(builder, v) for v in (first, last, scratch)))

    run = emitted((None, types.CPointer(types.int64), types.int64, types.int64, types.int64), write)

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        run(args, first, last, scratch)

    return body
