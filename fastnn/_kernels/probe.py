"""Small kernels that measure this machine; they are also the compiler's first test cases."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastnn._kernels import cpu
from fastnn._kernels.jit import intrinsic, kernel
from fastnn._kernels.pointer import cell, fma, pointer

# Enough to hide a latency of five cycles on three units, few enough for sixteen registers.
CHAINS = 12


@kernel
def axpy(dtype: str) -> Any:
    """``y[i] = fma(alpha, x[i], y[i])``; args: x, y, elements a chunk, address of alpha's cell."""
    scalar = np.dtype(dtype).type

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        x = pointer(args[0], dtype)
        y = pointer(args[1], dtype)
        alpha = scalar(cell(args[3]))
        for i in range(first * args[2], last * args[2]):
            y[i] = fma(alpha, x[i], y[i])

    return body


@kernel
def peak(dtype: str) -> Any:
    """Each chunk does ``2 * CHAINS * lanes`` FLOPs in registers; args: address that takes a vector of the sums."""
    chains = multiply_add_chains(dtype)

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        chains(args[0], last - first)

    return body


def multiply_add_chains(dtype: str) -> Any:
    """An intrinsic ``chains(out, count)``: `CHAINS` vectors of the host's width, each multiplied and added to."""
    target = cpu.target()
    bits = 64 if dtype == "float64" else 32
    lanes = target.lanes(dtype)
    vector = ir.VectorType(ir.DoubleType() if bits == 64 else ir.FloatType(), lanes)
    half, one = (ir.Constant(vector, [value] * lanes) for value in (0.5, 1.0))

    def step(builder: Any, total: Any) -> Any:
        if not target.fma:
            return builder.fadd(builder.fmul(total, half), one)
        operation = ir.FunctionType(vector, [vector] * 3)
        function = cgutils.get_or_insert_function(builder.module, operation, f"llvm.fma.v{lanes}f{bits}")
        return builder.call(function, [total, half, one])

    @intrinsic
    def chains(typing: Any, out: Any, count: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            before = builder.block
            loop, after = (builder.append_basic_block(name) for name in ("loop", "after"))
            builder.branch(loop)
            builder.position_at_end(loop)
            index = builder.phi(args[1].type)
            totals = [builder.phi(vector) for _ in range(CHAINS)]
            following = builder.add(index, index.type(1))
            sums = [step(builder, total) for total in totals]
            index.add_incoming(index.type(0), before)
            index.add_incoming(following, loop)
            for number, (total, result) in enumerate(zip(totals, sums, strict=True)):
                # not 2, which x / 2 + 1 leaves as it is: LLVM would drop that chain
                total.add_incoming(ir.Constant(vector, [3.0 + number] * lanes), before)
                total.add_incoming(result, loop)
            builder.cbranch(builder.icmp_signed("<", following, args[1]), loop, after)
            builder.position_at_end(after)
            whole = sums[0]
            for result in sums[1:]:
                whole = builder.fadd(whole, result)
            builder.store(whole, builder.inttoptr(args[0], vector.as_pointer()), align=bits // 8)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return chains
