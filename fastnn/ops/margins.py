"""Losses of classes' margins: how far right classes must lie above wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.ops.classification import LABELS, class_weights
from fastnn.ops.elementwise import contiguous, groups
from fastnn.ops.labels import ROW_NS, check_labels, validate
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.terms import check_reduction, reduce, scaled, total


def _row_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x = shapes["input"]
    assert x is not None
    return [(x[0],) if attrs["reduction"] == "none" else (), *([x] if name == "multilabel_margin_loss" else [])]


def _reduced(low: Lowering, x: Array, append: Callable[[Array], None]) -> Array:
    """The loss, from what `append` writes for each row."""
    rows, reduction = x.shape[0], low.attrs["reduction"]
    loss = low.output((rows,) if reduction == "none" else (), x.dtype)
    losses = loss if reduction == "none" else low.temporary((rows,), x.dtype)
    append(losses)
    if reduction != "none":
        total(low, "copy", loss, losses, divisor=rows if reduction == "mean" else 1)
    return loss


def _row_gradient(ctx: Saved, dloss: np.ndarray) -> np.ndarray:
    """Each row's part of the gradient of the loss."""
    x = ctx.saved["input"]
    g = dloss / max(1, len(x)) if ctx.attrs["reduction"] == "mean" else dloss
    return np.broadcast_to(g, x.shape[:1]) / max(1, x.shape[1])


def _multi_check(attributes: dict[str, Any]) -> dict[str, Any]:
    if attributes["p"] not in (1, 2):
        raise ValueError(f"multi_margin_loss: p must be 1 or 2, got {attributes['p']}")
    return check_reduction("multi_margin_loss", attributes) | {"p": int(attributes["p"])}


def _hinges(x: np.ndarray, target: np.ndarray, margin: float) -> np.ndarray:
    """``max(margin - x[t] + x, 0)``, 0 at the labels."""
    z = np.maximum(margin - np.take_along_axis(x, target[:, None], 1) + x, 0)
    np.put_along_axis(z, target[:, None], 0, 1)
    return z


def _multi(
    input: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    *,
    reduction: str = "mean",
    p: int = 1,
    margin: float = 1.0,
) -> np.ndarray:
    """``weight[t] / C * sum over other classes of max(margin - input[t] + input, 0)**p``, reduced over rows.

    IndexError for a label that is not from 0 to C - 1.
    """
    classes = input.shape[1]
    validate("multi_margin_loss", target, classes, 0, "")
    each = np.zeros(len(input), input.dtype)
    if input.size:
        each = (_hinges(input, target, margin) ** p).sum(axis=1) / classes
        each = each if weight is None else each * weight[target]
    return reduce(each, reduction)


def _multi_backward(ctx: Saved, dloss: np.ndarray) -> tuple[np.ndarray, None, None]:
    x, target, weight = ctx.saved["input"], ctx.saved["target"], ctx.saved.get("weight")
    if not x.size:
        return np.zeros_like(x), None, None
    g = _row_gradient(ctx, dloss) * (1 if weight is None else weight[target])
    z = _hinges(x, target, ctx.cells["margin"])
    dx = ((z > 0) if ctx.attrs["p"] == 1 else 2 * z) * g[:, None]
    np.put_along_axis(dx, target[:, None], -dx.sum(axis=1, keepdims=True), 1)
    return dx, None, None


def _lower_multi(low: Lowering, x: Array, target: Array, weight: Array | None) -> Any:
    if target.dtype not in LABELS:
        return NotImplemented
    rows, classes = x.shape
    check_labels(low, "multi_margin_loss", target, classes, 0, "")
    x = _rows(low, x)

    def append(losses: Array) -> None:
        group, chunks, work = groups(rows, classes * 1.5 + ROW_NS)
        low.phase(
            "labels.margins",
            [
                writes(losses), reads(x), reads(target), *class_weights(low, weight), rows, classes, group,
                x.strides[0], target.strides[0], low.cell("margin"),
            ],
            chunks=chunks,
            work=work,
            block=group,
            flops=3 * x.size,
            dtype=x.dtype,
            labels=target.dtype,
            p=low.attrs["p"],
        )  # fmt: skip

    return _reduced(low, x, append)


def _rows(low: Lowering, x: Array) -> Array:
    """A matrix whose rows are contiguous."""
    return x if x.strides[1] == 1 or x.shape[1] <= 1 else contiguous(low, x)


def _lower_multi_backward(low: Lowering, dloss: Array) -> Any:
    x, target, weight = low.saved["input"], low.saved["target"], low.saved.get("weight")
    if target.dtype not in LABELS:
        return NotImplemented
    rows, classes = x.shape
    g, dx, x = scaled(low, dloss, rows), low.output(x.shape, x.dtype), _rows(low, x)
    group, chunks, work = groups(rows if classes else 0, classes * 2.0 + ROW_NS)
    low.phase(
        "labels.margins_backward",
        [
            writes(dx), reads(g), reads(x), reads(target), *class_weights(low, weight), rows, classes, group,
            g.strides[0] if g.ndim else 0, x.strides[0], target.strides[0], low.cell("margin"),
        ],
        chunks=chunks,
        work=work,
        block=group * classes,
        flops=3 * x.size,
        dtype=x.dtype,
        labels=target.dtype,
        p=low.attrs["p"],
    )  # fmt: skip
    return dx, None, None


multi_margin_loss = Op(
    name="multi_margin_loss",
    shapes="input:(N,C) target:(N) weight:(C)? -> loss:(...)",
    rule=_row_shape,
    check=_multi_check,
    reference=(_multi, _multi_backward),
    lower=(_lower_multi, _lower_multi_backward),
    saves=("input", "target", "weight"),
    attributes={"reduction": "mean", "p": 1},
    cells={"margin": 1.0},
    integer=("target",),
    constant=("weight",),
    floating=True,
    bounds={"target": "C"},
    domain={"weight": (0.5, 2.0)},
    cases=[
        *({"N": n, "C": c, "p": p} for n, c in ((1, 1), (7, 33), (0, 4)) for p in (1, 2)),
        {"N": 9, "C": 17, "weight": None, "margin": 0.3},
        {"N": 9, "C": 17, "reduction": "sum"},
        {"N": 9, "C": 17, "reduction": "none"},
    ],
    bench=[{"N": 128, "C": 10, "weight": None}],
)


def _marked(target: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of a row's labels count (those before the first negative one), and which classes they name."""
    counted = np.cumprod(target >= 0, axis=1).astype(bool)
    marks = np.zeros((len(target), classes), bool)
    rows, places = np.nonzero(counted)
    marks[rows, target[rows, places]] = True
    return counted, marks


def _many_hinges(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``max(1 - x[t] + x[j], 0)`` for each row, label t and class j, 0 where either does not count."""
    counted, marks = _marked(target, x.shape[1])
    right = np.take_along_axis(x, np.where(counted, target, 0), 1)
    return np.where(counted[:, :, None] & ~marks[:, None], np.maximum(1 - right[:, :, None] + x[:, None], 0), 0)


def _many(input: np.ndarray, target: np.ndarray, *, reduction: str = "mean") -> tuple[np.ndarray, np.ndarray]:
    """``1 / C * sum over labels t and other classes j of max(1 - input[t] + input[j], 0)``, reduced over rows.

    A row's labels end before the first -1. IndexError for one that is not from -1 to C - 1.
    """
    classes = input.shape[1]
    validate("multilabel_margin_loss", target, classes, -1, " or -1")
    each = np.asarray(_many_hinges(input, target).sum(axis=(1, 2)) / max(1, classes))
    return reduce(each, reduction), _marked(target, classes)[1].astype(input.dtype)


def _many_backward(ctx: Saved, dloss: np.ndarray) -> tuple[np.ndarray, None]:
    x, target = ctx.saved["input"], ctx.saved["target"]
    active = (_many_hinges(x, target) > 0) * _row_gradient(ctx, dloss)[:, None, None]
    dx = active.sum(axis=1)
    rows = np.arange(len(x))[:, None]
    np.subtract.at(dx, (rows, np.where(target >= 0, target, 0)), active.sum(axis=2))
    return dx, None


def _lower_many(low: Lowering, x: Array, target: Array) -> Any:
    if target.dtype not in LABELS:
        return NotImplemented
    rows, classes = x.shape
    check_labels(low, "multilabel_margin_loss", target, classes, -1, " or -1")
    x = _rows(low, x)
    marks: list[Array] = []

    def append(losses: Array) -> None:
        marks.append(low.output((rows, classes), x.dtype))
        group, chunks, work = groups(rows, classes * classes * 0.5 + ROW_NS)
        low.phase(
            "labels.many_margins",
            [
                writes(losses), writes(marks[0]), reads(x), reads(target), rows, classes, group, x.strides[0],
                *target.strides,
            ],
            chunks=chunks,
            work=work,
            block=group,
            flops=3 * x.size * classes,
            dtype=x.dtype,
            labels=target.dtype,
        )  # fmt: skip

    return _reduced(low, x, append), marks[0]


def _lower_many_backward(low: Lowering, dloss: Array) -> Any:
    x, target = low.saved["input"], low.saved["target"]
    if target.dtype not in LABELS:
        return NotImplemented
    rows, classes = x.shape
    g, dx, x = scaled(low, dloss, rows), low.output(x.shape, x.dtype), _rows(low, x)
    group, chunks, work = groups(rows if classes else 0, classes * classes * 0.7 + ROW_NS)
    low.phase(
        "labels.many_margins_backward",
        [
            writes(dx), reads(g), reads(low.saved["marks"]), reads(x), reads(target), rows, classes, group,
            g.strides[0] if g.ndim else 0, x.strides[0], *target.strides,
        ],
        chunks=chunks,
        work=work,
        block=group * classes,
        flops=3 * x.size * classes,
        dtype=x.dtype,
        labels=target.dtype,
    )  # fmt: skip
    return dx, None


multilabel_margin_loss = Op(
    name="multilabel_margin_loss",
    shapes="input:(N,C) target:(N,C) -> loss:(...); marks:(...)",
    rule=_row_shape,
    check=lambda attributes: check_reduction("multilabel_margin_loss", attributes),
    reference=(_many, _many_backward),
    lower=(_lower_many, _lower_many_backward),
    saves=("input", "target", "marks"),
    attributes={"reduction": "mean"},
    integer=("target",),
    floating=True,
    bounds={"target": "C"},
    cases=[
        *({"N": n, "C": c} for n, c in ((1, 1), (7, 33), (0, 4))),
        {"N": 9, "C": 17, "reduction": "sum"},
        {"N": 9, "C": 17, "reduction": "none"},
    ],
    bench=[{"N": 128, "C": 10}],
)
