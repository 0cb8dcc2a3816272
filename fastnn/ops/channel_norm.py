"""Batch and group normalisation: channels (the second axis) by moments over space and samples, or groups of channels.

Whether channels or space lie side by side in memory, elements are read where they lie; only other orders are copied.
Moments are taken by blocks, in two passes each, and combined in float64 (`fastnn._kernels.channel_norm`, note B): a
float32 variance errs by 1e-7 of itself (measured) even where the mean is thousands of deviations from 0.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import ShapeError
from fastnn.ops.elementwise import apply as elementwise
from fastnn.ops.elementwise import contiguous, groups, memory_order
from fastnn.ops.lowering import Array, Lowering, Operand, reads, writes
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.views import fill

__all__ = ["batch_norm", "batch_norm_inference", "batch_norm_relu", "group_norm"]

LEAST_ROWS, MOST_ROWS = 32, 128  # rows a block where channels lie side by side
BLOCK_BYTES = 1 << 16  # of such a block, where that leaves enough rows
LINE = 2048  # elements a block where space lies side by side
WIDE = 8  # channels that are combined at once


class Image(NamedTuple):
    """An array as (samples, space, channels).

    Attributes
    ----------
    last : whether channels lie side by side; else space does.
    steps : distances of samples, of places in space and of channels (elements).
    """

    array: Array
    last: bool
    samples: int
    space: int
    channels: int
    steps: tuple[int, int, int]

    @property
    def rows(self) -> int:
        """Rows (places in space) a block."""
        if not self.last:
            return LINE
        fitting = BLOCK_BYTES // (self.channels * self.array.itemsize)
        return min(max(fitting // 16 * 16, LEAST_ROWS), MOST_ROWS)

    @property
    def blocks(self) -> int:
        """Blocks a sample."""
        return -(-self.space // self.rows)


def lies_last(x: Array) -> bool:
    """Whether channels lie side by side below samples and space, or there is no space that could."""
    order = [axis for axis in memory_order(x.shape, (x,)) if x.shape[axis] != 1]
    wanted = [axis for axis in _order(x.ndim, True) if x.shape[axis] != 1]
    return math.prod(x.shape[2:]) == 1 or order == wanted != sorted(wanted)


def _order(ndim: int, last: bool) -> tuple[int, ...]:
    """The axes from the outermost in memory."""
    return (0, *range(2, ndim), 1) if last else tuple(range(ndim))


def _image(low: Lowering, x: Array, last: bool, pooled: bool) -> Image:
    """The image of an array; a copy where it lies neither way. `pooled` makes one sample of all where that goes."""
    n, c, s = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    order = _order(x.ndim, last)
    if not x.permuted(order).contiguous:
        low.note("copied first: neither channels nor space lie side by side")
        dense = low.temporary([x.shape[a] for a in order], x.dtype)
        x = elementwise(low, "copy", dense.permuted(np.argsort(order).tolist()), x)
    steps = (c * s, c, 1) if last else (c * s, 1, s)
    if last and pooled:
        return Image(x, last, 1, n * s, c, (0, *steps[1:]))
    return Image(x, last, n, s, c, steps)


def _by_blocks(
    low: Lowering, kernel: str, image: Image, args: list[Any], then: list[Any], cost: float, **static: bool
) -> None:
    """Append a phase over the blocks of an image."""
    items = image.samples * (image.blocks if image.last else image.channels)
    nanoseconds = cost * image.array.size * image.array.itemsize / 4 / max(items, 1) + 20
    group, chunks, work = groups(items, nanoseconds)
    if image.array.size == 0:
        chunks = 0
    low.phase(
        f"channel_norm.{kernel}",
        [*args, image.samples, image.space, image.channels, image.rows, image.blocks, group, *then],
        chunks=chunks,
        work=work,
        flops=4 * image.array.size,
        dtype=image.array.dtype,
        last=image.last,
        **static,
    )


def _moments(low: Lowering, image: Image) -> tuple[Array, Array, Array]:
    """Append the phase that takes each block's means, distances from them, and squares of those."""
    shape = (image.samples, image.blocks, image.channels)
    means, rests, squares = (low.temporary(shape, image.array.dtype) for _ in range(3))
    given = [writes(means), writes(squares), reads(image.array), writes(rests), 0]
    _by_blocks(low, "moments", image, given, list(image.steps), 0.15)
    return means, rests, squares


def _optional(low: Lowering, array: Array | None) -> Operand | int:
    return 0 if array is None else reads(contiguous(low, array))


def _over_channels(low: Lowering, kernel: str, channels: int, rows: int, args: list[Any], then: list[int]) -> None:
    """Append a phase over channels, each of which reads some rows."""
    group, chunks, work = groups(channels, 1.0 * rows + 2, WIDE)
    low.phase(
        f"channel_norm.{kernel}",
        [*args, channels, group, *then],
        chunks=chunks,
        work=work,
        flops=4 * channels * rows,
        dtype=next(a.array.dtype for a in args if isinstance(a, Operand)),
    )


def _over_groups(low: Lowering, kernel: str, image: Image, count: int, args: list[Any], then: list[int]) -> None:
    """Append a phase over the groups of channels of each sample."""
    width = image.channels // count
    group, chunks, work = groups(image.samples * count, 3.0 * width * image.blocks + 10)
    low.phase(
        f"channel_norm.{kernel}",
        [*args, image.samples, count, width, group, *then],
        chunks=chunks if width else 0,
        work=work,
        flops=4 * image.samples * image.blocks * image.channels,
        dtype=image.array.dtype,
    )


def _apply(
    low: Lowering, form: str, model: Image, out: Array, streams: list[Image], numbers: list[tuple[Array, bool]]
) -> Array:
    """Append a form of all elements; `numbers` come with whether samples have their own."""
    lines, length = (model.space, model.channels) if model.last else (model.channels, model.space)
    group, chunks, work = groups(model.samples * lines, length * 0.12 * (1 + len(streams)) * out.itemsize / 4 + 1)
    at_once = _at_once(length) if model.last else 1
    low.phase(
        "channel_norm.apply",
        [
            writes(out), *(reads(image.array) for image in streams), *(reads(array) for array, _ in numbers),
            model.samples, lines, length, group, at_once, *(model.channels if own else 0 for _, own in numbers),
        ],
        chunks=chunks if out.size else 0,
        work=work,
        block=group * length,
        flops=3 * len(streams) * out.size,
        dtype=out.dtype,
        last=model.last,
        form=form,
    )  # fmt: skip
    return out


def _at_once(channels: int) -> int:
    """Lines of channels that are taken at once: about 512 elements, whole pairs of vectors where that is possible."""
    even = 32 // math.gcd(channels, 32)
    lines = -(-512 // channels)
    whole = -(-lines // even) * even
    return whole if whole * channels <= 2048 else lines


def _channels(name: str, shapes: dict[str, Shape | None]) -> tuple[Shape, int]:
    """The shape of x and its channels; ShapeError where something does not go with them."""
    x = shapes["x"]
    assert x is not None
    if len(x) < 2:
        raise ShapeError(f"{name}: x must have at least 2 axes, (N, C, *), got {x}")
    for other in ("mean", "variance", "weight", "bias"):
        own = shapes.get(other)
        if own is not None and own != (x[1],):
            raise ShapeError(f"{name}: {other} must have shape ({x[1]},) to match x {x}, got {own}")
    return x, x[1]


def _beside(array: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Numbers of channels (or of samples' channels), to broadcast with x."""
    return array.reshape((*array.shape[:-1], x.shape[1]) + (1,) * (x.ndim - 2))


def _affine(z: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
    z = z if weight is None else z * _beside(weight, z)
    return z if bias is None else z + _beside(bias, z)


def _others(x: np.ndarray) -> tuple[int, ...]:
    """All axes but the channels'."""
    return (0, *range(2, x.ndim))


# -- batch normalisation


def _batch_norm(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, *, eps: float = 1e-5
) -> tuple[np.ndarray, ...]:
    """``(x - mean) / sqrt(v + eps) * weight + bias`` by the moments of each channel over all other axes.

    v divides the sum of squares by n; the variance that is returned, beside the mean, divides it by n - 1.
    Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
    ICML 2015.
    """
    axes = _others(x)
    count = math.prod(x.shape[a] for a in axes)
    mean = np.true_divide(x.sum(axis=axes), count)
    centered = x - _beside(mean, x)
    squares = (centered * centered).sum(axis=axes)
    rstd = 1 / np.sqrt(np.true_divide(squares, count) + eps)
    return (
        _affine(centered * _beside(rstd, x), weight, bias),
        mean,
        np.true_divide(squares, count - 1),
        rstd,
    )


def _batch_rule(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x, channels = _channels(name, shapes)
    return [x, (channels,), (channels,), (channels,)]


def _batch_backward(
    ctx: Saved, dy: np.ndarray | None, dmean: np.ndarray | None, dvariance: np.ndarray | None
) -> tuple[np.ndarray, ...]:
    x, weight, rstd = ctx.saved["x"], ctx.saved.get("weight"), ctx.saved["rstd"]
    axes = _others(x)
    count = math.prod(x.shape[a] for a in axes)
    centered = x - _beside(ctx.saved["mean"], x)
    dy = np.zeros_like(x) if dy is None else dy
    z = centered * _beside(rstd, x)
    dbias, dweight = dy.sum(axis=axes), (dy * z).sum(axis=axes)
    scale = rstd if weight is None else rstd * weight
    level = -scale * dbias / count
    if dmean is not None:
        level = level + dmean / count
    dx = dy * _beside(scale, x) + _beside(level, x) - z * _beside(scale * dweight / count, x)
    if dvariance is not None:
        dx = dx + centered * _beside(2 * dvariance / (count - 1), x)
    return dx, dweight, dbias


def _lower_batch(low: Lowering, x: Array, weight: Array | None, bias: Array | None) -> tuple[Array, ...]:
    y, mean, variance, rstd, scale, image = _normalised(low, x, weight, kept=False)
    _apply_affine(low, image, y, mean, scale, bias, own=False)
    return y, mean, variance, rstd


def _normalised(low: Lowering, x: Array, weight: Array | None, kept: bool) -> tuple[Any, ...]:
    """Where y goes, and the phases that take a batch's moments; `kept` makes scales an output."""
    last = lies_last(x)
    y = low.output(x.shape, x.dtype, _order(x.ndim, last))
    mean, variance, rstd = (low.output((x.shape[1],), x.dtype) for _ in range(3))
    scale = (low.output if kept else low.temporary)((x.shape[1],), x.dtype)
    image = _image(low, x, last, pooled=True)
    means, rests, squares = _moments(low, image)
    given = [writes(mean), writes(variance), writes(rstd), writes(scale), reads(means), reads(rests), reads(squares)]
    _over_channels(
        low, "pooled", image.channels, 2 * image.samples * image.blocks,
        [*given, _optional(low, weight), low.cell("eps")], [image.samples, image.space, image.rows, image.blocks],
    )  # fmt: skip
    return y, mean, variance, rstd, scale, image


def _apply_affine(
    low: Lowering, image: Image, y: Array, mean: Array, scale: Array, bias: Array | None, own: bool
) -> None:
    numbers = [(mean, own), (scale, own)]
    if bias is not None:
        numbers.append((contiguous(low, bias), False))
    _apply(low, "centered" if bias is None else "affine", image, y, [image], numbers)


def _products(
    low: Lowering, x: Image, dy: Image, mean: Array, own: bool, gate: tuple[Array, ...] = ()
) -> tuple[Array, Array]:
    """Append the phase that takes each block's sums of dy and of ``dy (x - mean)``.

    `gate` : scales and biases of the channels, where what follows them is a relu whose result got dy.
    """
    shape = (x.samples, x.blocks, x.channels)
    sums, products = (low.temporary(shape, x.array.dtype) for _ in range(2))
    given = [writes(sums), writes(products), reads(dy.array), reads(x.array), reads(mean)]
    then = [*dy.steps, *x.steps, x.channels if own else 0, 0, 1, *map(reads, gate)]
    _by_blocks(low, "products", x, given, then, 0.3, gated=bool(gate))
    return sums, products


def _parameter_gradients(
    low: Lowering, x: Image, sums: Array, products: Array, rstd: Array, own: bool
) -> tuple[Array, Array]:
    """Append the phase that gives the gradients of bias and weight."""
    bias, weight = (
        (low.output if low.needs[name] else low.temporary)((x.channels,), x.array.dtype) for name in ("bias", "weight")
    )
    given = [writes(bias), writes(weight), reads(sums), reads(products), reads(rstd)]
    rows = x.samples * x.blocks
    then = [x.samples, x.blocks, x.channels if own else 0]
    _over_channels(low, "channel_sums", x.channels, 2 * rows, given, then)
    return bias, weight


def _lower_batch_backward(low: Lowering, dy: Array | None, dmean: Array | None, dvariance: Array | None) -> Any:
    return _backward_by_batch(low, dy, dmean, dvariance, ())


def _backward_by_batch(
    low: Lowering, dy: Array | None, dmean: Array | None, dvariance: Array | None, gate: tuple[Array, ...]
) -> Any:
    x, mean, rstd = low.saved["x"], low.saved["mean"], low.saved["rstd"]
    if dy is None:
        return NotImplemented
    last = lies_last(x)
    image, given = _image(low, x, last, pooled=True), _image(low, dy, last, pooled=True)
    sums, products = _products(low, image, given, mean, own=False, gate=gate)
    dbias, dweight = _parameter_gradients(low, image, sums, products, rstd, own=False)
    if not low.needs["x"]:
        return None, dweight, dbias
    dx = low.output(x.shape, x.dtype, _order(x.ndim, last))
    a, b, c = (low.temporary((image.channels,), x.dtype) for _ in range(3))
    _over_channels(
        low, "pooled_coefficients", image.channels, 4,
        [
            writes(a), writes(b), writes(c), reads(dbias), reads(dweight), reads(rstd),
            *(_optional(low, array) for array in (low.saved.get("weight"), dmean, dvariance)),
        ],
        [image.samples * image.space],
    )  # fmt: skip
    form = "backward_relu" if gate else "backward"
    _apply(low, form, image, dx, [given, image], [(n, False) for n in (mean, a, b, c, *gate)])
    return dx, dweight, dbias


# -- batch normalisation, then what is not negative


def _batch_norm_relu(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, *, eps: float = 1e-5
) -> tuple[np.ndarray, ...]:
    """``relu(batch_norm(x, weight, bias))``, and what `batch_norm` gives beside it.

    The backward pass computes again which elements the relu let through, so neither what it took nor what it gave is
    kept.
    """
    z, mean, variance, rstd = _batch_norm(x, weight, bias, eps=eps)
    return np.where(z <= 0, 0, z).astype(x.dtype), mean, variance, rstd, rstd if weight is None else rstd * weight


def _batch_relu_backward(
    ctx: Saved, dy: np.ndarray | None, dmean: np.ndarray | None, dvariance: np.ndarray | None
) -> tuple[np.ndarray, ...]:
    x = ctx.saved["x"]
    if dy is not None:
        z = (x - _beside(ctx.saved["mean"], x)) * _beside(ctx.saved["scale"], x)
        bias = ctx.saved.get("bias")
        dy = np.where((z if bias is None else z + _beside(bias, x)) <= 0, 0, dy).astype(dy.dtype)
    return _batch_backward(ctx, dy, dmean, dvariance)


def _batch_relu_rule(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    kept = _batch_rule(name, shapes, attrs)
    return [*kept, kept[-1]]


def _biases(low: Lowering, bias: Array | None, scale: Array) -> Array:
    if bias is not None:
        return contiguous(low, bias)
    return fill(low, low.temporary(scale.shape, scale.dtype))


def _lower_batch_relu(low: Lowering, x: Array, weight: Array | None, bias: Array | None) -> tuple[Array, ...]:
    y, mean, variance, rstd, scale, image = _normalised(low, x, weight, kept=True)
    _apply(low, "affine_relu", image, y, [image], [(n, False) for n in (mean, scale, _biases(low, bias, scale))])
    return y, mean, variance, rstd, scale


def _lower_batch_relu_backward(low: Lowering, dy: Array | None, dmean: Array | None, dvariance: Array | None) -> Any:
    scale = low.saved["scale"]
    return _backward_by_batch(low, dy, dmean, dvariance, (scale, _biases(low, low.saved.get("bias"), scale)))


# -- by given moments


def _inference(
    x: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    weight: np.ndarray | None,
    bias: np.ndarray | None,
    *,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray]:
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` by given moments of each channel."""
    rstd = 1 / np.sqrt(variance + eps)
    return _affine((x - _beside(mean, x)) * _beside(rstd, x), weight, bias), rstd


def _inference_rule(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x, channels = _channels(name, shapes)
    return [x, (channels,)]


def _inference_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
    x, weight, rstd = ctx.saved["x"], ctx.saved.get("weight"), ctx.saved["rstd"]
    z = (x - _beside(ctx.saved["mean"], x)) * _beside(rstd, x)
    scale = rstd if weight is None else rstd * weight
    axes = _others(x)
    return dy * _beside(scale, x), None, None, (dy * z).sum(axis=axes), dy.sum(axis=axes)


def _scales(low: Lowering, rstd: Array, variance: Array, weight: Array | None) -> Array:
    scale = low.temporary(rstd.shape, rstd.dtype)
    given = [writes(rstd), writes(scale), reads(contiguous(low, variance)), _optional(low, weight), low.cell("eps")]
    _over_channels(low, "scales", rstd.shape[0], 4, given, [])
    return scale


def _lower_inference(
    low: Lowering, x: Array, mean: Array, variance: Array, weight: Array | None, bias: Array | None
) -> tuple[Array, Array]:
    last = lies_last(x)
    y = low.output(x.shape, x.dtype, _order(x.ndim, last))
    rstd = low.output((x.shape[1],), x.dtype)
    scale = _scales(low, rstd, variance, weight)
    image = _image(low, x, last, pooled=True)
    _apply_affine(low, image, y, contiguous(low, mean), scale, bias, own=False)
    return y, rstd


def _lower_inference_backward(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
    x, weight, rstd = low.saved["x"], low.saved.get("weight"), low.saved["rstd"]
    last = lies_last(x)
    given = _image(low, dy, last, pooled=True)
    dx = dweight = dbias = None
    if low.needs["weight"] or low.needs["bias"]:
        image = _image(low, x, last, pooled=True)
        sums, products = _products(low, image, given, contiguous(low, low.saved["mean"]), own=False)
        dbias, dweight = _parameter_gradients(low, image, sums, products, rstd, own=False)
    if low.needs["x"]:
        scale = rstd
        if weight is not None:
            scale = elementwise(low, "multiply", low.temporary(rstd.shape, rstd.dtype), rstd, weight)
        dx = low.output(x.shape, x.dtype, _order(x.ndim, last))
        _apply(low, "scaled", given, dx, [given], [(scale, False)])
    return dx, None, None, dweight, dbias


# -- group normalisation


def _check_groups(attributes: dict[str, Any]) -> dict[str, Any]:
    count = attributes["groups"]
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
        raise TypeError(f"group_norm: groups must be an integer, got {count!r}")
    if count < 1:
        raise ValueError(f"group_norm: groups must be positive, got {count}")
    return {"groups": int(count)}


def _group_rule(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x, channels = _channels(name, shapes)
    if channels % attrs["groups"]:
        raise ShapeError(f"{name}: the channels of x {x} must be divisible by groups {attrs['groups']}")
    return [x, x[:2], x[:2]]


def _grouped(x: np.ndarray, count: int) -> np.ndarray:
    """The elements of each group in a row, (N, groups, *)."""
    return x.reshape(x.shape[0], count, math.prod(x.shape[1:]) // count)


def _group_norm(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, *, groups: int, eps: float = 1e-5
) -> tuple[np.ndarray, ...]:
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` by the moments of each sample's groups of channels.

    With as many groups as channels it is instance normalisation. What is saved holds a group's moments for each of its
    channels. Wu, He, "Group Normalization", ECCV 2018.
    """
    rows = _grouped(x, groups)
    mean = np.true_divide(rows.sum(axis=2), rows.shape[2])
    centered = rows - mean[..., None]
    rstd = 1 / np.sqrt(np.true_divide((centered * centered).sum(axis=2), rows.shape[2]) + eps)
    z = (centered * rstd[..., None]).reshape(x.shape)
    width = x.shape[1] // groups
    return _affine(z, weight, bias), np.repeat(mean, width, axis=1), np.repeat(rstd, width, axis=1)


def _group_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray, ...]:
    x, weight, count = ctx.saved["x"], ctx.saved.get("weight"), ctx.attrs["groups"]
    rstd = _beside(ctx.saved["rstd"], x)
    z = (x - _beside(ctx.saved["mean"], x)) * rstd
    g = dy if weight is None else dy * _beside(weight, dy)
    rows, own = _grouped(z, count), _grouped(g, count)
    number = rows.shape[2]
    along = np.true_divide((own * rows).sum(axis=2, keepdims=True), number)
    level = np.true_divide(own.sum(axis=2, keepdims=True), number)
    dx = (own - level - rows * along).reshape(x.shape) * rstd
    axes = _others(x)
    return dx, (dy * z).sum(axis=axes), dy.sum(axis=axes)


def _lower_group(low: Lowering, x: Array, weight: Array | None, bias: Array | None) -> tuple[Array, ...]:
    last = lies_last(x)
    y = low.output(x.shape, x.dtype, _order(x.ndim, last))
    mean, rstd = (low.output(x.shape[:2], x.dtype) for _ in range(2))
    scale = low.temporary(x.shape[:2], x.dtype)
    image = _image(low, x, last, pooled=False)
    means, rests, squares = _moments(low, image)
    given = [writes(mean), writes(rstd), writes(scale), reads(means), reads(squares)]
    _over_groups(
        low, "grouped", image, low.attrs["groups"], [*given, _optional(low, weight), low.cell("eps"), reads(rests)],
        [image.space, image.rows, image.blocks],
    )  # fmt: skip
    _apply_affine(low, image, y, mean, scale, bias, own=True)
    return y, mean, rstd


def _lower_group_backward(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
    x, mean, rstd = low.saved["x"], low.saved["mean"], low.saved["rstd"]
    last = lies_last(x)
    image, given = _image(low, x, last, pooled=False), _image(low, dy, last, pooled=False)
    sums, products = _products(low, image, given, mean, own=True)
    dx = dweight = dbias = None
    if low.needs["weight"] or low.needs["bias"]:
        dbias, dweight = _parameter_gradients(low, image, sums, products, rstd, own=True)
    if low.needs["x"]:
        dx = low.output(x.shape, x.dtype, _order(x.ndim, last))
        a, b, c = (low.temporary(x.shape[:2], x.dtype) for _ in range(3))
        _over_groups(
            low, "grouped_coefficients", image, low.attrs["groups"],
            [
                writes(a), writes(b), writes(c), reads(sums), reads(products), reads(rstd),
                _optional(low, low.saved.get("weight")), 0,
            ],
            [image.space, image.blocks],
        )  # fmt: skip
        _apply(low, "backward", image, dx, [given, image], [(n, True) for n in (mean, a, b, c)])
    return dx, dweight, dbias


# -- declarations

_SHAPES: list[Shape] = [(7, 3), (33, 20), (2, 5, 7), (3, 70, 4), (2, 3, 5, 4), (1, 2, 50, 50), (2, 2, 2, 3, 2)]


def _case(shape: Shape, without: tuple[str, ...] = (), moments: bool = False, **attributes: Any) -> dict[str, Any]:
    channels = (shape[1],)
    given = {n: None if n in without else channels for n in ("weight", "bias")}
    own = {"mean": channels, "variance": channels} if moments else {}
    return {"x": shape, **own, **given, **attributes}


_WITHOUT = (("weight",), ("bias",), ("weight", "bias"))
_BATCH_CASES = [*map(_case, _SHAPES), *(_case((4, 5, 3), w) for w in _WITHOUT), _case((3, 0, 2))]
_POSITIVE = {"weight": (0.5, 2.0), "variance": (0.5, 2.0)}

batch_norm = Op(
    name="batch_norm",
    shapes="x:(...) weight:(...)? bias:(...)? -> y:(...) mean:(...) variance:(...); rstd:(...)",
    rule=_batch_rule,
    cells={"eps": 1e-5},
    floating=True,
    reference=(_batch_norm, _batch_backward),
    lower=(_lower_batch, _lower_batch_backward),
    saves=("x", "weight", "mean", "rstd"),
    domain=_POSITIVE,
    cases=_BATCH_CASES,
    bench=[_case((128, 512)), _case((16, 64, 56, 56))],
)
batch_norm_relu = Op(
    name="batch_norm_relu",
    shapes="x:(...) weight:(...)? bias:(...)? -> y:(...) mean:(...) variance:(...); rstd:(...) scale:(...)",
    rule=_batch_relu_rule,
    cells={"eps": 1e-5},
    floating=True,
    reference=(_batch_norm_relu, _batch_relu_backward),
    lower=(_lower_batch_relu, _lower_batch_relu_backward),
    saves=("x", "weight", "bias", "mean", "rstd", "scale"),
    domain=_POSITIVE,
    cases=_BATCH_CASES,
    bench=[_case((16, 64, 56, 56))],
)
batch_norm_inference = Op(
    name="batch_norm_inference",
    shapes="x:(...) mean:(...) variance:(...) weight:(...)? bias:(...)? -> y:(...); rstd:(...)",
    rule=_inference_rule,
    cells={"eps": 1e-5},
    floating=True,
    reference=(_inference, _inference_backward),
    lower=(_lower_inference, _lower_inference_backward),
    saves=("x", "mean", "weight", "rstd"),
    uses={"x": ("weight",), "mean": ("weight",)},
    constant=("mean", "variance"),
    domain=_POSITIVE,
    cases=[
        *(_case(s, moments=True) for s in _SHAPES),
        *(_case((4, 5, 3), w, moments=True) for w in _WITHOUT),
        _case((0, 3), moments=True),
    ],
    bench=[_case((128, 512), moments=True), _case((16, 64, 56, 56), moments=True)],
)
group_norm = Op(
    name="group_norm",
    shapes="x:(...) weight:(...)? bias:(...)? -> y:(...); mean:(...) rstd:(...)",
    rule=_group_rule,
    check=_check_groups,
    attributes={"groups": 1},
    cells={"eps": 1e-5},
    floating=True,
    reference=(_group_norm, _group_backward),
    lower=(_lower_group, _lower_group_backward),
    saves=("x", "weight", "mean", "rstd"),
    domain=_POSITIVE,
    cases=[
        *(_case(s, groups=1) for s in _SHAPES),
        *(_case(s, groups=s[1]) for s in _SHAPES[2:]),
        _case((3, 70, 4), groups=7),
        *(_case((2, 6, 3), w, groups=2) for w in _WITHOUT),
        _case((0, 4, 3), groups=2),
    ],
    bench=[_case((16, 64, 56, 56), groups=8), _case((16, 64, 56, 56), groups=64)],
)
