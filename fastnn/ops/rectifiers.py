"""Activations made of straight lines, and those that bend below zero by an exponential."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._kernels.constants import SELU_ALPHA, SELU_SCALE
from fastnn._numpy_views import sum_to as unbroadcast
from fastnn.ops.activation import activation
from fastnn.ops.arithmetic import BINARY_BENCH, BINARY_CASES
from fastnn.ops.elementwise import apply, like, lowered
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, broadcast
from fastnn.ops.reduction import sum_to

# -- straight lines


def _relu6(x: np.ndarray) -> np.ndarray:
    """``min(max(x, 0), 6)``; NaN stays NaN."""
    return np.asarray(np.clip(x, 0, 6))


def _hardtanh(x: np.ndarray, *, min_val: float = -1.0, max_val: float = 1.0) -> np.ndarray:
    """``min(max(x, min_val), max_val)``; NaN stays NaN."""
    return np.asarray(np.minimum(np.maximum(x, _same(x, min_val)), _same(x, max_val)))


def _hardtanh_gradient(dy: np.ndarray, x: np.ndarray, *, min_val: float, max_val: float) -> np.ndarray:
    return np.where((x <= min_val) | (x >= max_val), 0, dy)


def _same(x: np.ndarray, number: float) -> Any:
    """A number in the dtype of an array."""
    return x.dtype.type(number)


def _leaky_relu(x: np.ndarray, *, negative_slope: float = 0.01) -> np.ndarray:
    """X above zero, ``negative_slope * x`` below. Maas, Hannun and Ng, ICML 2013 workshop on deep learning."""
    return np.where(x > 0, x, x * negative_slope)


def _leaky_relu_gradient(dy: np.ndarray, x: np.ndarray, *, negative_slope: float) -> np.ndarray:
    return np.where(x > 0, dy, dy * negative_slope)


def _threshold(x: np.ndarray, *, threshold: float = 0.0, value: float = 0.0) -> np.ndarray:
    """X where it is above `threshold`, else `value`; NaN stays NaN."""
    return np.where(x <= _same(x, threshold), _same(x, value), x)


def _threshold_gradient(dy: np.ndarray, x: np.ndarray, *, threshold: float, value: float) -> np.ndarray:
    return np.where(x <= threshold, 0, dy)


def _hardsigmoid(x: np.ndarray) -> np.ndarray:
    """``min(max(x + 3, 0), 6) / 6``."""
    return np.asarray(np.clip(x + 3, 0, 6) / 6)


def _hardsigmoid_gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.where((x > -3) & (x < 3), dy / 6, 0)


def _hardswish(x: np.ndarray) -> np.ndarray:
    """``x * min(max(x + 3, 0), 6) / 6``. Howard et al., "Searching for MobileNetV3", arXiv:1905.02244."""
    return np.asarray(x * np.clip(x + 3, 0, 6) / 6)


def _hardswish_gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.where(x <= -3, 0, np.where(x < 3, dy * (x / 3 + 0.5), dy))


def _hardshrink(x: np.ndarray, *, lambd: float = 0.5) -> np.ndarray:
    """x, but 0 from ``-lambd`` to ``lambd``; NaN stays NaN."""
    return np.where(_inside(x, lambd), 0, x)


def _inside(x: np.ndarray, lambd: float) -> np.ndarray:
    bound = _same(x, lambd)
    return np.asarray((x >= -bound) & (x <= bound))


def _shrink_gradient(dy: np.ndarray, x: np.ndarray, *, lambd: float) -> np.ndarray:
    return np.where(_inside(x, lambd), 0, dy)


def _softshrink(x: np.ndarray, *, lambd: float = 0.5) -> np.ndarray:
    """X moved towards 0 by `lambd`, but not past it."""
    return np.where(x > lambd, x - lambd, np.where(x < -lambd, x + lambd, x * 0))


# -- bent by an exponential


def _below(x: np.ndarray) -> np.ndarray:
    return np.expm1(np.minimum(x, 0))


def _elu(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    """X above zero, ``alpha * (exp(x) - 1)`` below. Clevert, Unterthiner and Hochreiter, arXiv:1511.07289."""
    return np.where(x > 0, x, alpha * _below(x))


def _elu_gradient(dy: np.ndarray, x: np.ndarray, *, alpha: float) -> np.ndarray:
    return np.where(x > 0, dy, dy * (alpha * np.exp(np.minimum(x, 0))))


def _selu(x: np.ndarray) -> np.ndarray:
    """1.0507 times `elu` with alpha 1.6733. Klambauer et al., "Self-Normalizing Neural Networks", arXiv:1706.02515."""
    return np.asarray(SELU_SCALE * _elu(x, alpha=SELU_ALPHA))


def _selu_gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray(SELU_SCALE * _elu_gradient(dy, x, alpha=SELU_ALPHA))


def _celu(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    """X above zero, ``alpha * (exp(x / alpha) - 1)`` below. Barron, arXiv:1704.07483."""
    return np.where(x > 0, x, alpha * np.expm1(np.where(x > 0, 0, x / alpha)))


def _celu_gradient(dy: np.ndarray, x: np.ndarray, *, alpha: float) -> np.ndarray:
    return np.where(x > 0, dy, dy * np.exp(np.where(x > 0, 0, x / alpha)))


def _line(name: str, forward: Callable[..., Any], gradient: Callable[..., Any], **declared: Any) -> Op:
    return activation(name, forward, gradient, "x", floating=False, **declared)


relu6 = _line("relu6", _relu6, lambda dy, x: _hardtanh_gradient(dy, x, min_val=0, max_val=6))
hardtanh = _line("hardtanh", _hardtanh, _hardtanh_gradient, cells={"min_val": -1.0, "max_val": 1.0})
threshold = _line("threshold", _threshold, _threshold_gradient, cells={"threshold": 0.0, "value": 0.0})
leaky_relu = activation("leaky_relu", _leaky_relu, _leaky_relu_gradient, "x", cells={"negative_slope": 0.01})
hardsigmoid = activation("hardsigmoid", _hardsigmoid, _hardsigmoid_gradient, "x")
hardswish = activation("hardswish", _hardswish, _hardswish_gradient, "x")
hardshrink = activation("hardshrink", _hardshrink, _shrink_gradient, "x", cells={"lambd": 0.5})
softshrink = activation("softshrink", _softshrink, _shrink_gradient, "x", cells={"lambd": 0.5})
elu = activation("elu", _elu, _elu_gradient, "x", cells={"alpha": 1.0})
selu = activation("selu", _selu, _selu_gradient, "x")
celu = activation("celu", _celu, _celu_gradient, "x", cells={"alpha": 1.0})


# -- a slope for each channel


def _prelu(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """X above zero, ``weight * x`` below, broadcast. He et al., "Delving Deep into Rectifiers", arXiv:1502.01852."""
    return np.where(x > 0, x, weight * x)


def _prelu_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
    x, weight = ctx.saved["x"], ctx.saved["weight"]
    dx = np.where(x > 0, dy, weight * dy)
    dweight = np.where(x > 0, 0, x * dy)
    return unbroadcast(dx, x.shape), unbroadcast(dweight, weight.shape)


def _lower_prelu_backward(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
    x, weight = low.saved["x"], low.saved["weight"]

    def of(name: str, row: str, *operands: Array) -> Array | None:
        if not low.needs[name]:
            return None
        if low.shapes[name] == dy.shape:
            return like(low, row, *operands, model=low.saved[name])
        return sum_to(low, apply(low, row, low.temporary(dy.shape, dy.dtype), *operands), low.shapes[name])

    return of("x", "prelu_backward", dy, x, weight), of("weight", "prelu_weight_backward", dy, x)


prelu = Op(
    name="prelu",
    shapes="x:(...) weight:(...) -> y:(...)",
    rule=broadcast,
    reference=(_prelu, _prelu_backward),
    lower=(lowered("prelu"), _lower_prelu_backward),
    saves=("x", "weight"),
    promotes=True,
    elementwise=True,
    floating=True,
    cases=[{"x": case["x"], "weight": case["y"]} for case in BINARY_CASES],
    bench=[{"x": case["x"], "weight": case["y"]} for case in BINARY_BENCH],
)
