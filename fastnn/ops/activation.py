"""Activations: each function beside its derivative, softmax and log-softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.ops import softmax_columns
from fastnn.ops.arithmetic import UNARY_BENCH, UNARY_CASES
from fastnn.ops.elementwise import contiguous, groups, like, lowered
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.reduction import summed_axes


def activation(
    name: str,
    forward: Callable[..., Any],
    gradient: Callable[..., Any],
    saves: str = "y",
    row: Callable[..., str] | None = None,
    floating: bool = True,
    **declared: Any,
) -> Op:
    """An op whose gradient follows from its result or, with `saves` "x", from its argument: ``gradient(dy, y)``.

    `row` names the elementwise kernel for the op's attributes; the derivative's ends in ``_backward``. Both take the
    op's hyper-parameters, the references by name, the rows as cells in the order of declaration.
    """
    cells = tuple(declared.get("cells", ()))

    def function(low: Lowering) -> str:
        return name if row is None else row(**low.attrs)

    def lower_backward(low: Lowering, dy: Array) -> Array:
        saved = low.saved[saves]
        return like(low, f"{function(low)}_backward", dy, saved, model=saved, cells=cells)

    return Op(
        name=name,
        shapes="x:(*) -> y:(*)",
        reference=(forward, lambda ctx, dy: gradient(dy, ctx.saved[saves], **ctx.attrs, **ctx.cells)),
        lower=(lambda low, x: lowered(function(low), cells=cells)(low, x), lower_backward),
        saves=(saves,),
        elementwise=True,
        floating=floating,
        **{"cases": UNARY_CASES, "bench": UNARY_BENCH} | declared,
    )


def _relu(x: np.ndarray) -> np.ndarray:
    """``max(x, 0)``; NaN stays NaN."""
    return np.asarray(np.maximum(x, 0))


def _relu_gradient(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(y <= 0, np.zeros_like(dy), dy)


def _tanh(x: np.ndarray) -> np.ndarray:
    """Hyperbolic tangent. Kernels err at most 1.3 units in the last place."""
    return np.asarray(np.tanh(x))


def _tanh_gradient(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(dy * (1 - y * y))


def stable_sigmoid(x: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-x))``. Kernels err at most 2 units in the last place."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, e, 1) / (1 + e))


def _sigmoid_gradient(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(dy * ((1 - y) * y))


_each_erf = np.vectorize(math.erf, otypes=[np.float64])
_each_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _erf(x: np.ndarray) -> np.ndarray:
    """The error function. Kernels err at most 1.9 units in the last place."""
    return np.asarray(_each_erf(x))


def _erf_gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray(dy * (2 / math.sqrt(math.pi)) * np.exp(-x * x))


# -- x times a gate that opens from 0 to 1; beyond +-LIMIT it is wide open or shut


LIMIT = 800.0


def _gelu_gate(x: np.ndarray, approximate: str) -> tuple[np.ndarray, np.ndarray]:
    """The gate of `gelu` and its derivative."""
    x = np.clip(x, -LIMIT, LIMIT)
    if approximate == "none":
        return _each_erfc(x * -math.sqrt(0.5)) / 2, np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    scale = 2 * math.sqrt(2 / math.pi)
    gate = stable_sigmoid(scale * (x + 0.044715 * x**3))
    return gate, gate * (1 - gate) * scale * (1 + 3 * 0.044715 * x**2)


def _gelu(x: np.ndarray, *, approximate: str = "none") -> np.ndarray:
    """``x * P(X <= x)``, X normal with mean 0 and variance 1, or with ``approximate="tanh"`` a form near it.

    That form is ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``. Hendrycks and Gimpel, "Gaussian Error
    Linear Units", arXiv:1606.08415.
    """
    return np.asarray(np.maximum(x, -LIMIT) * _gelu_gate(x, approximate)[0])


def _gelu_gradient(dy: np.ndarray, x: np.ndarray, *, approximate: str) -> np.ndarray:
    gate, slope = _gelu_gate(x, approximate)
    return np.asarray(dy * (gate + np.clip(x, -LIMIT, LIMIT) * slope))


def _gelu_row(approximate: str) -> str:
    return "gelu" if approximate == "none" else "gelu_tanh"


def _check_gelu(attributes: dict[str, Any]) -> dict[str, Any]:
    if attributes["approximate"] not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {attributes['approximate']!r}")
    return attributes


def _silu(x: np.ndarray) -> np.ndarray:
    """``x * sigmoid(x)``. Kernels err at most 1.9 units in the last place."""
    return np.asarray(np.maximum(x, -LIMIT) * stable_sigmoid(x))


def _silu_gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    x = np.clip(x, -LIMIT, LIMIT)
    gate = stable_sigmoid(x)
    return np.asarray(dy * (gate + x * gate * (1 - gate)))


relu = activation("relu", _relu, _relu_gradient, floating=False)
tanh = activation("tanh", _tanh, _tanh_gradient)
sigmoid = activation("sigmoid", stable_sigmoid, _sigmoid_gradient)
erf = activation("erf", _erf, _erf_gradient, "x")
silu = activation("silu", _silu, _silu_gradient, "x")
gelu = activation(
    "gelu",
    _gelu,
    _gelu_gradient,
    "x",
    row=_gelu_row,
    attributes={"approximate": "none"},
    check=_check_gelu,
    cases=[*UNARY_CASES, *({**case, "approximate": "tanh"} for case in UNARY_CASES)],
)


# -- softmax


def _softmax_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x = shapes["x"]
    assert x is not None
    summed_axes(name, attrs["axis"], len(x))
    return [x]


def _softmax(x: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """``exp(x) / sum(exp(x))`` along `axis`, without overflow."""
    if x.size == 0:
        return x.copy()
    e = np.exp(x - x.max(axis=axis if x.ndim else None, keepdims=True))
    return np.asarray(e / e.sum(axis=axis if x.ndim else None, keepdims=True))


def _softmax_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    y = ctx.saved["y"]
    return np.asarray((dy - (dy * y).sum(axis=ctx.attrs["axis"] if y.ndim else None, keepdims=True)) * y)


def _log_softmax(x: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """``x - log(sum(exp(x)))`` along `axis`, without overflow."""
    if x.size == 0:
        return x.copy()
    shifted = x - x.max(axis=axis if x.ndim else None, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis if x.ndim else None, keepdims=True)))


def _log_softmax_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    y = ctx.saved["y"]
    return np.asarray(dy - np.exp(y) * dy.sum(axis=ctx.attrs["axis"] if y.ndim else None, keepdims=True))


def row_chunks(rows: int, width: int, nanoseconds: float) -> tuple[int, int, float]:
    """Rows a chunk, chunks and estimated work, for `nanoseconds` an element; 30 ns more a row."""
    return groups(rows, width * nanoseconds + 30)


def rows_last(low: Lowering, x: Array) -> Array:
    """All axes but the last joined, the last one contiguous; a copy where the strides do not allow it."""
    rows = x.rows()
    if rows is None or (rows.strides[1] != 1 and rows.shape[1] > 1):
        rows = contiguous(low, x).rows()
    assert rows is not None
    return rows


def _axis_last(x: Array, axis: int) -> list[int]:
    """The order of axes that puts `axis` last."""
    axis = axis % x.ndim
    return [a for a in range(x.ndim) if a != axis] + [axis]


def _moved(x: Array, axis: int) -> Array:
    return x.permuted(_axis_last(x, axis)) if x.ndim else replace(x, shape=(1,), strides=(1,))


def _output(low: Lowering, x: Array, axis: int) -> Array:
    return low.output(x.shape, x.dtype, _axis_last(x, axis) if x.ndim else None)


def _lower_softmax(log_result: bool) -> Callable[..., Any]:
    def lower(low: Lowering, x: Array) -> Array:
        axis = low.attrs["axis"]
        if softmax_columns.by_columns(x, axis):
            return softmax_columns.forward(low, x, axis, log_result)
        y = _output(low, x, axis)
        target, source = rows_last(low, _moved(y, axis)), rows_last(low, _moved(x, axis))
        rows, width = target.shape
        group, chunks, work = row_chunks(rows if width else 0, width, 0.8 * x.itemsize / 4)
        low.phase(
            "softmax.forward",
            [writes(target), reads(source), rows, width, group, target.strides[0], source.strides[0]],
            chunks=chunks,
            work=work,
            block=group * width,
            flops=4 * x.size,
            dtype=x.dtype,
            log_result=log_result,
        )
        return y

    return lower


def _lower_softmax_backward(log_result: bool) -> Callable[..., Any]:
    def lower(low: Lowering, dy: Array) -> Array:
        axis = low.attrs["axis"]
        if softmax_columns.by_columns(dy, axis):
            return softmax_columns.backward(low, dy, low.saved["y"], axis, log_result)
        dx = _output(low, dy, axis)
        target, *sources = (rows_last(low, _moved(a, axis)) for a in (dx, dy, low.saved["y"]))
        rows, width = target.shape
        group, chunks, work = row_chunks(rows if width else 0, width, (0.7 if log_result else 0.3) * dy.itemsize / 4)
        low.phase(
            "softmax.backward",
            [
                writes(target), *(reads(a) for a in sources), rows, width, group,
                *(a.strides[0] for a in (target, *sources)),
            ],
            chunks=chunks,
            work=work,
            block=group * width,
            flops=4 * dy.size,
            dtype=dy.dtype,
            log_result=log_result,
        )  # fmt: skip
        return dx

    return lower


def _softmax_op(name: str, reference: tuple[Callable[..., Any], Callable[..., Any]]) -> Op:
    return Op(
        name=name,
        shapes="x:(...) -> y:(...)",
        rule=_softmax_shape,
        attributes={"axis": -1},
        reference=reference,
        lower=(_lower_softmax(name != "softmax"), _lower_softmax_backward(name != "softmax")),
        saves=("y",),
        floating=True,
        cases=[
            *({"x": s} for s in ((), (1,), (10,), (7, 33), (128, 10), (2, 3, 4), (0, 3), (3, 0))),
            {"x": (5, 4), "axis": 0},
            {"x": (90, 40), "axis": 0},
            {"x": (2, 5, 6, 7), "axis": 1},
        ],
        bench=[{"x": (128, 10)}, {"x": (1024, 1000)}, {"x": (1024, 1000), "axis": 0}],
    )


softmax = _softmax_op("softmax", (_softmax, _softmax_backward))
log_softmax = _softmax_op("log_softmax", (_log_softmax, _log_softmax_backward))
