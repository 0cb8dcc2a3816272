"""Vectors of the host's width, written as LLVM instructions: what register tiles, packing and transforms are made of.

A `Vectors` holds a builder, an element size and a width. It emits whole-vector operations into the builder's current
block; addresses are opaque pointers, offsets are bytes. One generator serves every CPU: the width comes from the
`cpu` module, and LLVM picks the instructions. Nothing here allows LLVM to reassociate or to contract: an FMA happens
where `fma` is called and nowhere else.

Only the compile helper imports this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

I1, I8, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
POINTER = ir.PointerType()

# IR values are llvmlite objects without useful static types.
Value = Any


def indices(lanes: Sequence[int]) -> ir.Constant:
    """A constant for `shuffle`: which lane of the two operands side by side each lane of the result takes."""
    return ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))


def declare(module: ir.Module, name: str, result: ir.Type, arguments: Sequence[ir.Type]) -> ir.Function:
    """Return the function called `name` in the module, declaring it first where needed."""
    found = module.globals.get(name)
    return found if found is not None else ir.Function(module, ir.FunctionType(result, arguments), name)


def internal(module: ir.Module, name: str, kind: ir.FunctionType, attribute: str) -> tuple[ir.Function, bool]:
    """The module's own function of a name, never inlined, and whether it is new and wants its body.

    `attribute` : one of LLVM's more, such as ``"nounwind"``.
    """
    found = module.globals.get(name)
    if found is not None:
        return found, False
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add(attribute)
    return function, True


def function_table(module: ir.Module, name: str, kind: ir.FunctionType, functions: Sequence[Any]) -> ir.GlobalVariable:
    """A constant array of functions of one type (null where there is none), to pick from by number."""
    kind = ir.ArrayType(kind.as_pointer(), len(functions))
    variable = ir.GlobalVariable(module, kind, name)
    variable.linkage = "internal"
    variable.global_constant = True
    variable.initializer = ir.Constant(kind, functions)
    return variable


class Vectors:
    """Emits operations on vectors of `width` bytes whose elements take `size` bytes (4 or 8).

    Attributes
    ----------
    lanes : elements of a vector.
    type, mask_type : LLVM's types of a vector and of a mask.
    zero : the vector of zeros.
    """

    def __init__(self, builder: ir.IRBuilder, size: int, width: int) -> None:
        self.builder = builder
        self.size = size
        self.width = width
        self.lanes = width // size
        self.element = ir.FloatType() if size == 4 else ir.DoubleType()
        self.type = ir.VectorType(self.element, self.lanes)
        self.mask_type = ir.VectorType(I1, self.lanes)
        self.zero = self.splat_constant(0.0)
        self._suffix = f"v{self.lanes}f{8 * size}"

    def call(self, name: str, result: ir.Type, arguments: Sequence[Value]) -> Value:
        """Call an LLVM intrinsic by its full name."""
        function = declare(self.builder.module, name, result, [a.type for a in arguments])
        return self.builder.call(function, arguments)

    def pointer(self, address: Value) -> Value:
        """The pointer to an address held as an int64."""
        return self.builder.inttoptr(address, POINTER)

    def at(self, pointer: Value, offset: Value | int) -> Value:
        """The pointer `offset` bytes further."""
        offset = I64(offset) if isinstance(offset, int) else offset
        return self.builder.gep(pointer, [offset], source_etype=I8)

    def opaque(self, pointer: Value) -> Value:
        """The same pointer, unknown to LLVM: it will not express one by another that it knows to lie nearby."""
        kind = ir.FunctionType(POINTER, [POINTER])
        return self.builder.asm(kind, "", "=r,0", [pointer], side_effect=False)

    def opaque_number(self, number: Value) -> Value:
        """The same int64, unknown to LLVM: it is kept rather than computed anew."""
        kind = ir.FunctionType(I64, [I64])
        return self.builder.asm(kind, "", "=r,0", [number], side_effect=False)

    def mask(self, count: Value) -> Value:
        """A mask of the first `count` (int64, 0 to lanes) lanes."""
        numbers = ir.VectorType(I32, self.lanes)
        undefined = ir.Constant(numbers, ir.Undefined)
        first = self.builder.insert_element(undefined, self.builder.trunc(count, I32), I32(0))
        spread = self.builder.shuffle_vector(first, undefined, indices([0] * self.lanes))
        return self.builder.icmp_unsigned("<", ir.Constant(numbers, list(range(self.lanes))), spread)

    def load(self, pointer: Value, mask: Value | None = None) -> Value:
        """Load a vector from any address; lanes outside the mask are not read and give zero."""
        if mask is None:
            return self.builder.load(pointer, typ=self.type, align=self.size)
        arguments = [pointer, I32(self.size), mask, self.zero]
        return self.call(f"llvm.masked.load.{self._suffix}.p0", self.type, arguments)

    def store(self, vector: Value, pointer: Value, mask: Value | None = None) -> None:
        """Store a vector to any address; lanes outside the mask are not written."""
        if mask is None:
            self.builder.store(vector, pointer, align=self.size)
        else:
            arguments = [vector, pointer, I32(self.size), mask]
            self.call(f"llvm.masked.store.{self._suffix}.p0", ir.VoidType(), arguments)

    def load_element(self, pointer: Value) -> Value:
        """Load one element."""
        return self.builder.load(pointer, typ=self.element, align=self.size)

    def splat(self, element: Value) -> Value:
        """The vector whose lanes all hold the element."""
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, element, I32(0))
        return self.builder.shuffle_vector(first, undefined, indices([0] * self.lanes))

    def splat_constant(self, value: float) -> Value:
        """The vector whose lanes all hold the number."""
        return ir.Constant(self.type, [value] * self.lanes)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        """Multiply, add and round once: ``x * y + z``."""
        return self.call(f"llvm.fma.{self._suffix}", self.type, [x, y, z])

    def prefetch(self, pointer: Value, *, write: bool = False) -> None:
        """Ask for the cache line at an address, to read it or to write it; any address is allowed."""
        self.call("llvm.prefetch.p0", ir.VoidType(), [pointer, I32(int(write)), I32(3), I32(1)])

    def transposed(self, rows: Sequence[Value], mask: Value | None = None) -> list[Value]:
        """Load `lanes` rows of a vector each, given by their addresses, and return the columns."""
        out = self._transposed_quarters(rows) if mask is None else [self.load(row, mask) for row in rows]
        if mask is None:
            return out
        low = [j // 2 + (self.lanes if j % 2 else 0) for j in range(self.lanes)]
        high = [j + self.lanes // 2 for j in low]
        for _ in range(self.lanes.bit_length() - 1):
            pairs = list(zip(out, out[self.lanes // 2 :], strict=False))
            out = [self.builder.shuffle_vector(x, y, indices(half)) for x, y in pairs for half in (low, high)]
        return out

    def _transposed_quarters(self, rows: Sequence[Value]) -> list[Value]:
        """Columns from loads of 16 bytes, put side by side, then a transpose inside each 16 bytes: fewer shuffles."""
        b, part = self.builder, 16 // self.size
        quarter = ir.VectorType(self.element, part)
        out = []
        for column in range(0, self.lanes, part):
            stacks = []
            for first in range(part):
                loads = [
                    b.load(self.at(row, column * self.size), typ=quarter, align=self.size) for row in rows[first::part]
                ]
                while len(loads) > 1:
                    both = indices(range(2 * loads[0].type.count))
                    loads = [b.shuffle_vector(x, y, both) for x, y in zip(loads[::2], loads[1::2], strict=True)]
                stacks += loads
            out += self._transposed_within(stacks, part)
        return out

    def _transposed_within(self, stacks: list[Value], part: int) -> list[Value]:
        """Transpose `part` vectors inside each group of `part` lanes."""
        span = 1
        while span < part:
            low, high = (
                indices([g + s + i for g in range(0, self.lanes, 2 * span) for s in (0, self.lanes) for i in half])
                for half in (range(span), range(span, 2 * span))
            )
            out: list[Value] = [None] * part
            for i in range(part):
                if i & span == 0:
                    out[i] = self.builder.shuffle_vector(stacks[i], stacks[i + span], low)
                    out[i + span] = self.builder.shuffle_vector(stacks[i], stacks[i + span], high)
            stacks, span = out, 2 * span
        return stacks
