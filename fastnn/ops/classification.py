"""Cross-entropy of a softmax against class labels."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from fastnn.ops.activation import row_chunks, rows_last
from fastnn.ops.elementwise import contiguous
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.terms import check_reduction

LABELS = ("int32", "int64")


def check_smoothing(name: str, smoothing: Any) -> float:
    """The label smoothing; TypeError or ValueError for one that is no number from 0 to 1."""
    if not isinstance(smoothing, (int, float)):
        raise TypeError(f"{name}: label_smoothing must be a number, got {smoothing!r}")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing must lie from 0 to 1, got {smoothing}")
    return float(smoothing)


def check_ignored(name: str, ignored: Any) -> int:
    """The label that is ignored; TypeError or ValueError for one that is no integer of 64 bits."""
    if not hasattr(ignored, "__index__"):
        raise TypeError(f"{name}: ignore_index must be an integer, got {ignored!r}")
    if not -(1 << 63) <= int(ignored) < 1 << 63:
        raise ValueError(f"{name}: ignore_index must fit 64 bits, got {ignored}")
    return int(ignored)


def _check(attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        "label_smoothing": check_smoothing("cross_entropy", attributes["label_smoothing"]),
        "ignore_index": check_ignored("cross_entropy", attributes["ignore_index"]),
        "reduction": check_reduction("cross_entropy", attributes)["reduction"],
    }


def _shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x = shapes["input"]
    assert x is not None
    none = attrs["reduction"] == "none"
    return [(x[0],) if none else (), (x[0], 2), (0,) if none else (1,)]


def _label_error(target: np.ndarray, index: int, classes: int, ignored: int) -> IndexError:
    return IndexError(
        f"cross_entropy: target must hold labels from 0 to {classes - 1} or ignore_index {ignored}, "
        f"got {target[index]} at {index}"
    )


def _forward(
    input: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> tuple[np.ndarray, ...]:
    """Cross-entropy of softmax(`input`) against class labels; labels equal to `ignore_index` do not count.

    A row's loss is ``(1 - s) w[t] (-log p[t]) + s / C sum(w (-log p))``; the mean divides by the sum of ``w[t]``.
    IndexError for a label that is neither from 0 to C - 1 nor `ignore_index`.
    """
    rows, classes = input.shape
    counted = target != ignore_index
    bad = counted & ((target < 0) | (target >= classes))
    if bad.any():
        raise _label_error(target, int(bad.argmax()), classes, ignore_index)
    labels = np.where(counted, target, 0)
    top = input.max(axis=1, initial=-np.inf)
    log_sum = np.log(np.exp(input - top[:, None]).sum(axis=1))
    loss = np.zeros(rows, input.dtype)
    row_weight = np.zeros(rows, input.dtype)
    if classes:
        log_p = input - top[:, None] - log_sum[:, None]
        weights = np.ones(classes, input.dtype) if weight is None else weight
        row_weight = np.where(counted, weights[labels], 0)
        loss = (1 - label_smoothing) * weights[labels] * -log_p[np.arange(rows), labels]
        if label_smoothing:
            loss = loss + label_smoothing / classes * -(log_p * weights).sum(axis=1)
        loss = np.where(counted, loss, 0)
    stats = np.stack([top, log_sum], axis=1)
    if reduction == "none":
        return loss, stats, np.empty(0, input.dtype)
    total = row_weight.sum()
    return loss.sum() / (total if reduction == "mean" else 1), stats, np.asarray(total).reshape(1)


def _backward(ctx: Saved, dloss: np.ndarray) -> tuple[np.ndarray, None, None]:
    x, target, weight = ctx.saved["input"], ctx.saved["target"], ctx.saved.get("weight")
    classes, smoothing = x.shape[1], ctx.attrs["label_smoothing"]
    counted = target != ctx.attrs["ignore_index"]
    labels = np.where(counted, target, 0)
    weights = np.ones(classes, x.dtype) if weight is None else weight
    stats = ctx.saved["stats"]
    p = np.exp(x - stats[:, :1] - stats[:, 1:])
    g = dloss / ctx.saved["total"][0] if ctx.attrs["reduction"] == "mean" else dloss
    g = np.broadcast_to(g, target.shape)
    picked = (1 - smoothing) * weights[labels] * g if classes else g
    spread = smoothing / max(classes, 1) * g
    dx = p * (picked + spread * weights.sum())[:, None] - weights * spread[:, None]
    dx[np.arange(len(labels)), labels] -= picked
    return np.where(counted[:, None], dx, 0), None, None


def bits_of(value: float) -> int:
    """A float64's bits as an int64: how a constant reaches a kernel's arguments."""
    return int(struct.unpack("q", struct.pack("d", value))[0])


def class_weights(low: Lowering, weight: Array | None) -> list[Any]:
    """The argument for class weights, or 0."""
    return [0] if weight is None else [reads(contiguous(low, weight))]


def _lower(low: Lowering, x: Array, target: Array, weight: Array | None) -> Any:
    if target.dtype not in LABELS:
        return NotImplemented
    rows, classes = x.shape
    attrs = low.attrs
    ignored = attrs["ignore_index"]
    if rows:
        low.check(
            "softmax.check_labels",
            [reads(target), rows, target.strides[0], classes, ignored],
            lambda status, inputs: _label_error(inputs[1], status - 1, classes, ignored),
            work=rows * 0.6,
            labels=target.dtype,
        )
    none = attrs["reduction"] == "none"
    loss = low.output((rows,) if none else (), x.dtype)
    stats = low.output((rows, 2), x.dtype)
    total = low.output((0,) if none else (1,), x.dtype)
    losses = loss if none else low.temporary((rows,), x.dtype)
    row_weights = low.temporary((rows,), x.dtype)
    source = rows_last(low, x)
    group, chunks, work = row_chunks(rows, classes, 0.8 * x.itemsize / 4)
    low.phase(
        "softmax.loss_rows",
        [
            writes(losses), writes(row_weights), writes(stats), reads(source), reads(target),
            *class_weights(low, weight), rows, classes, group, source.strides[0], target.strides[0], ignored,
            bits_of(attrs["label_smoothing"]),
        ],
        chunks=chunks,
        work=work,
        block=group,
        flops=4 * x.size,
        dtype=x.dtype,
        labels=target.dtype,
    )  # fmt: skip
    if not none:
        low.phase(
            "softmax.loss_total",
            [writes(loss), writes(total), reads(losses), reads(row_weights), rows, int(attrs["reduction"] == "mean")],
            work=rows * 0.2 + 40,
            flops=2 * rows,
            dtype=x.dtype,
        )
    return loss, stats, total


def _lower_backward(low: Lowering, dloss: Array) -> Any:
    x, target, weight = low.saved["input"], low.saved["target"], low.saved.get("weight")
    rows, classes = x.shape
    attrs = low.attrs
    if target.dtype not in LABELS:
        return NotImplemented
    dx = low.output(x.shape, x.dtype)
    source = rows_last(low, x)
    group, chunks, work = row_chunks(rows if classes else 0, classes, 0.6 * x.itemsize / 4)
    low.phase(
        "softmax.loss_backward",
        [
            writes(dx), reads(dloss), reads(source), reads(target), *class_weights(low, weight),
            reads(low.saved["stats"]), reads(low.saved["total"]) if attrs["reduction"] == "mean" else 0, rows, classes,
            group, classes, dloss.strides[0] if dloss.ndim else 0, source.strides[0], target.strides[0],
            attrs["ignore_index"], bits_of(attrs["label_smoothing"]),
        ],
        chunks=chunks,
        work=work,
        block=group * classes,
        flops=4 * x.size,
        dtype=x.dtype,
        labels=target.dtype,
    )  # fmt: skip
    return dx, None, None


cross_entropy = Op(
    name="cross_entropy",
    shapes="input:(N,C) target:(N) weight:(C)? -> loss:(...); stats:(N,2) total:(...)",
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
        *({"N": n, "C": c} for n, c in ((1, 1), (7, 33), (128, 10), (3, 1000), (0, 4))),
        {"N": 9, "C": 17, "weight": None},
        {"N": 9, "C": 17, "reduction": "sum", "label_smoothing": 0.1},
        {"N": 9, "C": 17, "reduction": "none", "ignore_index": 3},
    ],
    bench=[{"N": 128, "C": 10}, {"N": 1024, "C": 1000}],
)
