"""Functions of elements: any strides, broadcasting, one kernel for each function and dtype.

A. Layout. Operands come as up to 32 axes with strides in elements. The innermost axis runs in vectors: an operand
   that is contiguous along it is read in place; one with stride 0 is spread over a pair of vectors first and read
   again and again; any other is gathered into scratch, a block at a time. So flat, scalar, broadcast and strided
   calls share one loop, and a call over contiguous arrays is one run of it.
B. Chunks are blocks of `args[BLOCK]` elements of the result in C order. Elements do not depend on each other, so
   chunking never changes bits.
C. A result may lie exactly where an operand does (``y += x`` is ``add`` with the result on its first operand).

args: address of the result, then of each operand; total elements; elements a chunk; number of axes (at least 1);
      extents of the axes; the result's strides; each operand's strides; addresses of float64 cells.
"""

from __future__ import annotations

import math
from typing import Any

from fastnn._kernels import activations, losses
from fastnn._kernels import functions as f
from fastnn._kernels import reduction_gradients as r
from fastnn._kernels.control import Code, Words, smaller, traced
from fastnn._kernels.formula import Formula
from fastnn._kernels.jit import kernel
from fastnn._kernels.mathematics import comparison as c
from fastnn._kernels.mathematics import derivative as d
from fastnn._kernels.mathematics import division, error, exponential, logarithm, power
from fastnn._kernels.mathematics import trigonometric as t
from fastnn._kernels.vector import (
    ELEMENTS,
    ITEMSIZES,
    VECTOR_BYTES,
    Value,
    absolute,
    ceil,
    floor,
    fma,
    rounded,
    select,
    sqrt,
    sweep_loop,
    truncated,
    with_sign_of,
)

TABLE: dict[str, Formula] = {
    "fill": Formula(0, lambda value: value, cells=1),
    "copy": Formula(1, lambda x: x),
    "negative": Formula(1, lambda x: -x),
    "scale": Formula(1, lambda x, factor: x * factor, cells=1),
    "add": Formula(2, lambda x, y: x + y),
    "add_scaled": Formula(2, lambda x, y, factor: fma(y, factor, x), cells=1),
    "subtract": Formula(2, lambda x, y: x - y),
    "multiply": Formula(2, lambda x, y: x * y),
    "multiply_add": Formula(3, lambda total, x, y: fma(x, y, total)),
    "divide": Formula(2, lambda x, y: x / y),
    # The gradient of x / y for y: -(dy / y) * (x / y), from the saved quotient.
    "divide_backward": Formula(3, lambda dy, y, quotient: -(dy / y) * quotient),
    "relu": Formula(1, f.relu),
    "relu_backward": Formula(2, f.relu_backward),
    "sigmoid_backward": Formula(2, f.sigmoid_backward),
    "erf": Formula(1, error.erf),
    "erf_backward": Formula(2, error.erf_backward),
    "erfc": Formula(1, error.erfc),
    "erfc_backward": Formula(2, error.erfc_backward),
    "erfinv": Formula(1, error.erfinv),
    "erfinv_backward": Formula(2, error.erfinv_backward),
    "angle": Formula(1, lambda x: select(x.compare("!=", x), x, select(x.compare("<", 0.0), x.number(math.pi), 0.0))),
    "gelu": Formula(1, f.gelu),
    "gelu_backward": Formula(2, f.gelu_backward),
    "gelu_tanh": Formula(1, f.gelu_tanh),
    "gelu_tanh_backward": Formula(2, f.gelu_tanh_backward),
    "silu": Formula(1, f.silu),
    "silu_backward": Formula(2, f.silu_backward),
    # -- exponentials and logarithms; exp's gradient is a product, log's a quotient
    "exp": Formula(1, exponential.exp),
    "exp2": Formula(1, exponential.exp2),
    "exp2_backward": Formula(2, d.exp2),
    "expm1": Formula(1, exponential.expm1),
    "expm1_backward": Formula(2, lambda dy, y: fma(dy, y, dy)),
    "sinh": Formula(1, exponential.sinh),
    "sinh_backward": Formula(2, lambda dy, x: dy * exponential.cosh(x)),
    "cosh": Formula(1, exponential.cosh),
    "cosh_backward": Formula(2, lambda dy, x: dy * exponential.sinh(x)),
    "tanh": Formula(1, exponential.tanh),
    "tanh_backward": Formula(2, f.tanh_backward),
    "sigmoid": Formula(1, exponential.sigmoid),
    "log": Formula(1, logarithm.log),
    "log2": Formula(1, logarithm.log2),
    "log2_backward": Formula(2, d.log2),
    "log10": Formula(1, logarithm.log10),
    "log10_backward": Formula(2, d.log10),
    "log1p": Formula(1, logarithm.log1p),
    "log1p_backward": Formula(2, lambda dy, x: dy / (x + 1.0)),
    "asinh": Formula(1, logarithm.asinh),
    "asinh_backward": Formula(2, lambda dy, x: dy / sqrt(fma(x, x, 1.0))),
    "acosh": Formula(1, logarithm.acosh),
    "acosh_backward": Formula(2, lambda dy, x: dy / sqrt(fma(x, x, -1.0))),
    "atanh": Formula(1, logarithm.atanh),
    "atanh_backward": Formula(2, lambda dy, x: dy / ((1.0 - x) * (1.0 + x))),
    "logit": Formula(1, logarithm.logit),
    "logit_backward": Formula(2, d.logit),
    "logaddexp": Formula(2, logarithm.logaddexp),
    "logaddexp_backward": Formula(3, d.logaddexp),
    "logaddexp2": Formula(2, logarithm.logaddexp2),
    "logaddexp2_backward": Formula(3, d.logaddexp2),
    "xlogy": Formula(2, lambda x, y: logarithm.times_logarithm(x, y, logarithm.log)),
    "xlogy_backward_x": Formula(3, lambda dz, x, y: d.logarithm_of(dz, x, y, logarithm.log, 0.0)),
    "xlogy_backward_y": Formula(3, lambda dz, x, y: dz * (x / y)),
    "xlog1py": Formula(2, lambda x, y: logarithm.times_logarithm(x, y, logarithm.log1p)),
    "xlog1py_backward_x": Formula(3, lambda dz, x, y: d.logarithm_of(dz, x, y, logarithm.log1p, -1.0)),
    "xlog1py_backward_y": Formula(3, lambda dz, x, y: dz * (x / (y + 1.0))),
    "entropy": Formula(1, logarithm.entropy),
    "entropy_backward": Formula(2, d.entropy),
    # -- powers and roots
    "sqrt": Formula(1, sqrt),
    "sqrt_backward": Formula(2, lambda dy, y: dy / (y + y)),
    "rsqrt": Formula(1, power.rsqrt),
    "rsqrt_backward": Formula(2, lambda dy, y: dy * (y * y * y * -0.5)),
    "square": Formula(1, lambda x: x * x),
    "square_backward": Formula(2, lambda dy, x: dy * (x + x)),
    "cube": Formula(1, power.cube),
    "cube_backward": Formula(2, lambda dy, x: dy * (x * x * 3.0)),
    "reciprocal": Formula(1, lambda x: 1.0 / x),
    "reciprocal_backward": Formula(2, lambda dy, y: -dy * (y * y)),
    "power": Formula(2, power.power),
    "power_backward_x": Formula(3, d.power_base),
    "power_backward_y": Formula(4, d.power_exponent),
    "hypot": Formula(2, power.hypot),
    "hypot_backward": Formula(3, lambda dz, x, z: dz * (x / z)),
    # -- angles
    "sin": Formula(1, t.sin),
    "sin_backward": Formula(2, lambda dy, x: dy * t.cos(x)),
    "cos": Formula(1, t.cos),
    "cos_backward": Formula(2, lambda dy, x: -dy * t.sin(x)),
    "tan": Formula(1, t.tan),
    "tan_backward": Formula(2, lambda dy, y: dy * fma(y, y, 1.0)),
    "asin": Formula(1, t.asin),
    "asin_backward": Formula(2, lambda dy, x: dy / sqrt((1.0 - x) * (1.0 + x))),
    "acos": Formula(1, t.acos),
    "acos_backward": Formula(2, lambda dy, x: -dy / sqrt((1.0 - x) * (1.0 + x))),
    "atan": Formula(1, t.atan),
    "atan_backward": Formula(2, lambda dy, x: dy / fma(x, x, 1.0)),
    "atan2": Formula(2, t.atan2),
    "atan2_backward_x": Formula(3, lambda dz, x, y: dz * (y / fma(x, x, y * y))),
    "atan2_backward_y": Formula(3, lambda dz, x, y: dz * (-x / fma(x, x, y * y))),
    "sinc": Formula(1, t.sinc),
    "sinc_backward": Formula(2, d.sinc),
    # -- signs and integers
    "abs": Formula(1, absolute),
    "abs_backward": Formula(2, lambda dy, x: dy * c.sign(x)),
    "sign": Formula(1, c.sign),
    "floor": Formula(1, floor),
    "ceil": Formula(1, ceil),
    "round": Formula(1, rounded),
    "trunc": Formula(1, truncated),
    "frac": Formula(1, lambda x: with_sign_of(x - truncated(x), x)),
    "zero": Formula(1, lambda dy: dy.number(0.0)),
    "copysign": Formula(2, with_sign_of),
    "copysign_backward": Formula(3, d.copysign),
    "heaviside": Formula(2, c.heaviside),
    "nextafter": Formula(2, c.nextafter),
    "fmod": Formula(2, division.fmod),
    "fmod_backward": Formula(3, lambda dz, x, y: -dz * truncated(x / y)),
    "remainder": Formula(2, division.remainder),
    "remainder_backward": Formula(3, lambda dz, x, y: -dz * division.floor_divide(x, y)),
    "floor_divide": Formula(2, division.floor_divide),
    # -- the larger, the smaller, what lies between
    "maximum": Formula(2, c.maximum),
    "minimum": Formula(2, c.minimum),
    "fmax": Formula(2, c.fmax),
    "fmin": Formula(2, c.fmin),
    "larger_backward": Formula(3, lambda dz, x, y: d.chosen(dz, x, y, ">")),
    "smaller_backward": Formula(3, lambda dz, x, y: d.chosen(dz, x, y, "<")),
    "fmax_backward_x": Formula(3, lambda dz, x, y: d.taken(dz, x.compare(">=", y) | y.compare("!=", y))),
    "fmax_backward_y": Formula(3, lambda dz, x, y: d.taken(dz, ~(x.compare(">=", y) | y.compare("!=", y)))),
    "fmin_backward_x": Formula(3, lambda dz, x, y: d.taken(dz, x.compare("<=", y) | y.compare("!=", y))),
    "fmin_backward_y": Formula(3, lambda dz, x, y: d.taken(dz, ~(x.compare("<=", y) | y.compare("!=", y)))),
    "clip": Formula(1, c.clip, cells=2),
    "clip_backward": Formula(2, d.clip, cells=2),
    "clip_between": Formula(3, c.clip),
    "clip_between_backward": Formula(4, d.clip),
    "clip_between_backward_low": Formula(
        4, lambda dy, x, low, high: d.taken(dy, x.compare("<", low) & low.compare("<", high))
    ),
    "clip_between_backward_high": Formula(
        4, lambda dy, x, low, high: d.taken(dy, x.compare(">", high) | high.compare("<", low))
    ),
    "nan_to_num": Formula(1, c.nan_to_num, cells=3),
    "nan_to_num_backward": Formula(2, lambda dy, x: d.taken(dy, absolute(x).compare("<", math.inf))),
    # -- mixtures
    "lerp": Formula(3, c.lerp),
    "lerp_backward_start": Formula(2, lambda dz, weight: dz * (1.0 - weight)),
    "lerp_backward_weight": Formula(3, lambda dz, start, end: dz * (end - start)),
    "addcmul": Formula(3, lambda x, y, z, value: fma(y * z, value, x), cells=1),
    "addcmul_backward": Formula(2, lambda dw, other, value: dw * (other * value), cells=1),
    "addcdiv": Formula(3, lambda x, y, z, value: fma(y / z, value, x), cells=1),
    "addcdiv_backward_y": Formula(2, lambda dw, z, value: dw * (value / z), cells=1),
    "addcdiv_backward_z": Formula(3, lambda dw, y, z, value: -dw * (value * (y / (z * z))), cells=1),
    "where_backward_x": Formula(2, lambda condition, dz: d.taken(dz, condition.compare("!=", 0)), bools=1),
    "where_backward_y": Formula(2, lambda condition, dz: d.taken(dz, condition.compare("==", 0)), bools=1),
    # -- questions
    "isnan": Formula(1, lambda x: x.compare("!=", x), result="bool"),
    "isinf": Formula(1, lambda x: absolute(x).compare("==", math.inf), result="bool"),
    "isfinite": Formula(1, lambda x: absolute(x).compare("<", math.inf), result="bool"),
    "isposinf": Formula(1, lambda x: x.compare("==", math.inf), result="bool"),
    "isneginf": Formula(1, lambda x: x.compare("==", -math.inf), result="bool"),
    "signbit": Formula(1, lambda x: x.bits().compare("<", 0), result="bool"),
    "logical_not": Formula(1, lambda x: x.compare("==", 0.0), result="bool"),
    "logical_and": Formula(2, lambda x, y: x.compare("!=", 0.0) & y.compare("!=", 0.0), result="bool"),
    "logical_or": Formula(2, lambda x, y: x.compare("!=", 0.0) | y.compare("!=", 0.0), result="bool"),
    "logical_xor": Formula(2, lambda x, y: x.compare("!=", 0.0) ^ y.compare("!=", 0.0), result="bool"),
    "where": Formula(3, lambda condition, x, y: select(condition.compare("!=", 0), x, y), bools=1),
    "equal": Formula(2, lambda x, y: x.compare("==", y), result="bool"),
    "not_equal": Formula(2, lambda x, y: x.compare("!=", y), result="bool"),
    "less": Formula(2, lambda x, y: x.compare("<", y), result="bool"),
    "less_equal": Formula(2, lambda x, y: x.compare("<=", y), result="bool"),
    "greater": Formula(2, lambda x, y: x.compare(">", y), result="bool"),
    "greater_equal": Formula(2, lambda x, y: x.compare(">=", y), result="bool"),
    # Gradients of reductions. y is the reduced result, dy its gradient (per result), spread over the elements.
    "deviation_backward": Formula(3, lambda dy, x, mean: dy * (x - mean)),
    "std_scale": Formula(2, lambda dy, y: select(y.compare("==", 0.0), y * 0.0, dy / y)),
    "prod_backward": Formula(4, r.prod_backward),
    "ties_backward": Formula(3, r.ties_backward),
    "norm1_backward": Formula(2, lambda dy, x: dy * c.sign(x)),
    "norm2_backward": Formula(3, lambda dy, x, y: select(y.compare("==", 0.0), x.number(0.0), x * (dy / y))),
    "norm_inf_backward": Formula(3, r.norm_inf_backward),
    "logsumexp": Formula(2, lambda total, top: logarithm.log(total) + r.finite_or_zero(top)),
    "softmax": Formula(3, lambda x, top, total: exponential.exp(x - top) / total),
    "softmax_backward": Formula(3, lambda dy, y, total: (dy - total) * y),
    "log_softmax": Formula(3, lambda x, top, total: (x - top) - total),
    "log_softmax_backward": Formula(3, lambda dy, y, total: dy - exponential.exp(y) * total),
    "logsumexp_backward": Formula(3, lambda dy, x, y: dy * exponential.exp(x - r.finite_or_zero(y))),
}
TABLE |= activations.ROWS | losses.ROWS

# Scratch: int64 words (the index along each axis), then for every array a block of STAGED elements.
STAGED = 512
BLOCKS = 512


@kernel
def map(function: str, dtype: str) -> Any:
    """The kernel of a row of `TABLE`; the note at the head of this file describes its arguments."""
    row = TABLE[function]
    arrays = row.operands + 1
    result = row.result or dtype
    dtypes = [result, *["bool"] * row.bools, *[dtype] * (row.operands - row.bools)]
    sizes = [ITEMSIZES[d] for d in dtypes]
    total, block, ndim_at, shape = arrays, arrays + 1, arrays + 2, arrays + 3

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        index = code.words(scratch)
        ndim = args[ndim_at]
        inner = ndim - 1
        extent = args[inner + shape]
        # args[strides[k] + axis] is an array's stride along an axis.
        strides = [ndim * (k + 1) + shape for k in range(arrays)]
        steps = [args[own + inner] for own in strides]
        blocks = [scratch + (BLOCKS + k * STAGED * 8) for k in range(arrays)]
        cells = [code.words(args[ndim * (arrays + 1) + (shape + c)]) for c in range(row.cells)]
        numbers = [number_of(cell, dtype) for cell in cells]

        longest = code.local(extent)
        for k, step in enumerate(steps):
            staged = step.compare("!=", 1) if k == 0 else (step.compare("!=", 1) & step.compare("!=", 0))
            longest.now = select(staged, smaller(extent, STAGED), longest.now)

        # An odometer: the index along each axis and each array's address, first at the chunks' first element.
        done = code.local(first * args[block])
        stop = smaller(last * args[block], args[total])
        rest = code.local(done.now)
        current = [code.local(args[k]) for k in range(arrays)]

        def advance(axis: Value, by: Value) -> None:
            for own, at, size in zip(strides, current, sizes, strict=True):
                at.now = at.now + by * args[own + axis] * size

        with code.range(0, ndim) as left:
            axis = inner - left
            own = rest.now % args[axis + shape]
            rest.now = rest.now // args[axis + shape]
            index[axis] = own
            advance(axis, own)

        with code.while_(lambda: done.now.compare("<", stop)):
            position = index[inner]
            length = smaller(smaller(extent - position, stop - done.now), longest.now)
            places = []
            for k, (step, at) in enumerate(zip(steps, current, strict=True)):
                aside = step.compare("!=", 1)
                places.append(select(aside, blocks[k], at.now))
                if k:
                    count = select(step.compare("==", 0), code.number(2 * VECTOR_BYTES // sizes[k]), length)
                    with code.when(aside):
                        code.move(sizes[k], blocks[k], sizes[k], at.now, step * sizes[k], count)
            again = [code.number(1)] + [select(s.compare("==", 0), s, code.number(1)) for s in steps[1:]]
            entry = [v.value for v in (*places, *again)]
            sweep_loop(code.builder, row.expression, dtypes, 1, entry, numbers, length.value)
            with code.when(steps[0].compare("!=", 1)):
                code.move(sizes[0], current[0].now, steps[0] * sizes[0], blocks[0], sizes[0], length)

            done.now = done.now + length
            at_end = (position + length).compare("==", extent)
            index[inner] = select(at_end, code.number(0), position + length)
            advance(inner, select(at_end, length - extent, length))
            carry = code.local(select(at_end, inner - 1, code.number(-1)))
            with code.while_(lambda: carry.now.compare(">=", 0)):
                here = carry.now
                following = index[here] + 1
                wraps = following.compare("==", args[here + shape])
                index[here] = select(wraps, code.number(0), following)
                advance(here, select(wraps, 1 - args[here + shape], code.number(1)))
                carry.now = select(wraps, here - 1, code.number(-1))

    return traced(emit)


def number_of(cell: Words, dtype: str) -> Value:
    """A float64 cell's value, rounded to the dtype."""
    builder = cell.builder
    value = builder.bitcast(cell[0].value, ELEMENTS["float64"])
    if dtype == "float32":
        value = builder.fptrunc(value, ELEMENTS["float32"])
    return Value(builder, value)
