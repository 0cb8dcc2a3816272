"""Cross-entropy of a softmax against maps of class labels, as of images: the classes along the second axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.ops.classification import LABELS, bits_of, check_ignored, check_smoothing, class_weights, cross_entropy
from fastnn.ops.elementwise import contiguous, groups
from fastnn.ops.labels import check_labels
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.terms import check_reduction

NAME = "map_cross_entropy"
TILE = 512  # places at a time; see fastnn._kernels.maps


def _shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x = shapes["input"]
    assert x is not None
    none = attrs["reduction"] == "none"
    return [(x[0], x[2]) if none else (), (2, x[0], x[2]), (0,) if none else (1,)]


def _check(attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        "label_smoothing": check_smoothing(NAME, attributes["label_smoothing"]),
        "ignore_index": check_ignored(NAME, attributes["ignore_index"]),
        "reduction": check_reduction(NAME, attributes)["reduction"],
    }


def _rows(x: np.ndarray) -> np.ndarray:
    """(N, C, D) as (N D, C)."""
    return np.moveaxis(x, 1, 2).reshape(-1, x.shape[1])


def _forward(
    input: np.ndarray, target: np.ndarray, weight: np.ndarray | None, **attributes: Any
) -> tuple[np.ndarray, ...]:
    """Cross-entropy of softmax(`input`) over the second axis against labels (N, D); see `cross_entropy`."""
    loss, stats, total = cross_entropy.reference[0](_rows(input), target.reshape(-1), weight, **attributes)
    stats = np.moveaxis(stats.reshape(*target.shape, 2), 2, 0)
    return loss.reshape(target.shape if attributes["reduction"] == "none" else ()), stats, total


def _backward(ctx: Saved, dloss: np.ndarray) -> tuple[np.ndarray, None, None]:
    x, target = ctx.saved["input"], ctx.saved["target"]
    saved = {
        **ctx.saved,
        "input": _rows(x),
        "target": target.reshape(-1),
        "stats": np.moveaxis(ctx.saved["stats"], 0, 2).reshape(-1, 2),
    }
    assert cross_entropy.reference[1] is not None
    own = Saved(saved, ctx.shapes, ctx.needs, ctx.attrs, ctx.cells)
    dx, _, _ = cross_entropy.reference[1](own, dloss.reshape(-1) if dloss.ndim else dloss)
    return np.moveaxis(dx.reshape(x.shape[0], x.shape[2], x.shape[1]), 2, 1), None, None


def _lower(low: Lowering, x: Array, target: Array, weight: Array | None) -> Any:
    samples, classes, depth = x.shape
    if target.dtype not in LABELS or not classes:
        return NotImplemented
    attrs = low.attrs
    ignored, none = attrs["ignore_index"], attrs["reduction"] == "none"
    check_labels(low, NAME, target, classes, ignored, f" or ignore_index {ignored}")
    loss = low.output((samples, depth) if none else (), x.dtype)
    stats = low.output((2, samples, depth), x.dtype)
    total = low.output((0,) if none else (1,), x.dtype)
    losses = loss if none else low.temporary((samples, depth), x.dtype)
    weights = low.temporary((samples, depth), x.dtype)
    source = _along(low, x)
    tiles = -(-depth // TILE)
    group, chunks, work = groups(samples * tiles, min(depth, TILE) * (classes * 0.7 * x.itemsize / 4 + 12))
    low.phase(
        "maps.forward",
        [
            writes(losses), writes(weights), writes(stats), reads(source), reads(target), *class_weights(low, weight),
            samples, classes, depth, tiles, group, *source.strides[:2], *target.strides, ignored,
            bits_of(attrs["label_smoothing"]),
        ],
        chunks=chunks,
        work=work,
        flops=4 * x.size,
        dtype=x.dtype,
        labels=target.dtype,
    )  # fmt: skip
    if not none:
        places = samples * depth
        low.phase(
            "softmax.loss_total",
            [writes(loss), writes(total), reads(losses), reads(weights), places, int(attrs["reduction"] == "mean")],
            work=places * 0.2 + 40,
            flops=2 * places,
            dtype=x.dtype,
        )
    return loss, stats, total


def _along(low: Lowering, x: Array) -> Array:
    """An array whose last axis is contiguous."""
    return x if x.strides[2] == 1 or x.shape[2] <= 1 else contiguous(low, x)


def _lower_backward(low: Lowering, dloss: Array) -> Any:
    x, target, weight = low.saved["input"], low.saved["target"], low.saved.get("weight")
    samples, classes, depth = x.shape
    if target.dtype not in LABELS:
        return NotImplemented
    attrs = low.attrs
    dx, source, tiles = low.output(x.shape, x.dtype), _along(low, x), -(-depth // TILE)
    group, chunks, work = groups(samples * tiles, min(depth, TILE) * (classes * 0.6 * x.itemsize / 4 + 20))
    low.phase(
        "maps.backward",
        [
            writes(dx), reads(dloss), reads(source), reads(target), *class_weights(low, weight),
            reads(low.saved["stats"]), reads(low.saved["total"]) if attrs["reduction"] == "mean" else 0, samples,
            classes, depth, tiles, group, *(dloss.strides if dloss.ndim else (0, 0)), *source.strides[:2],
            *target.strides, attrs["ignore_index"], bits_of(attrs["label_smoothing"]),
        ],
        chunks=chunks,
        work=work,
        flops=4 * x.size,
        dtype=x.dtype,
        labels=target.dtype,
    )  # fmt: skip
    return dx, None, None


map_cross_entropy = Op(
    name=NAME,
    shapes="input:(N,C,D) target:(N,D) weight:(C)? -> loss:(...); stats:(2,N,D) total:(...)",
    rule=_shape,
    check=_check,
    reference=(_forward, _backward),
    lower=(_lower, _lower_backward),
    saves=("input", "target", "weight", "stats", "total"),
    attributes={"reduction": "mean", "ignore_index": -100, "label_smoothing": 0.0},
    integer=("target",),
    constant=("weight",),
    floating=True,
    bounds={"target": "C"},
    domain={"weight": (0.5, 2.0)},
    cases=[
        *({"N": n, "C": c, "D": d} for n, c, d in ((1, 1, 1), (3, 7, 33), (2, 5, 700), (0, 4, 3), (2, 4, 0))),
        {"N": 2, "C": 7, "D": 40, "weight": None},
        {"N": 2, "C": 7, "D": 40, "reduction": "sum", "label_smoothing": 0.1},
        {"N": 2, "C": 7, "D": 40, "reduction": "none", "ignore_index": 3, "label_smoothing": 0.2},
    ],
    bench=[{"N": 8, "C": 20, "D": 4096, "weight": None}],
)
