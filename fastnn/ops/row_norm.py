"""Layer and root-mean-square normalisation: over the last axes, each leading index by its own moments.

The variance is taken in two passes. A mean of n numbers errs by at most ``(22 + log2(n / 1024)) u mean|x|`` to first
order (u = 2**-24 or 2**-53), see `fastnn._kernels.row_norm`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.errors import ShapeError
from fastnn.ops.activation import rows_last
from fastnn.ops.elementwise import contiguous, groups
from fastnn.ops.lowering import Array, Lowering, dense_strides, reads, writes
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.reduction import sum_axes

__all__ = ["layer_norm", "rms_norm"]

MOST_PARTS = 64  # chunks that have partial sums of their own
COST, BACKWARD_COST = 0.35, 0.7  # nanoseconds an element of float32


def _check(name: str) -> Any:
    def check(attributes: dict[str, Any]) -> dict[str, Any]:
        axes = attributes["axes"]
        if isinstance(axes, bool) or not isinstance(axes, (int, np.integer)):
            raise TypeError(f"{name}: axes must be an integer, got {axes!r}")
        if axes < 1:
            raise ValueError(f"{name}: axes must be at least 1, got {axes}")
        return {"axes": int(axes)}

    return check


def _rule(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x, axes = shapes["x"], attrs["axes"]
    assert x is not None
    if len(x) < axes:
        raise ShapeError(f"{name}: x must have at least {axes} axes, got {x}")
    for other in ("weight", "bias"):
        own = shapes.get(other)
        if own is not None and own != x[-axes:]:
            raise ShapeError(f"{name}: {other} must have shape {x[-axes:]} to match x {x}, got {own}")
    lead = x[:-axes]
    return [x, lead, lead] if name == "layer_norm" else [x, lead]


def _last(array: np.ndarray, axes: int) -> tuple[int, ...]:
    return tuple(range(array.ndim - axes, array.ndim))


def _layer_norm(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, *, axes: int = 1, eps: float = 1e-5
) -> tuple[np.ndarray, ...]:
    """``(x - mean) / sqrt(variance + eps) * weight + bias``, the moments taken over the last `axes` axes.

    Ba, Kiros, Hinton, "Layer Normalization", 2016.
    """
    last = _last(x, axes)
    mean = x.mean(axis=last, keepdims=True)
    centered = x - mean
    rstd = 1 / np.sqrt((centered * centered).mean(axis=last, keepdims=True) + eps)
    y = centered * rstd
    y = y if weight is None else y * weight
    return y if bias is None else y + bias, mean.reshape(x.shape[:-axes]), rstd.reshape(x.shape[:-axes])


def _rms_norm(
    x: np.ndarray, weight: np.ndarray | None, *, axes: int = 1, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray]:
    """``x / sqrt(mean(x * x) + eps) * weight``, the mean taken over the last `axes` axes.

    Zhang, Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019.
    """
    rstd = 1 / np.sqrt((x * x).mean(axis=_last(x, axes), keepdims=True) + eps)
    return x * rstd if weight is None else x * rstd * weight, rstd.reshape(x.shape[:-axes])


def _backward(name: str) -> Any:
    centered = name == "layer_norm"

    def backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        x, weight, axes = ctx.saved["x"], ctx.saved.get("weight"), ctx.attrs["axes"]
        last, lead = _last(x, axes), tuple(range(x.ndim - axes))
        wide = x.shape[:-axes] + (1,) * axes
        rstd = ctx.saved["rstd"].reshape(wide)
        z = (x - ctx.saved["mean"].reshape(wide) if centered else x) * rstd
        g = dy if weight is None else dy * weight
        dx = g - z * (g * z).mean(axis=last, keepdims=True)
        if centered:
            dx = dx - g.mean(axis=last, keepdims=True)
        parts = (dx * rstd, (dy * z).sum(axis=lead))
        return (*parts, dy.sum(axis=lead)) if centered else parts

    return backward


def _rows(low: Lowering, x: Array, axes: int) -> Array:
    """The array as a matrix of rows to be normalised; a copy where they do not lie side by side."""
    if axes == 1:
        return rows_last(low, x)
    width = math.prod(x.shape[-axes:])
    shape = (math.prod(x.shape[:-axes]), width)
    return replace(contiguous(low, x), shape=shape, strides=dense_strides(shape))


def _chunks(count: int, width: int, cost: float, itemsize: int, parts: int = 0) -> tuple[int, int, float]:
    """Rows a chunk, chunks (at most `parts`, if given) and the work of all."""
    group, chunks, work = groups(count, width * cost * itemsize / 4 + 40)
    if parts and chunks > parts:
        group = -(-count // parts)
        chunks = -(-count // group)
    return group, chunks, work


def _lower(name: str) -> Any:
    centered = name == "layer_norm"

    def lower(low: Lowering, x: Array, weight: Array | None, bias: Array | None = None) -> tuple[Array, ...]:
        axes = low.attrs["axes"]
        lead = x.shape[:-axes]
        y = low.output(x.shape, x.dtype)
        mean = low.output(lead, x.dtype) if centered else None
        rstd = low.output(lead, x.dtype)
        rows = _rows(low, x, axes)
        count, width = rows.shape
        group, chunks, work = _chunks(count, width, COST, x.itemsize)
        low.phase(
            "row_norm.forward",
            [
                writes(y), 0 if mean is None else writes(mean), writes(rstd), reads(rows),
                *(0 if a is None else reads(contiguous(low, a)) for a in (weight, bias)), low.cell("eps"),
                count, width, group, width, rows.strides[0],
            ],
            chunks=chunks,
            work=work,
            block=group * width,
            flops=8 * x.size,
            dtype=x.dtype,
            centered=centered,
            weighted=weight is not None,
            biased=bias is not None,
        )  # fmt: skip
        return (y, rstd) if mean is None else (y, mean, rstd)

    return lower


def _lower_backward(name: str) -> Any:
    centered = name == "layer_norm"

    def lower(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
        x, weight, axes = low.saved["x"], low.saved.get("weight"), low.attrs["axes"]
        dx = (low.output if low.needs["x"] else low.temporary)(x.shape, x.dtype)
        summed = any(low.needs.get(n) for n in ("weight", "bias"))
        rows, given = _rows(low, x, axes), _rows(low, dy, axes)
        count, width = rows.shape
        group, chunks, work = _chunks(count, width, BACKWARD_COST, x.itemsize, MOST_PARTS if summed else 0)
        parts = low.temporary((chunks, 2, width), x.dtype) if summed else None
        low.phase(
            "row_norm.backward",
            [
                writes(dx), 0 if parts is None else writes(parts), reads(given), reads(rows),
                reads(low.saved["mean"]) if centered else 0, reads(low.saved["rstd"]),
                0 if weight is None else reads(contiguous(low, weight)),
                count, width, group, width, given.strides[0], rows.strides[0],
            ],
            chunks=chunks,
            work=work,
            block=group * width,
            flops=14 * x.size,
            dtype=x.dtype,
            centered=centered,
            weighted=weight is not None,
            summed=summed,
        )  # fmt: skip
        results: list[Array | None] = [dx]
        for k, parameter in enumerate(("weight", "bias") if centered else ("weight",)):
            found = None
            if parts is not None and low.needs.get(parameter):
                part = replace(
                    parts, shape=(chunks, width), strides=(2 * width, 1), offset=parts.offset + k * width * x.itemsize
                )
                found = sum_axes(low, part, (0,), low.output(x.shape[-axes:], x.dtype))
            results.append(found)
        return tuple(results)

    return lower


def _declare(name: str, reference: Any) -> Op:
    centered = name == "layer_norm"
    moments = "mean:(...) rstd:(...)" if centered else "rstd:(...)"
    own = ("weight", "bias") if centered else ("weight",)

    def case(shape: Shape, axes: int = 1, without: tuple[str, ...] = ()) -> dict[str, Any]:
        given = {n: None if n in without else shape[-axes:] for n in own}
        return {"x": shape, **given, "axes": axes}

    return Op(
        name=name,
        shapes=f"x:(...) {' '.join(f'{n}:(...)?' for n in own)} -> y:(...); {moments}",
        rule=_rule,
        check=_check(name),
        attributes={"axes": 1},
        cells={"eps": 1e-5},
        floating=True,
        reference=(reference, _backward(name)),
        lower=(_lower(name), _lower_backward(name)),
        saves=("x", "weight", "mean", "rstd") if centered else ("x", "weight", "rstd"),
        domain={"weight": (0.5, 2.0)},
        cases=[
            *(case(s) for s in ((7,), (5, 33), (2, 3, 4), (70, 130), (0, 4), (3, 2500))),
            case((4, 3, 5), 2),
            case((3, 5), 2),
            *(case((5, 33), without=w) for w in {("weight",), ("bias",), own} if set(w) <= set(own)),
        ],
        bench=[case((128, 1024)), case((4096, 256))],
    )


layer_norm = _declare("layer_norm", _layer_norm)
rms_norm = _declare("rms_norm", _rms_norm)
