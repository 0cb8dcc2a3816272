"""Optimizers that see a parameter as a matrix: Adafactor and Muon. Their updates take several passes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastnn import ops
from fastnn.ops.gradient import total_norm
from fastnn.ops.update import shift
from fastnn.optim.checks import check_pair, check_range
from fastnn.optim.optimizer import Closure, Group, Optimizer, evaluated
from fastnn.optim.state import full_state, scalar_state
from fastnn.tensor import Tensor, from_numpy

Array = np.ndarray[Any, Any]


class _ByParameter(Optimizer):
    """Optimizers whose step goes parameter by parameter."""

    def step(self, closure: Closure | None = None) -> Any:
        """Update the parameters that have a gradient; `closure` computes the loss anew and returns it."""
        loss = None if closure is None else evaluated(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    with np.errstate(all="ignore"):
                        self._one(group, p, p.grad.array)
                    p._touch()
        return loss

    def _one(self, group: Group, p: Tensor, gradient: Array) -> None:
        raise NotImplementedError


def _root_mean_square(x: Array) -> float:
    return total_norm([x], 2) / math.sqrt(x.size)


class Adafactor(_ByParameter):
    """Adafactor (Shazeer and Stern, 2018, arXiv:1804.04235): the mean squares of a matrix kept as a row and a column.

    The mean square of element (i, j) is estimated by ``row[i] column[j] / mean(row)``; of vectors it is kept whole.

    Parameters
    ----------
    params : as in `Adam`; of more than two axes the last two are the matrix.
    lr : the relative step is at most this, and falls as ``1 / sqrt(t)``.
    beta2_decay : exponent of the weight of what is new, ``t ** beta2_decay``.
    eps : least root of a mean square (by default the dtype's), and least size of a parameter.
    d : the step's root mean square is clipped to this.
    weight_decay, maximize : as torch's. foreach : accepted and ignored.
    """

    _scalars = ("step",)

    def __init__(
        self, params: Iterable[Any], lr: Any = 1e-2, beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
        foreach: bool | None = None, maximize: bool = False,
    ) -> None:  # fmt: skip
        check_range("Adafactor: lr", lr, 0)
        if beta2_decay > 0:
            raise ValueError(f"Adafactor: beta2_decay must be at most 0, got {beta2_decay}")
        check_pair("Adafactor: eps", eps)
        if eps[0] is not None:
            check_range("Adafactor: eps[0]", eps[0], 0)
        check_range("Adafactor: eps[1]", eps[1], 0)
        check_range("Adafactor: d", d, 1)
        check_range("Adafactor: weight_decay", weight_decay, 0)
        super().__init__(
            params,
            {
                "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
                "foreach": foreach, "maximize": maximize,
            },
        )  # fmt: skip

    def _one(self, group: Group, p: Tensor, gradient: Array) -> None:
        state = self.state[p]
        if not state:
            state["step"] = scalar_state(0)
            if gradient.ndim > 1:
                *outer, rows, columns = gradient.shape
                state["row_var"] = from_numpy(np.zeros((*outer, rows, 1), p.dtype))
                state["col_var"] = from_numpy(np.zeros((*outer, 1, columns), p.dtype))
            else:
                state["variance"] = full_state(p)
        state["step"].array[...] += 1
        if gradient.size == 0:
            return
        count = state["step"].item()
        least, smallest = group["eps"]
        least = float(np.finfo(p.dtype).eps) if least is None else float(least)
        lr = float(group["lr"])
        rate = max(float(smallest), _root_mean_square(p.array)) * min(lr, 1 / math.sqrt(count))
        if group["weight_decay"]:
            p.array[...] *= 1 - lr * float(group["weight_decay"])
        variance = self._variance(state, gradient, count ** float(group["beta2_decay"]), least)
        update = ops.divide(gradient, np.sqrt(np.maximum(variance, least * least)))
        clipping = max(1.0, _root_mean_square(update) / float(group["d"]))
        sign = 1.0 if group["maximize"] else -1.0
        shift([p.array, update], (), (sign * rate / clipping,), dtype=p.dtype)

    @staticmethod
    def _variance(state: dict[str, Any], gradient: Array, weight: float, least: float) -> Array:
        """The mean squares, after what is new was taken in."""
        squares = ops.multiply(gradient, gradient)
        if gradient.ndim > 1:
            row, column = state["row_var"].array, state["col_var"].array
            row += weight * (ops.mean(squares, axis=-1, keepdims=True) - row)
            column += weight * (ops.mean(squares, axis=-2, keepdims=True) - column)
            return np.asarray(row / np.maximum(row.mean(axis=-2, keepdims=True), least) * column)
        variance: Array = state["variance"].array
        variance += weight * (squares - variance)
        return variance


class Muon(_ByParameter):
    """Momentum made orthogonal (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon).

    The momentum of a weight matrix is replaced by one with about the same singular vectors and singular values near 1,
    by Newton and Schulz's iteration. Torch iterates in bfloat16; here it is in the parameter's dtype, and the updates
    differ by as much as bfloat16 rounds.

    Parameters
    ----------
    params : matrices; other parameters need another optimizer.
    lr, weight_decay, momentum, nesterov : as torch's; the weight decay is decoupled.
    ns_coefficients, ns_steps : of the iteration ``X = a X + (b A + c A²) X`` with ``A = X Xᵀ``.
    eps : least norm that a matrix is divided by.
    adjust_lr_fn : "original" (also None) times ``sqrt(max(1, rows / columns))``, or "match_rms_adamw" times
        ``0.2 sqrt(max(rows, columns))``.
    """

    def __init__(
        self, params: Iterable[Any], lr: Any = 1e-3, weight_decay: float = 0.1, momentum: float = 0.95,
        nesterov: bool = True, ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7, ns_steps: int = 5, adjust_lr_fn: str | None = None,
    ) -> None:  # fmt: skip
        check_range("Muon: lr", lr, 0)
        check_range("Muon: momentum", momentum, 0)
        check_range("Muon: weight_decay", weight_decay, 0)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Muon: adjust_lr_fn must be 'original' or 'match_rms_adamw', got {adjust_lr_fn!r}")
        if len(ns_coefficients) != 3:
            raise ValueError(f"Muon: ns_coefficients must be three numbers, got {ns_coefficients!r}")
        if ns_steps >= 100:
            raise ValueError(f"Muon: ns_steps must be below 100, got {ns_steps}")
        super().__init__(
            params,
            {
                "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
                "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
            },
        )  # fmt: skip

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add matrices with hyper-parameters of their own; what is not given is the default."""
        before = len(self.param_groups)
        super().add_param_group(param_group)
        for p in self.param_groups[before]["params"]:
            if p.ndim != 2:
                del self.param_groups[before]
                raise ValueError(f"Muon: parameters must be matrices, got shape {p.shape}")

    def _one(self, group: Group, p: Tensor, gradient: Array) -> None:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = full_state(p)
        momentum, lr = float(group["momentum"]), float(group["lr"])
        buffer = state["momentum_buffer"].array
        buffer += (1 - momentum) * (gradient - buffer)
        direction = gradient + momentum * (buffer - gradient) if group["nesterov"] else buffer
        update = orthogonal(direction, group["ns_coefficients"], group["ns_steps"], float(group["eps"]))
        rows, columns = p.shape
        if group["adjust_lr_fn"] == "match_rms_adamw":
            length = lr * 0.2 * math.sqrt(max(rows, columns))
        else:
            length = lr * math.sqrt(max(1, rows / max(1, columns)))
        p.array[...] *= 1 - lr * float(group["weight_decay"])
        shift([p.array, update], (), (-length,), dtype=p.dtype)


def orthogonal(x: Array, coefficients: tuple[float, float, float], steps: int, eps: float) -> Array:
    """The matrix with its singular values brought near 1, by Newton and Schulz's iteration."""
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    result = x.T if tall else x
    result = ops.multiply(result, 1 / max(total_norm([x], 2), eps))
    for _ in range(steps):
        gram = ops.matmul(result, result.T)
        result = ops.addmm(result, ops.addmm(gram, gram, gram, beta=b, alpha=c), result, beta=a)
    return result.T if tall else result


__all__ = ["Adafactor", "Muon", "orthogonal"]
