"""Distances and angles of pairs of vectors along the last axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.ops.activation import row_chunks, rows_last
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Saved

CASES: list[dict[str, Any]] = [{"*": (7,), "D": 33}, {"*": (2, 3), "D": 4}, {"*": (), "D": 5}, {"*": (0,), "D": 4}]
BENCH: list[dict[str, Any]] = [{"*": (128,), "D": 10}, {"*": (1024,), "D": 1000}]


# Operations for each element of a pair: its difference, power and sum; its three products and their sums.
PER_ELEMENT = {"distances": 3, "distances_backward": 3, "cosines": 6, "cosines_backward": 4}


def _forward(kernel: str, static: Callable[[dict[str, Any]], dict[str, Any]], cells: tuple[str, ...]) -> Any:
    """The lowering of a function of pairs of rows."""

    def lower(low: Lowering, x1: Array, x2: Array) -> Array:
        y = low.output(x1.shape[:-1], x1.dtype)
        a, b = rows_last(low, x1), rows_last(low, x2)
        rows, width = a.shape
        group, chunks, work = row_chunks(rows, width, 0.3 * x1.itemsize / 4)
        low.phase(
            f"distance.{kernel}",
            [
                writes(y), reads(a), reads(b), rows, width, group, a.strides[0], b.strides[0],
                *(low.cell(n) for n in cells),
            ],
            chunks=chunks,
            work=work,
            block=group,
            flops=PER_ELEMENT[kernel] * a.size,
            dtype=x1.dtype,
            **static(low.attrs),
        )  # fmt: skip
        return y

    return lower


def _gradient(
    low: Lowering,
    kernel: str,
    dy: Array,
    y: Array,
    pair: tuple[Array, Array],
    extra: list[Any],
    static: dict[str, Any],
) -> Array:
    """The gradient for the first of a pair."""
    shape = pair[0].shape
    dx = low.output(shape, dy.dtype)
    a, b = (rows_last(low, x) for x in pair)
    g = rows_last(low, _column(dy))
    rows, width = a.shape
    group, chunks, work = row_chunks(rows if width else 0, width, 0.5 * dy.itemsize / 4)
    low.phase(
        f"distance.{kernel}",
        [
            writes(dx), reads(g), reads(a), reads(b), reads(y), rows, width, group, g.strides[0], a.strides[0],
            b.strides[0], *extra,
        ],
        chunks=chunks,
        work=work,
        block=group * width,
        flops=PER_ELEMENT[kernel] * a.size,
        dtype=dy.dtype,
        **static,
    )  # fmt: skip
    return dx


def _column(x: Array) -> Array:
    """An array with an axis of length 1 at its end."""
    return replace(x, shape=(*x.shape, 1), strides=(*x.strides, 1))


# -- distances


def _norm(p: float) -> str:
    return {0.0: "0", 1.0: "1", 2.0: "2", math.inf: "inf"}.get(p, "p")


def _check(attributes: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(attributes["norm"], str):
        raise TypeError(f"pairwise_distance: norm must be a name, got {attributes['norm']!r}")
    return attributes


def _distance(x1: np.ndarray, x2: np.ndarray, *, norm: str = "2", eps: float = 1e-6, p: float = 2.0) -> np.ndarray:
    """The p-norm of ``x1 - x2 + eps`` along the last axis; `norm` names p ("0", "1", "2", "inf"), or is "p"."""
    d = np.abs(x1 - x2 + x1.dtype.type(eps))
    if norm == "0":
        return np.asarray((d != 0).sum(axis=-1).astype(d.dtype))
    if norm == "inf":
        return np.asarray(d.max(axis=-1, initial=0))
    if norm == "2":
        return np.asarray(np.sqrt(np.square(d).sum(axis=-1)))
    return np.asarray(d.sum(axis=-1) if norm == "1" else (d**p).sum(axis=-1) ** (1 / p))


def _distance_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x1, x2, y, norm = ctx.saved["x1"], ctx.saved["x2"], ctx.saved["y"][..., None], ctx.attrs["norm"]
    d = x1 - x2 + x1.dtype.type(ctx.cells["eps"])
    if norm == "0":
        slope = np.zeros_like(d)
    elif norm == "1":
        slope = np.sign(d)
    elif norm == "inf":
        ties = np.abs(d) == y
        slope = np.sign(d) * ties / ties.sum(axis=-1, keepdims=True)
    else:
        p = 2.0 if norm == "2" else ctx.cells["p"]
        some = (y != 0) & (d != 0)
        ratio = np.abs(np.where(some, d, 1)) / np.where(y != 0, y, 1)
        slope = np.where(some, np.sign(d) * ratio ** (p - 1), 0)
    dx = dy[..., None] * slope
    return dx, -dx


def _lower_distance_backward(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
    pair = low.saved["x1"], low.saved["x2"]

    def of(name: str, sign: int) -> Array | None:
        if not low.needs[name]:
            return None
        cells = [sign, low.cell("eps"), low.cell("p")]
        return _gradient(low, "distances_backward", dy, low.saved["y"], pair, cells, {"norm": low.attrs["norm"]})

    return of("x1", 1), of("x2", -1)


pairwise_distance = Op(
    name="pairwise_distance",
    shapes="x1:(*,D) x2:(*,D) -> y:(*)",
    reference=(_distance, _distance_backward),
    lower=(_forward("distances", lambda attrs: {"norm": attrs["norm"]}, ("eps", "p")), _lower_distance_backward),
    saves=("x1", "x2", "y"),
    attributes={"norm": "2"},
    cells={"eps": 1e-6, "p": 2.0},
    check=_check,
    promotes=True,
    floating=True,
    cases=[
        *CASES,
        {"*": (3,), "D": 0},
        *({"*": (4,), "D": 20, "norm": _norm(p), "p": p} for p in (0.0, 1.0, 3.0, 0.5, math.inf)),
    ],
    bench=BENCH,
)


# -- angles


def _lengths(x: np.ndarray, eps: float, inside: bool) -> tuple[np.ndarray, np.ndarray]:
    """Lengths kept from 0 by eps, and what their gradients divide by."""
    square = np.square(x).sum(axis=-1, keepdims=True)
    if inside:
        return np.sqrt(square + eps), square + eps
    length = np.sqrt(square)
    kept = np.maximum(length, eps)
    return kept, kept * length


def _cosine(x1: np.ndarray, x2: np.ndarray, *, inside: bool = False, eps: float = 1e-8) -> np.ndarray:
    """The cosine of the angle between vectors along the last axis.

    Lengths are at least `eps`; with `inside`, `eps` is added to their squares instead.
    """
    a, b = _lengths(x1, eps, inside)[0], _lengths(x2, eps, inside)[0]
    return np.asarray((x1 * x2).sum(axis=-1) / (a * b)[..., 0])


def _cosine_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x1, x2, y, eps, inside = ctx.saved["x1"], ctx.saved["x2"], ctx.saved["y"], ctx.cells["eps"], ctx.attrs["inside"]
    (a, below), (b, beside) = _lengths(x1, eps, inside), _lengths(x2, eps, inside)
    dy, y = dy[..., None], y[..., None]

    def along(divisor: np.ndarray) -> np.ndarray:
        return np.where(divisor == 0, 0, dy * y / np.where(divisor == 0, 1, divisor))

    return dy * x2 / (a * b) - x1 * along(below), dy * x1 / (a * b) - x2 * along(beside)


def _lower_cosine_backward(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
    x1, x2, y = (low.saved[n] for n in ("x1", "x2", "y"))
    cells, static = [low.cell("eps")], {"inside": low.attrs["inside"]}
    return (
        _gradient(low, "cosines_backward", dy, y, (x1, x2), cells, static) if low.needs["x1"] else None,
        _gradient(low, "cosines_backward", dy, y, (x2, x1), cells, static) if low.needs["x2"] else None,
    )


cosine_similarity = Op(
    name="cosine_similarity",
    shapes="x1:(*,D) x2:(*,D) -> y:(*)",
    reference=(_cosine, _cosine_backward),
    lower=(_forward("cosines", lambda attrs: {"inside": attrs["inside"]}, ("eps",)), _lower_cosine_backward),
    saves=("x1", "x2", "y"),
    attributes={"inside": False},
    cells={"eps": 1e-8},
    promotes=True,
    floating=True,
    cases=[*CASES, *({**case, "inside": True, "eps": 0.1} for case in CASES)],
    bench=BENCH,
)
