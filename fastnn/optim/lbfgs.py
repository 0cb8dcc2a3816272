"""L-BFGS."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastnn import ops
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import GraphError
from fastnn.ops.gradient import total_norm
from fastnn.ops.update import shift
from fastnn.optim.checks import check_range
from fastnn.optim.line_search import Point, StrongWolfe
from fastnn.optim.optimizer import Closure, Optimizer, evaluated
from fastnn.tensor import Tensor, from_numpy

Array = np.ndarray[Any, Any]


def _dot(x: Array, y: Array) -> float:
    return float(ops.dot(x, y))


def _largest(x: Array) -> float:
    return total_norm([x], math.inf)


class LBFGS(Optimizer):
    """Limited-memory BFGS (Liu and Nocedal, 1989): all parameters as one vector, curvature from the last steps.

    A step makes up to `max_iter` iterations, each of which calls the closure at least once.

    Parameters
    ----------
    params : Tensors, or one group; groups with options of their own are refused.
    lr : length of a step (of the first trial of the line search).
    max_iter, max_eval : iterations and evaluations of the closure in a step (`max_eval`: 1.25 `max_iter`).
    tolerance_grad : stop where no element of the gradient is larger.
    tolerance_change : stop where neither the loss nor any parameter changes by more.
    history_size : steps that are remembered.
    line_search_fn : ``"strong_wolfe"``, or None for steps of fixed length.
    """

    def __init__(
        self, params: Iterable[Any], lr: Any = 1, max_iter: int = 20, max_eval: int | None = None,
        tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:  # fmt: skip
        check_range("LBFGS: lr", lr, 0)
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        super().__init__(
            params,
            {
                "lr": lr, "max_iter": max_iter, "max_eval": max_eval, "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change, "history_size": history_size, "line_search_fn": line_search_fn,
            },
        )  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError(f"LBFGS: there must be one parameter group, got {len(self.param_groups)}")

    @property
    def _params(self) -> list[Tensor]:
        params: list[Tensor] = self.param_groups[0]["params"]
        return params

    def _gradient(self) -> Array:
        """All gradients as one vector; zeros where there is none."""
        parts = [np.zeros(p.array.size, p.dtype) if p.grad is None else p.grad.array.reshape(-1) for p in self._params]
        return np.concatenate(parts)

    def _move(self, length: float, direction: Array) -> None:
        """Move all parameters along a direction."""
        of_dtype: dict[Any, list[Array]] = {}
        offset = 0
        for p in self._params:
            part = direction[offset : offset + p.array.size].reshape(p.shape)
            of_dtype.setdefault(p.dtype, []).extend((p.array, part.astype(p.dtype, copy=False)))
            offset += p.array.size
        for dtype, arrays in of_dtype.items():
            shift(arrays, (), (length,), dtype=dtype)
        for p in self._params:
            p._touch()

    def _trial(self, closure: Closure, start: list[Array], length: float, direction: Array) -> Point:
        """The point at a length along a direction; the parameters are put back."""
        self._move(length, direction)
        loss = float(evaluated(closure))
        gradient = self._gradient()
        for p, values in zip(self._params, start, strict=True):
            np.copyto(p.array, values)
            p._touch()
        return Point(length, loss, gradient, _dot(gradient, direction))

    def step(self, closure: Closure | None = None) -> Any:
        """Make up to `max_iter` iterations; returns the loss before them.

        `closure` clears the gradients, computes the loss, calls ``backward`` and returns the loss.
        """
        if closure is None:
            raise TypeError("LBFGS: step needs a closure that computes the loss anew")
        group = self.param_groups[0]
        lr, tolerance = float(group["lr"]), float(group["tolerance_change"])
        max_iter, max_eval = group["max_iter"], group["max_eval"]
        search = group["line_search_fn"]
        if search not in (None, "strong_wolfe"):
            raise GraphError(f"LBFGS: line_search_fn must be None or 'strong_wolfe', got {search!r}")
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss = evaluated(closure)
        loss, evaluations = float(first_loss), 1
        state["func_evals"] += 1
        gradient = self._gradient()
        if gradient.size == 0 or _largest(gradient) <= group["tolerance_grad"]:
            return first_loss
        memory = _Memory(state, group["history_size"], gradient.dtype)

        for iteration in range(1, max_iter + 1):
            state["n_iter"] += 1
            direction = memory.direction(gradient, fresh=state["n_iter"] == 1)
            before = loss
            length = min(1.0, 1.0 / total_norm([gradient], 1)) * lr if state["n_iter"] == 1 else lr
            memory.length = length
            slope = _dot(gradient, direction)
            memory.loss = before
            if slope > -tolerance:
                break
            used = 0
            if search is not None:
                start = [p.array.copy() for p in self._params]

                def trial(t: float, start: list[Array] = start, direction: Array = direction) -> Point:
                    return self._trial(closure, start, t, direction)

                origin = Point(0.0, loss, gradient, slope)
                line = StrongWolfe(trial, origin, _largest(direction), tolerance, max_eval - evaluations)
                found = line.search(length)
                loss, gradient, length, used = found.loss, found.gradient, found.t, line.count
                memory.length = length
                self._move(length, direction)
                small = _largest(gradient) <= group["tolerance_grad"]
            else:
                self._move(length, direction)
                small = False
                if iteration != max_iter:
                    # in the last iteration nothing would come of it
                    loss = float(evaluated(closure))
                    gradient = self._gradient()
                    small = _largest(gradient) <= group["tolerance_grad"]
                    used = 1
            evaluations += used
            state["func_evals"] += used
            if (
                evaluations >= max_eval
                or small
                or abs(length) * _largest(direction) <= tolerance
                or abs(loss - before) < tolerance
            ):
                break
        memory.save(state)
        return first_loss


class _Memory:
    """What is remembered of past steps: by how much the gradient changed along them.

    In an optimizer's state it is as torch keeps it, Tensors and numbers by torch's names.
    """

    def __init__(self, state: dict[str, Any], size: int, dtype: np.dtype[Any]) -> None:
        def array(value: Any) -> Array:
            return np.asarray(value.array if isinstance(value, TensorBase) else value, dtype)

        self.size = size
        self.dtype = dtype
        self.last = None if state.get("d") is None else array(state["d"])
        self.length = float(state.get("t") or 0.0)
        self.changes = [array(y) for y in state.get("old_dirs") or ()]
        self.steps = [array(s) for s in state.get("old_stps") or ()]
        self.inverse = [float(r) for r in state.get("ro") or ()]
        self.scale = float(1.0 if state.get("H_diag") is None else state["H_diag"])
        self.gradient = None if state.get("prev_flat_grad") is None else array(state["prev_flat_grad"])
        self.loss = state.get("prev_loss")
        self.weights: list[float] | None = None

    def direction(self, gradient: Array, fresh: bool) -> Array:
        """Where to go from a gradient; the last step is remembered first."""
        if fresh or self.gradient is None or self.last is None:
            self.changes, self.steps, self.inverse, self.scale = [], [], [], 1.0
            result = ops.negative(gradient)
        else:
            self._remember(gradient)
            result = self._approximate(gradient)
        self.gradient = gradient.copy()
        self.last = result
        return result

    def _remember(self, gradient: Array) -> None:
        change = ops.subtract(gradient, self.gradient)
        step = ops.multiply(self.last, self.length)
        curvature = _dot(change, step)
        if curvature > 1e-10:
            if len(self.changes) == self.size:
                for history in (self.changes, self.steps, self.inverse):
                    history.pop(0)
            self.changes.append(change)
            self.steps.append(step)
            self.inverse.append(1.0 / curvature)
            self.scale = curvature / _dot(change, change)

    def _approximate(self, gradient: Array) -> Array:
        """The approximate inverse Hessian times the negative gradient, by the two-loop recursion."""
        result = ops.negative(gradient)
        weights = [0.0] * len(self.changes)
        for i in reversed(range(len(self.changes))):
            weights[i] = _dot(self.steps[i], result) * self.inverse[i]
            shift([result, self.changes[i]], (), (-weights[i],), dtype=self.dtype)
        result = ops.multiply(result, self.scale)
        for i, weight in enumerate(weights):
            other = _dot(self.changes[i], result) * self.inverse[i]
            shift([result, self.steps[i]], (), (weight - other,), dtype=self.dtype)
        self.weights = weights
        return result

    def save(self, state: dict[str, Any]) -> None:
        """Put all into an optimizer's state."""

        def scalar(value: float) -> Tensor:
            return from_numpy(np.array(value, self.dtype))

        if self.weights is not None:
            kept = [scalar(w) for w in self.weights]
            state["al"] = kept + [None] * (self.size - len(kept))
        state["d"] = from_numpy(self.last) if self.last is not None else None
        state["t"] = self.length
        state["old_dirs"] = [from_numpy(y) for y in self.changes]
        state["old_stps"] = [from_numpy(s) for s in self.steps]
        state["ro"] = [scalar(r) for r in self.inverse]
        state["H_diag"] = scalar(self.scale) if self.changes else 1
        state["prev_flat_grad"] = from_numpy(self.gradient) if self.gradient is not None else None
        state["prev_loss"] = self.loss


__all__ = ["LBFGS"]
