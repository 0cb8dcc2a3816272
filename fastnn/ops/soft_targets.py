"""Cross-entropy of a softmax against probabilities of classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.ops.activation import row_chunks, rows_last
from fastnn.ops.classification import bits_of, check_smoothing, class_weights
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.terms import check_reduction, scaled, total

NAME = "soft_cross_entropy"


def _shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x = shapes["input"]
    assert x is not None
    return [(x[0],) if attrs["reduction"] == "none" else (), (x[0], 2)]


def _check(attributes: dict[str, Any]) -> dict[str, Any]:
    smoothing = check_smoothing(NAME, attributes["label_smoothing"])
    return check_reduction(NAME, attributes) | {"label_smoothing": smoothing}


def _smoothed(target: np.ndarray, weight: np.ndarray | None, smoothing: float) -> np.ndarray:
    u = target * (1 - smoothing) + smoothing / max(1, target.shape[1])
    return np.asarray(u if weight is None else u * weight)


def _forward(
    input: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    *,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy of softmax(`input`) against probabilities of classes.

    With ``u = weight * (target * (1 - s) + s / C)``, s the smoothing, a row's loss is ``-sum(u * log p)``; the mean
    divides by the number of rows.
    """
    top = input.max(axis=1, initial=-np.inf)
    log_sum = np.log(np.exp(input - top[:, None]).sum(axis=1))
    log_p = input - top[:, None] - log_sum[:, None]
    each = -(_smoothed(target, weight, label_smoothing) * log_p).sum(axis=1)
    stats = np.stack([top, log_sum], axis=1)
    if reduction == "none":
        return each, stats
    return each.sum() / (len(each) if reduction == "mean" else 1), stats


def _backward(ctx: Saved, dloss: np.ndarray) -> tuple[np.ndarray | None, ...]:
    x, target, weight, stats = (ctx.saved.get(n) for n in ("input", "target", "weight", "stats"))
    assert x is not None
    assert target is not None
    assert stats is not None
    g = dloss / max(1, len(x)) if ctx.attrs["reduction"] == "mean" else dloss
    g = np.broadcast_to(g, x.shape[:1])[:, None]
    log_p = x - stats[:, :1] - stats[:, 1:]
    u = _smoothed(target, weight, ctx.attrs["label_smoothing"])
    dx = g * (np.exp(log_p) * u.sum(axis=1, keepdims=True) - u)
    dt = -g * (1 - ctx.attrs["label_smoothing"]) * (1 if weight is None else weight) * log_p
    return dx, dt, None


def _lower(low: Lowering, x: Array, target: Array, weight: Array | None) -> Any:
    rows, width = x.shape
    none = low.attrs["reduction"] == "none"
    loss = low.output((rows,) if none else (), x.dtype)
    stats = low.output((rows, 2), x.dtype)
    losses = loss if none else low.temporary((rows,), x.dtype)
    source, goal = rows_last(low, x), rows_last(low, target)
    group, chunks, work = row_chunks(rows, width, 1.0 * x.itemsize / 4)
    low.phase(
        "soft_targets.forward",
        [
            writes(losses), writes(stats), reads(source), reads(goal), *class_weights(low, weight), rows, width, group,
            source.strides[0], goal.strides[0], bits_of(low.attrs["label_smoothing"]),
        ],
        chunks=chunks,
        work=work,
        block=group,
        flops=6 * x.size,
        dtype=x.dtype,
    )  # fmt: skip
    if not none:
        total(low, "copy", loss, losses, divisor=rows if low.attrs["reduction"] == "mean" else 1)
    return loss, stats


def _lower_backward(low: Lowering, dloss: Array) -> tuple[Array | None, ...]:
    x, target, weight = low.saved["input"], low.saved["target"], low.saved.get("weight")
    rows, width = x.shape
    g = scaled(low, dloss, rows)
    source, goal = rows_last(low, x), rows_last(low, target)
    group, chunks, work = row_chunks(rows if width else 0, width, 0.8 * x.itemsize / 4)

    def of(name: str) -> Array | None:
        if not low.needs[name]:
            return None
        result = low.output(x.shape, x.dtype)
        low.phase(
            "soft_targets.backward",
            [
                writes(result), reads(g), reads(source), reads(goal), *class_weights(low, weight),
                reads(low.saved["stats"]), rows, width, group, g.strides[0] if g.ndim else 0, source.strides[0],
                goal.strides[0], bits_of(low.attrs["label_smoothing"]),
            ],
            chunks=chunks,
            work=work,
            block=group * width,
            flops=4 * x.size,
            dtype=x.dtype,
            of=name,
        )  # fmt: skip
        return result

    return of("input"), of("target"), None


soft_cross_entropy = Op(
    name=NAME,
    shapes="input:(N,C) target:(N,C) weight:(C)? -> loss:(...); stats:(N,2)",
    rule=_shape,
    check=_check,
    reference=(_forward, _backward),
    lower=(_lower, _lower_backward),
    saves=("input", "target", "weight", "stats"),
    attributes={"reduction": "mean", "label_smoothing": 0.0},
    constant=("weight",),
    floating=True,
    promotes=True,
    domain={"weight": (0.5, 2.0), "target": (0.0, 1.0)},
    cases=[
        *({"N": n, "C": c} for n, c in ((1, 1), (7, 33), (128, 10), (3, 1000), (0, 4))),
        {"N": 9, "C": 17, "weight": None},
        {"N": 9, "C": 17, "reduction": "sum", "label_smoothing": 0.1},
        {"N": 9, "C": 17, "reduction": "none", "label_smoothing": 0.3},
    ],
    bench=[{"N": 128, "C": 10, "weight": None}, {"N": 1024, "C": 1000, "weight": None}],
)
