"""Lowering of functions of elements: how operands of any layout become one phase."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from fastnn.ops.lowering import Array, Cell, Lowering, join_axes, reads, updates, writes

# Nanoseconds an element on one thread where operands are in the second-level cache (float32; float64 takes twice that).
COST = {
    "divide": 0.4,
    "exp": 0.45,
    "softmax": 0.6,
    "log_softmax_backward": 0.5,
    "log": 0.6,
    "tanh": 0.7,
    "sigmoid": 0.75,
    "erf": 0.65,
    "erf_backward": 0.3,
    "gelu": 0.75,
    "gelu_backward": 0.65,
    "gelu_tanh": 0.65,
    "gelu_tanh_backward": 0.75,
    "silu": 0.5,
    "silu_backward": 0.5,
    **dict.fromkeys(("exp2", "sin", "cos", "sinc", "sin_backward", "cos_backward", "hypot", "remainder"), 0.5),
    **dict.fromkeys(("logaddexp_backward", "logaddexp2_backward", "exp2_backward", "fmod"), 0.4),
    **dict.fromkeys(("tan", "expm1", "log2", "log10", "asin", "acos", "atan", "floor_divide", "entropy"), 0.7),
    **dict.fromkeys(("remainder_backward", "xlogy", "xlogy_backward_x", "entropy_backward", "sinc_backward"), 0.8),
    **dict.fromkeys(("log1p", "cosh", "sinh", "atan2", "sinh_backward", "cosh_backward", "xlog1py"), 1.0),
    **dict.fromkeys(("asinh", "acosh", "atanh", "logit", "erfinv_backward", "xlog1py_backward_x"), 1.3),
    **dict.fromkeys(("logaddexp", "logaddexp2", "erfc", "erfinv"), 2.3),
    **dict.fromkeys(("power", "power_backward_x", "power_backward_y"), 3.0),
    **dict.fromkeys(("elu", "selu", "celu", "elu_backward", "selu_backward", "celu_backward"), 0.45),
    **dict.fromkeys(("softplus", "logsigmoid", "softplus_backward", "logsigmoid_backward"), 0.8),
    **dict.fromkeys(("mish_backward", "tanhshrink", "tanhshrink_backward", "glu", "glu_backward"), 0.75),
    **dict.fromkeys(("glu_gate_backward", "soft_margin", "bce_logits", "bce_logits_input", "gaussian"), 0.8),
    **dict.fromkeys(("softsign", "softsign_backward", "kl_div", "kl_div_target", "poisson_log", "bce_input"), 0.6),
    **dict.fromkeys(("mish", "bce", "bce_target"), 1.3),
}
PLAIN_COST = 0.18
CHUNK_NS = 10_000
MOST_CHUNKS = 60_000
MOST_AXES = 32
TILED_FROM = 4096  # elements from which a copy between different orders of axes goes tile by tile
TILE = 32
ANY_ORDER = 512  # elements up to which the order of axes does not matter


def cut(elements: int, nanoseconds: float, multiple: int = 1024) -> tuple[int, int]:
    """Divide `elements` into chunks of about 10 us: elements a chunk (a multiple of `multiple`) and chunks."""
    block = max(multiple, int(CHUNK_NS / nanoseconds) // multiple * multiple)
    if elements * nanoseconds < 2 * CHUNK_NS:
        block = max(elements, 1)
    block = max(block, -(-elements // MOST_CHUNKS // multiple) * multiple)
    return block, -(-elements // block)


def groups(count: int, nanoseconds: float, multiple: int = 1) -> tuple[int, int, float]:
    """Divide `count` items of `nanoseconds` each into chunks of about 10 us.

    Items a chunk (a multiple of `multiple` where chunks are that large), chunks, and the work of all.
    """
    group = max(1, int(CHUNK_NS / max(nanoseconds, 1.0)) // multiple * multiple, -(-count // MOST_CHUNKS))
    if count * nanoseconds < 2 * CHUNK_NS:
        group = max(1, count)
    return group, -(-count // group), count * nanoseconds


def memory_order(shape: Sequence[int], operands: Sequence[Array]) -> tuple[int, ...]:
    """The order of axes, outermost first, in which the first operand of the full shape lies; C order if none is."""
    axes = tuple(range(len(shape)))
    for x in operands:
        if x.shape == tuple(shape) and all(s > 0 for s, n in zip(x.strides, x.shape, strict=True) if n > 1):
            own = x.strides
            return axes if x.contiguous else tuple(sorted(axes, key=lambda a: -own[a]))
    return axes


def apply(
    low: Lowering, function: str, out: Array, *operands: Array, cells: Sequence[Cell] = (), in_place: bool = False
) -> Array:
    """Append the phase that computes a row of the elementwise table; operands broadcast to the result.

    Parameters
    ----------
    function : name of the row in `fastnn._kernels.elementwise.TABLE`.
    out : the result; it may lie exactly where the first operand does (`in_place`).
    operands : those that are bools come first, if not all are.
    """
    if out.size == 0:
        return out
    order = sorted(range(out.ndim), key=lambda axis: -abs(out.strides[axis]))
    arrays = [out, *(x.broadcast_to(out.shape) for x in operands)]
    shape, strides = join_axes([out.shape[a] for a in order], [[x.strides[a] for a in order] for x in arrays])
    if not shape:
        shape, strides = (1,), [(1,)] * len(arrays)
    if len(shape) > MOST_AXES:
        raise ValueError(f"{function}: at most {MOST_AXES} axes that do not join, got {len(shape)}")
    dtype = operands[-1].dtype if operands else out.dtype
    if function == "copy" and not in_place and np.dtype(out.dtype).kind == "f" and transposes(shape, *strides):
        return _transpose(low, out, operands[0], shape, *strides)
    if function == "copy" and out.size >= TILED_FROM and _copied_by_tiles(low, out, operands[0], shape, strides):
        return out
    cost = COST.get(function, PLAIN_COST) * np.dtype(dtype).itemsize / 4
    if any(s[-1] not in (0, 1) for s in strides):
        cost += 1.0
    cost += 15.0 / shape[-1] if len(shape) > 1 else 0.0
    block, chunks = cut(out.size, cost)
    storage = low.storages[out.storage]
    # chunks of a part of what was allocated do not lie side by side in it, nor do those of a caller's array
    apart = storage.kind == "out" or (storage.kind != "input" and storage.nbytes != out.size * out.itemsize)
    low.phase(
        "elementwise.map",
        [
            updates(out) if in_place else writes(out),
            *(reads(x) for x in operands),
            out.size,
            block,
            len(shape),
            *shape,
            *(step for own in strides for step in own),
            *cells,
        ],
        chunks=chunks,
        work=out.size * cost + 50,
        block=0 if apart else block,
        flops=0 if function == "copy" else out.size,
        function=function,
        dtype=dtype,
    )
    return out


def _copied_by_tiles(
    low: Lowering, out: Array, x: Array, shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> bool:
    """Append a copy that turns around or transposes the axes of its operand; False where another one serves it."""
    to, of = strides
    axes = range(len(shape) - 1)
    if to[-1] != 1 or of[-1] in (0, 1):
        return False
    if of[-1] == -1:
        row, high, wide, cost = len(shape) - 2, 1, 4096, 0.2
    else:
        row, high, wide, cost = next((a for a in axes if abs(of[a]) == 1), -1), TILE, TILE, 0.8
        if row < 0:
            return False
    rows, columns = (shape[row], shape[-1]) if len(shape) > 1 else (1, shape[-1])
    others = [a for a in axes if a != row]
    items = out.size // (rows * columns) * -(-rows // high) * -(-columns // wide)
    group = max(1, int(CHUNK_NS / (cost * min(rows, high) * min(columns, wide))), -(-items // MOST_CHUNKS))
    low.note("copied tile by tile: the operand steps through memory another way")
    low.phase(
        "indexing.transposed",
        [
            updates(out), reads(x), rows, columns, to[row] if rows > 1 else 0, of[row] if rows > 1 else 0, of[-1],
            high, wide, items, group, len(others), *(shape[a] for a in others), *(to[a] for a in others),
            *(of[a] for a in others),
        ],
        chunks=-(-items // group),
        work=out.size * cost * out.itemsize / 4 + 50,
        flops=0,
        dtype="int8" if out.dtype == "bool" else out.dtype,
    )  # fmt: skip
    return True


LEAST_TILE = 8  # extent of both axes from which transposing by tiles pays
TILE_COST = 0.35  # nanoseconds an element of float32


def transposes(shape: Sequence[int], out: Sequence[int], x: Sequence[int]) -> bool:
    """Whether a copy turns the axis along which the source lies into one across: for the joined axes' strides."""
    return (
        len(shape) > 1
        and out[-1] == 1 != x[-1]
        and shape[-1] >= LEAST_TILE
        and any(step == 1 and n >= LEAST_TILE for step, n in zip(x[:-1], shape[:-1], strict=True))
    )


def lies_across(x: Array) -> bool:
    """Whether the elements lie along another axis than the last, so that a copy in C order transposes."""
    shape, (strides,) = join_axes(x.shape, [x.strides])
    return transposes(shape, (1,) * len(shape), strides)


def _transpose(
    low: Lowering, out: Array, x: Array, shape: Sequence[int], to: Sequence[int], of: Sequence[int]
) -> Array:
    """Append the phase that copies by transposed tiles."""
    from fastnn._kernels.cpu import target

    size, width = out.itemsize, target().vector_bytes
    deep = next(axis for axis in range(len(shape) - 1) if of[axis] == 1 and shape[axis] >= LEAST_TILE)
    outer = [axis for axis in range(len(shape) - 1) if axis != deep]
    items = -(-shape[deep] // (width // size)) * math.prod(shape[axis] for axis in outer)
    group, chunks, work = groups(items, out.size / items * TILE_COST * size / 4 + 10)
    beyond = [shape[a] for a in outer] + [to[a] * size for a in outer] + [of[a] * size for a in outer]
    low.phase(
        "transposition.copy",
        [
            writes(out), reads(x), shape[-1], shape[deep], of[-1] * size, to[deep] * size, group, len(outer),
            *beyond,
        ],
        chunks=chunks,
        work=work,
        flops=0,
        dtype=out.dtype,
        width=width,
    )  # fmt: skip
    return out


def pays_into(out: Array, order: Sequence[int]) -> bool:
    """Whether writing straight to a caller's array is faster than copying to it what was made in the given order.

    The loop follows the result's order of axes. Where operands lie in another one it steps through memory in strides,
    and `numpy.copyto` transposes better than that once the elements leave the first-level cache.
    """
    if out.ndim > MOST_AXES:
        return False
    steps = [abs(out.strides[axis]) for axis in order if out.shape[axis] > 1]
    return out.size <= ANY_ORDER or steps == sorted(steps, reverse=True)


def contiguous(low: Lowering, x: Array) -> Array:
    """The array itself if its elements lie in C order, else a copy that does."""
    if x.contiguous:
        return x
    low.note("copied first: the elements do not lie in C order")
    return apply(low, "copy", low.temporary(x.shape, x.dtype), x)


def lowered(function: str, result: str | None = None, cells: Sequence[str] = ()) -> Callable[..., Array]:
    """Lowering of a function of elements: one phase, the result laid out as its first full operand.

    `cells` : names of the op's hyper-parameters, in the order in which the row takes them.
    """

    def lower(low: Lowering, *operands: Array) -> Array:
        shape = np.broadcast_shapes(*(x.shape for x in operands))
        order = memory_order(shape, operands)
        out = low.output(shape, result or operands[-1].dtype, order, into=lambda out: pays_into(out, order))
        return apply(low, function, out, *operands, cells=[low.cell(n) for n in cells])

    return lower


def like(
    low: Lowering, function: str, *operands: Array, model: Array | None = None, cells: Sequence[str] = ()
) -> Array:
    """A gradient, laid out as `model` (default: as the first full operand): one phase."""
    shape = np.broadcast_shapes(*(x.shape for x in operands))
    order = memory_order(shape, operands if model is None else (model, *operands))
    out = low.output(shape, operands[-1].dtype, order)
    return apply(low, function, out, *operands, cells=[low.cell(n) for n in cells])
