"""Labels, checked, and the negative log likelihood of the classes that they pick out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.errors import ShapeError
from fastnn.ops.classification import LABELS, check_ignored, class_weights
from fastnn.ops.elementwise import groups
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.terms import check_reduction

ROW_NS = 12.0  # nanoseconds that a row costs besides its elements


def _label_error(name: str, target: np.ndarray, index: int, classes: int, allowed: str) -> IndexError:
    place = tuple(int(i) for i in np.unravel_index(index, target.shape))
    return IndexError(
        f"{name}: target must hold labels from 0 to {classes - 1}{allowed}, got {target[place]} at {list(place)}"
    )


def check_labels(low: Lowering, name: str, target: Array, classes: int, ignored: int, allowed: str) -> None:
    """Append the check of a matrix (or vector) of labels."""
    if not target.size:
        return
    shape, strides = (*target.shape, 1)[:2], (*target.strides, 1)[:2]
    low.check(
        "labels.check",
        [reads(target), *shape, *strides, classes, ignored],
        lambda status, inputs: _label_error(name, inputs[1], status - 1, classes, allowed),
        work=target.size * 0.8,
        labels=target.dtype,
    )


def validate(name: str, target: np.ndarray, classes: int, ignored: int, allowed: str) -> None:
    """IndexError for a label that is neither from 0 to `classes` - 1 nor `ignored`."""
    bad = ((target < 0) | (target >= classes)) & (target != ignored)
    if bad.any():
        raise _label_error(name, target, int(bad.argmax()), classes, allowed)


# -- negative log likelihood


def _nll_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x, target, weight = shapes["input"], shapes["target"], shapes["weight"]
    assert x is not None
    if len(x) not in (2, 3):
        raise ShapeError(f"{name}: input must have shape (N, C) or (N, C, D), got {x}")
    places = (x[0], *x[2:])
    if target != places:
        raise ShapeError(f"{name}: target must have shape {places} to match input {x}, got {target}")
    if weight is not None and weight != x[1:2]:
        raise ShapeError(f"{name}: weight must have shape {x[1:2]} to match input {x}, got {weight}")
    none = attrs["reduction"] == "none"
    return [places if none else (), (0,) if none else (1,)]


def _deep(x: Array, axes: int) -> Array:
    """An array with an axis of length 1 at its end if it has fewer than `axes`."""
    return x if x.ndim == axes else replace(x, shape=(*x.shape, 1), strides=(*x.strides, 1))


def _nll_check(attributes: dict[str, Any]) -> dict[str, Any]:
    return check_reduction("nll_loss", attributes) | {
        "ignore_index": check_ignored("nll_loss", attributes["ignore_index"])
    }


def _nll_picked(
    target: np.ndarray, weight: np.ndarray | None, classes: int, ignored: int, dtype: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Labels with 0 for ignored ones, and each place's weight."""
    counted = target != ignored
    labels = np.where(counted, target, 0)
    weights = np.ones(max(1, classes), dtype) if weight is None else weight
    return labels, np.where(counted, weights[labels], 0).astype(dtype)


def _nll(
    input: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
) -> tuple[np.ndarray, ...]:
    """Negative log likelihood: ``-weight[t] * input[n, t, d]``, with or without axis d.

    Labels equal to `ignore_index` do not count; the mean divides by the sum of ``weight[t]``. IndexError for a label
    that is neither from 0 to C - 1 nor `ignore_index`.
    """
    classes = input.shape[1]
    validate("nll_loss", target, classes, ignore_index, f" or ignore_index {ignore_index}")
    labels, row_weights = _nll_picked(target, weight, classes, ignore_index, input.dtype)
    each = np.zeros(target.shape, input.dtype)
    if target.size and classes:
        picked = np.take_along_axis(input, labels[:, None], 1)[:, 0]
        each = np.where(target != ignore_index, -picked * row_weights, 0)
    if reduction == "none":
        return each, np.empty(0, input.dtype)
    weighed = row_weights.sum()
    return each.sum() / (weighed if reduction == "mean" else 1), np.asarray(weighed).reshape(1)


def _nll_backward(ctx: Saved, dloss: np.ndarray) -> tuple[np.ndarray, None, None]:
    target, weight = ctx.saved["target"], ctx.saved.get("weight")
    shape = ctx.shapes["input"]
    labels, row_weights = _nll_picked(target, weight, shape[1], ctx.attrs["ignore_index"], dloss.dtype)
    g = dloss / ctx.saved["total"][0] if ctx.attrs["reduction"] == "mean" else dloss
    dx = np.zeros(shape, dloss.dtype)
    if target.size and shape[1]:
        each = np.where(target != ctx.attrs["ignore_index"], -row_weights * g, 0)
        np.put_along_axis(dx, labels[:, None], each[:, None], 1)
    return dx, None, None


def _lower_nll(low: Lowering, x: Array, target: Array, weight: Array | None) -> Any:
    if target.dtype not in LABELS:
        return NotImplemented
    places_shape = target.shape
    x, target = _deep(x, 3), _deep(target, 2)
    samples, classes, depth = x.shape
    ignored, reduction = low.attrs["ignore_index"], low.attrs["reduction"]
    check_labels(low, "nll_loss", target, classes, ignored, f" or ignore_index {ignored}")
    none, places = reduction == "none", samples * depth
    loss = low.output(places_shape if none else (), x.dtype)
    weighed = low.output((0,) if none else (1,), x.dtype)
    losses = loss if none else low.temporary((places,), x.dtype)
    weights = low.temporary((places,), x.dtype)
    group, chunks, work = groups(places, ROW_NS)
    low.phase(
        "labels.picked",
        [
            writes(losses), writes(weights), reads(x), reads(target), *class_weights(low, weight), places, depth, group,
            *x.strides, *target.strides, ignored,
        ],
        chunks=chunks,
        work=work,
        block=group,
        flops=places,
        dtype=x.dtype,
        labels=target.dtype,
    )  # fmt: skip
    if not none:
        low.phase(
            "softmax.loss_total",
            [writes(loss), writes(weighed), reads(losses), reads(weights), places, int(reduction == "mean")],
            work=places * 0.2 + 40,
            flops=2 * places,
            dtype=x.dtype,
        )
    return loss, weighed


def _lower_nll_backward(low: Lowering, dloss: Array) -> Any:
    target, weight = low.saved["target"], low.saved.get("weight")
    if target.dtype not in LABELS:
        return NotImplemented
    shape = low.shapes["input"]
    assert shape is not None
    dx, target = low.output(shape, dloss.dtype), _deep(target, 2)
    samples, classes, depth = (*shape, 1)[:3]
    dloss = _deep(dloss, 2) if dloss.ndim else dloss
    group, chunks, work = groups(samples if classes * depth else 0, classes * depth * 0.1 + depth * ROW_NS)
    mean = low.attrs["reduction"] == "mean"
    low.phase(
        "labels.picked_backward",
        [
            writes(dx), reads(dloss), reads(target), *class_weights(low, weight),
            reads(low.saved["total"]) if mean else 0, samples, classes, depth, group,
            *(dloss.strides if dloss.ndim else (0, 0)), *target.strides, low.attrs["ignore_index"],
        ],
        chunks=chunks,
        work=work,
        block=group * classes * depth,
        flops=samples * depth,
        dtype=dloss.dtype,
        labels=target.dtype,
    )  # fmt: skip
    return dx, None, None


nll_loss = Op(
    name="nll_loss",
    shapes="input:(...) target:(...) weight:(...)? -> loss:(...); total:(...)",
    rule=_nll_shape,
    check=_nll_check,
    reference=(_nll, _nll_backward),
    lower=(_lower_nll, _lower_nll_backward),
    saves=("target", "weight", "total"),
    attributes={"reduction": "mean", "ignore_index": -100},
    integer=("target",),
    constant=("weight",),
    floating=True,
    bounds={"target": "input.1"},
    domain={"weight": (0.5, 2.0)},
    cases=[
        *(
            {"input": x, "target": (x[0], *x[2:]), "weight": x[1:2]}
            for x in ((1, 1), (7, 33), (3, 4, 50), (0, 4, 2), (3, 4, 0))
        ),
        {"input": (9, 17, 2), "target": (9, 2), "weight": None},
        {"input": (9, 17), "target": (9,), "weight": None, "reduction": "none"},
        {"input": (9, 17, 3), "target": (9, 3), "weight": (17,), "reduction": "sum"},
        {"input": (9, 17, 3), "target": (9, 3), "weight": (17,), "reduction": "none", "ignore_index": 3},
    ],
    bench=[
        {"input": (128, 10), "target": (128,), "weight": None},
        {"input": (16, 20, 4096), "target": (16, 4096), "weight": None},
    ],
)
