"""What a kernel needs to reach memory and bits: typed pointers and arrays at an address, FMA, bit-casts, cells.

Kernels get addresses and sizes as int64. Everything here is an intrinsic of a few LLVM instructions; dtypes are
``"float32"``, ``"float64"``, ``"int8"`` to ``"int64"``, ``"uint8"`` to ``"uint64"`` and must be compile-time constants
(a literal or a static parameter of the kernel). Imported only where kernels are compiled.

A pointer is indexed without a check and without the wrap-around of negative indices, which keeps loops simple for
LLVM: prefer `pointer` in hot loops. `array` gives a NumPy-like view for code that wants slices and shapes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import make_array, populate_array

from fastnn._kernels.jit import intrinsic

DTYPES: dict[str, Any] = {
    name: getattr(types, name)
    for name in ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}
_FLOATS = (types.float32, types.float64)
_BITS = {types.float32: types.int32, types.float64: types.int64, types.int32: types.float32, types.int64: types.float64}


def _element(dtype: Any) -> Any:
    """Numba's element type for a literal dtype string; None (no match) for anything else."""
    return DTYPES.get(dtype.literal_value) if isinstance(dtype, types.StringLiteral) else None


@intrinsic
def pointer(typing: Any, address: Any, dtype: Any) -> Any:
    """``pointer(address, dtype)``: typed pointer, read and written as ``p[i]``; ``i`` counts elements."""
    element = _element(dtype)
    if element is None or not isinstance(address, types.Integer):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(element)(types.int64, dtype), codegen


@intrinsic
def array(typing: Any, address: Any, shape: Any, dtype: Any) -> Any:
    """``array(address, shape, dtype)``: C-contiguous array view; shape is an integer or a tuple of integers."""
    element = _element(dtype)
    if element is None or not isinstance(address, types.Integer):
        return None
    if isinstance(shape, types.Integer):
        ndim = 1
    elif isinstance(shape, (types.UniTuple, types.Tuple)) and all(isinstance(t, types.Integer) for t in shape.types):
        ndim = shape.count
    else:
        return None
    result = types.Array(element, ndim, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        own = signature.args[1]
        if isinstance(own, types.Integer):
            dims = [context.cast(builder, args[1], own, types.int64)]
        else:
            parts = cgutils.unpack_tuple(builder, args[1])
            dims = [context.cast(builder, p, t, types.int64) for p, t in zip(parts, own, strict=True)]
        itemsize = context.get_abi_sizeof(context.get_data_type(element))
        strides: list[Any] = []
        step: Any = context.get_constant(types.intp, itemsize)
        for extent in reversed(dims):
            strides.insert(0, step)
            step = builder.mul(step, extent)
        view = make_array(result)(context, builder)
        populate_array(
            view,
            data=builder.inttoptr(args[0], view.data.type),
            shape=cgutils.pack_array(builder, dims),
            strides=cgutils.pack_array(builder, strides),
            itemsize=context.get_constant(types.intp, itemsize),
            meminfo=None,
        )
        return view._getvalue()

    return result(types.int64, shape if isinstance(shape, types.BaseTuple) else types.int64, dtype), codegen


@intrinsic
def load(typing: Any, address: Any, like: Any) -> Any:
    """``load(address, like)``: the element at an address, of the type of the scalar `like`."""
    if not isinstance(address, types.Integer) or not isinstance(like, types.Number):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], context.get_value_type(signature.return_type).as_pointer())
        return builder.load(place)

    return like(types.int64, like), codegen


@intrinsic
def store(typing: Any, address: Any, value: Any) -> Any:
    """``store(address, value)``: write a scalar, in its own type, at an address."""
    if not isinstance(address, types.Integer) or not isinstance(value, types.Number):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[1], builder.inttoptr(args[0], args[1].type.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, value), codegen


@intrinsic
def prefetch(typing: Any, address: Any) -> Any:
    """``prefetch(address)``: ask for the cache line at any address, to read it."""
    if not isinstance(address, types.Integer):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, *[ir.IntType(32)] * 3])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(ask, [place, *(ir.IntType(32)(number) for number in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def cell(typing: Any, address: Any) -> Any:
    """``cell(address)``: the present value of a float64 cell (a hyper-parameter)."""
    if not isinstance(address, types.Integer):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], ir.DoubleType().as_pointer()))

    return types.float64(types.int64), codegen


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``fma(a, b, c)``: ``a * b + c`` rounded once; all three float32 or all three float64. LLVM vectorises it."""
    if a not in _FLOATS or b != a or c != a:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return a(a, a, a), codegen


@intrinsic
def bits(typing: Any, x: Any) -> Any:
    """``bits(x)``: the same bits read as the other kind: float32 <-> int32, float64 <-> int64."""
    other: Any = _BITS.get(x)
    if other is None:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return other(x), codegen
