"""Smooth activations, and x times a gate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastnn._numpy_views import axis_argument
from fastnn.errors import ShapeError
from fastnn.ops.activation import LIMIT, activation, stable_sigmoid
from fastnn.ops.elementwise import apply
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, Shape


def _softplus(x: np.ndarray, *, beta: float = 1.0, threshold: float = 20.0) -> np.ndarray:
    """``log(1 + exp(beta * x)) / beta``, but x where ``beta * x`` is above `threshold`."""
    z = x * beta
    return np.where(z > threshold, x, np.logaddexp(0, z) / beta)


def _softplus_gradient(dy: np.ndarray, x: np.ndarray, *, beta: float, threshold: float) -> np.ndarray:
    z = x * beta
    return np.where(z > threshold, dy, dy * stable_sigmoid(z))


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    """``log(1 / (1 + exp(-x)))``, without overflow."""
    return np.asarray(np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))))


def _logsigmoid_gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray(dy * stable_sigmoid(-x))


def _mish_gate(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = np.clip(x, -LIMIT, LIMIT)
    gate = np.tanh(np.logaddexp(0, x))
    return gate, (1 - gate * gate) * stable_sigmoid(x)


def _mish(x: np.ndarray) -> np.ndarray:
    """``x * tanh(log(1 + exp(x)))``. Misra, "Mish: A Self Regularized Non-Monotonic Activation", arXiv:1908.08681."""
    return np.asarray(np.maximum(x, -LIMIT) * _mish_gate(x)[0])


def _mish_gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    gate, slope = _mish_gate(x)
    return np.asarray(dy * (gate + np.clip(x, -LIMIT, LIMIT) * slope))


def _softsign(x: np.ndarray) -> np.ndarray:
    """``x / (1 + abs(x))``."""
    return np.asarray(x / (1 + np.abs(x)))


def _softsign_gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray(dy / np.square(1 + np.abs(x)))


def _tanhshrink(x: np.ndarray) -> np.ndarray:
    """``x - tanh(x)``."""
    return np.asarray(x - np.tanh(x))


def _tanhshrink_gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray(dy * np.square(np.tanh(x)))


softplus = activation("softplus", _softplus, _softplus_gradient, "x", cells={"beta": 1.0, "threshold": 20.0})
logsigmoid = activation("logsigmoid", log_sigmoid, _logsigmoid_gradient, "x")
mish = activation("mish", _mish, _mish_gradient, "x")
softsign = activation("softsign", _softsign, _softsign_gradient, "x")
tanhshrink = activation("tanhshrink", _tanhshrink, _tanhshrink_gradient, "x")


# -- one half gates the other


def _half_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x = shapes["x"]
    assert x is not None
    if not x:
        raise ShapeError(f"{name}: x must have an axis to halve, got shape {x}")
    axis = axis_argument(name, attrs["axis"], len(x))
    if x[axis] % 2:
        raise ShapeError(f"{name}: x must have an even extent along axis {axis}, got shape {x}")
    return [(*x[:axis], x[axis] // 2, *x[axis + 1 :])]


def _halves(x: Array, axis: int) -> tuple[Array, Array]:
    """The two halves along an axis, where they lie."""
    axis %= x.ndim
    half = x.shape[axis] // 2
    first = replace(x, shape=(*x.shape[:axis], half, *x.shape[axis + 1 :]))
    return first, replace(first, offset=x.offset + half * x.strides[axis] * x.itemsize)


def _glu(x: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """The first half along `axis` times the sigmoid of the second. Dauphin et al., arXiv:1612.08083."""
    a, b = np.split(x, 2, axis)
    return np.asarray(a * stable_sigmoid(b))


def _glu_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    a, b = np.split(ctx.saved["x"], 2, ctx.attrs["axis"])
    gate = stable_sigmoid(b)
    return np.concatenate([dy * gate, dy * a * gate * (1 - gate)], ctx.attrs["axis"])


def _lower_glu(low: Lowering, x: Array) -> Array:
    first, second = _halves(x, low.attrs["axis"])
    return apply(low, "glu", low.output(first.shape, x.dtype), first, second)


def _lower_glu_backward(low: Lowering, dy: Array) -> Array:
    x, axis = low.saved["x"], low.attrs["axis"]
    dx = low.output(x.shape, x.dtype)
    (da, db), (a, b) = _halves(dx, axis), _halves(x, axis)
    apply(low, "glu_backward", da, dy, b)
    apply(low, "glu_gate_backward", db, dy, a, b)
    return dx


glu = Op(
    name="glu",
    shapes="x:(...) -> y:(...)",
    rule=_half_shape,
    attributes={"axis": -1},
    reference=(_glu, _glu_backward),
    lower=(_lower_glu, _lower_glu_backward),
    saves=("x",),
    floating=True,
    cases=[{"x": (8,)}, {"x": (7, 34)}, {"x": (4, 3, 5), "axis": 0}, {"x": (2, 6, 5), "axis": 1}, {"x": (0, 4)}],
    bench=[{"x": (10,)}, {"x": (1000, 2000)}],
)
