"""Optimizer updates: the NumPy reference and the kernel of each, over the segments of a parameter group.

An update is called with a list of arrays (the columns of the first segment, then of the second, and so on), flags,
cells, the dtype, and the kernel's static parameters; `fastnn._kernels.optimizer` says what each takes.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn._kernels.errors import KernelsUnavailable
from fastnn._runtime.dispatch import get_backend
from fastnn._runtime.segments import LayoutError, SegmentedUpdate
from fastnn._runtime.tensor import dense_copy, dense_zeros
from fastnn.ops.op import KERNEL_DTYPES, NUMPY_BACKEND

Array = np.ndarray[Any, Any]

# A thread's own, because an update keeps its tables from call to call.
_own = threading.local()
_columns: dict[Any, tuple[str, ...]] = {}


@dataclass(frozen=True)
class Update:
    """A kernel over segments, and its reference.

    Attributes
    ----------
    kernel : its name.
    columns : names of a segment's arrays.
    cost : nanoseconds an element of float32 on one thread.
    reference : ``reference(*columns, *flags, *cells, **static)`` does one segment in place.
    optional : a column that is there only where a static parameter says so, in the order of the columns.
    kept : the column that is only read.
    """

    kernel: str
    columns: tuple[str, ...]
    cost: float
    reference: Callable[..., None]
    optional: tuple[tuple[str, str], ...] = ()
    kept: int = 1

    def columns_for(self, static: Mapping[str, Any]) -> tuple[str, ...]:
        """The columns that a segment has with these static parameters."""
        if not self.optional:
            return self.columns
        key = (self.kernel, *static.values())
        columns = _columns.get(key)
        if columns is None:
            absent = {column for column, option in self.optional if not static[option]}
            columns = _columns[key] = tuple(c for c in self.columns if c not in absent)
        return columns

    def __call__(
        self, arrays: list[Array], flags: tuple[int, ...], cells: tuple[float, ...], *, dtype: np.dtype[Any],
        **static: Any,
    ) -> None:  # fmt: skip
        """Update all segments in place."""
        key = (self.kernel, dtype, *static.values())
        updates: dict[Any, SegmentedUpdate] = _own.__dict__
        update = updates.get(key)
        serves = get_backend() != NUMPY_BACKEND and (update is not None or dtype.name in KERNEL_DTYPES)
        if update is None and serves:
            from fastnn._kernels import jit

            try:
                address = jit.address(self.kernel, dtype=dtype.name, **static)
            except KernelsUnavailable:
                serves = False
            else:
                cost = self.cost * dtype.itemsize / 4
                name = self.kernel.partition(".")[2]
                update = updates[key] = SegmentedUpdate(name, self.columns_for(static), address, cost)
        if update is not None and serves:
            try:
                update(arrays, flags, cells)
            except LayoutError:
                self._run_laid_out(update, arrays, flags, cells, len(self.columns_for(static)))
            return
        width = len(self.columns_for(static))
        with np.errstate(all="ignore"):
            for first in range(0, len(arrays), width):
                self.reference(*arrays[first : first + width], *flags, *cells, **static)

    def _run_laid_out(
        self, update: SegmentedUpdate, arrays: list[Array], flags: tuple[int, ...], cells: tuple[float, ...], width: int
    ) -> None:
        """Run over copies where the arrays of a segment do not lie alike in memory; write back what changes."""
        ready: list[Array] = []
        for first in range(0, len(arrays), width):
            p = dense_copy(arrays[first])
            ready.append(p)
            for other in arrays[first + 1 : first + width]:
                column = dense_zeros(p)
                np.copyto(column, other)
                ready.append(column)
        update(ready, flags, cells)
        for i, (own, copy) in enumerate(zip(arrays, ready, strict=True)):
            if i % width != self.kept:
                np.copyto(own, copy)


def _settle(x: Array) -> None:
    """Set to zero what has sunk below the normal range, as the kernels do."""
    x[np.abs(x) < np.finfo(x.dtype).tiny] = 0


def _regular(p: Array, g: Array, maximize: int, weight_decay: float) -> Array:
    """The gradient to go down, with the weights' decay."""
    g = -g if maximize else g
    return g + weight_decay * p if weight_decay else g


def _moments(
    p: Array, g: Array, m: Array, v: Array, maximize: int, decoupled: int, lr: float, beta1: float, beta2: float,
    weight_decay: float,
) -> Array:  # fmt: skip
    """What Adam and its kin do before their step; returns the gradient as they see it."""
    g = _regular(p, g, maximize, 0.0 if decoupled else weight_decay)
    if decoupled:
        p *= 1 - lr * weight_decay
    m += (1 - beta1) * (g - m)
    _settle(m)
    v *= beta2
    v += (1 - beta2) * g * g
    return g


def sgd_reference(p: Array, g: Array, *rest: Any, momentum: bool, nesterov: bool) -> None:
    """One step of SGD in place."""
    maximize, lr, keep, dampening, weight_decay, started = rest[-6:]
    g = _regular(p, g, maximize, weight_decay)
    if momentum:
        buffer = rest[0]
        buffer[...] = keep * buffer + (1 - dampening) * g if started else g
        _settle(buffer)
        g = g + keep * buffer if nesterov else buffer
    p -= lr * g


def velocity_reference(
    p: Array, g: Array, v: Array, lr: float, momentum: float, weight_decay: float, *, nesterov: bool
) -> None:
    """One step of SGD in place, the learning rate in the velocity."""
    g = _regular(p, g, 0, weight_decay)
    v[...] = momentum * v - lr * g
    _settle(v)
    p += momentum * v - lr * g if nesterov else v


def adam_reference(p: Array, g: Array, m: Array, v: Array, *rest: Any, amsgrad: bool) -> None:
    """One step of Adam or AdamW in place."""
    maximize, decoupled, lr, beta1, beta2, eps, weight_decay, correction1, correction2 = rest[-9:]
    _moments(p, g, m, v, maximize, decoupled, lr, beta1, beta2, weight_decay)
    if amsgrad:
        largest = rest[0]
        np.maximum(largest, v, out=largest)
        v = largest
    p -= (lr / correction1) * m / (np.sqrt(v) / math.sqrt(correction2) + eps)


def nadam_reference(
    p: Array, g: Array, m: Array, v: Array, maximize: int, decoupled: int, lr: float, beta1: float, beta2: float,
    eps: float, weight_decay: float, correction2: float, momentum: float, following: float, product: float,
) -> None:  # fmt: skip
    """One step of NAdam in place."""
    g = _moments(p, g, m, v, maximize, decoupled, lr, beta1, beta2, weight_decay)
    ahead = momentum_share(following, product * following) * m + momentum_share(1 - momentum, product) * g
    p -= lr * ahead / (np.sqrt(v / correction2) + eps)


def momentum_share(weight: float, product: float) -> float:
    """A weight of NAdam's mean, corrected for its start at zero."""
    return weight / (1 - product)


def radam_reference(
    p: Array, g: Array, m: Array, v: Array, maximize: int, decoupled: int, lr: float, beta1: float, beta2: float,
    eps: float, weight_decay: float, correction1: float, correction2: float, rectification: float,
) -> None:  # fmt: skip
    """One step of RAdam in place."""
    _moments(p, g, m, v, maximize, decoupled, lr, beta1, beta2, weight_decay)
    step = lr / correction1 * m
    if rectification:
        step = step * rectification / ((np.sqrt(v) + eps) / math.sqrt(correction2))
    p -= step


def adamax_reference(
    p: Array, g: Array, m: Array, u: Array, maximize: int, lr: float, beta1: float, beta2: float, eps: float,
    weight_decay: float, correction1: float,
) -> None:  # fmt: skip
    """One step of Adamax in place."""
    g = _regular(p, g, maximize, weight_decay)
    m += (1 - beta1) * (g - m)
    _settle(m)
    np.maximum(beta2 * u, np.abs(g) + eps, out=u)
    p -= lr / correction1 * (m / u)


def rmsprop_reference(p: Array, g: Array, v: Array, *rest: Any, momentum: bool, centered: bool) -> None:
    """One step of RMSprop in place."""
    states, (maximize, lr, alpha, eps, weight_decay, keep) = rest[:-6], rest[-6:]
    g = _regular(p, g, maximize, weight_decay)
    v *= alpha
    v += (1 - alpha) * g * g
    spread = v
    if centered:
        mean = states[-1]
        mean += (1 - alpha) * (g - mean)
        _settle(mean)
        spread = np.maximum(v - mean * mean, 0)
    move = g / (np.sqrt(spread) + eps)
    if momentum:
        buffer = states[0]
        buffer *= keep
        buffer += move
        _settle(buffer)
        move = buffer
    p -= lr * move


def adagrad_reference(
    p: Array, g: Array, total: Array, maximize: int, lr: float, lr_decay: float, eps: float, weight_decay: float,
    step: float,
) -> None:  # fmt: skip
    """One step of Adagrad in place."""
    g = _regular(p, g, maximize, weight_decay)
    total += g * g
    p -= lr / (1 + (step - 1) * lr_decay) * (g / (np.sqrt(total) + eps))


def adadelta_reference(
    p: Array, g: Array, v: Array, moved: Array, maximize: int, lr: float, rho: float, eps: float, weight_decay: float
) -> None:
    """One step of Adadelta in place."""
    g = _regular(p, g, maximize, weight_decay)
    v *= rho
    v += (1 - rho) * g * g
    delta = np.sqrt(moved + eps) / np.sqrt(v + eps) * g
    moved *= rho
    moved += (1 - rho) * delta * delta
    p -= lr * delta


def rprop_reference(
    p: Array, g: Array, before: Array, size: Array, maximize: int, less: float, more: float, low: float, high: float
) -> None:
    """One step of Rprop in place."""
    g = _regular(p, g, maximize, 0.0)
    agreement = g * before
    turned = agreement < 0
    factor = np.where(turned, less, np.where(agreement > 0, more, np.where(agreement == 0, 1, agreement)))
    size[...] = np.clip(size * factor.astype(p.dtype), low, high)
    before[...] = np.where(turned, 0, g)
    p -= np.sign(before) * size


def asgd_reference(
    p: Array, g: Array, mean: Array, maximize: int, eta: float, mu: float, lambd: float, weight_decay: float
) -> None:
    """One step of ASGD in place."""
    g = _regular(p, g, maximize, weight_decay)
    p *= 1 - lambd * eta
    p -= eta * g
    mean[...] = p if mu == 1 else mean + mu * (p - mean)


def average_reference(mean: Array, p: Array, weight: float) -> None:
    """Move `mean` towards `p` in place."""
    difference = p - mean
    mean[...] = mean + weight * difference if weight < 0.5 else p - (1 - weight) * difference


def shift_reference(p: Array, d: Array, length: float) -> None:
    """Move along a direction in place."""
    p += length * d


_P = ("parameter", "gradient")
_MOMENTS = (*_P, "exp_avg", "exp_avg_sq")

sgd = Update(
    "optimizer.sgd", (*_P, "momentum_buffer"), 0.25, sgd_reference, optional=(("momentum_buffer", "momentum"),)
)
velocity = Update("optimizer.velocity", (*_P, "velocity"), 0.25, velocity_reference)
adam = Update(
    "optimizer.adam", (*_MOMENTS, "max_exp_avg_sq"), 0.6, adam_reference, optional=(("max_exp_avg_sq", "amsgrad"),)
)
nadam = Update("optimizer.nadam", _MOMENTS, 0.6, nadam_reference)
radam = Update("optimizer.radam", _MOMENTS, 0.6, radam_reference)
adamax = Update("optimizer.adamax", (*_P, "exp_avg", "exp_inf"), 0.6, adamax_reference)
rmsprop = Update(
    "optimizer.rmsprop",
    (*_P, "square_avg", "momentum_buffer", "grad_avg"),
    0.6,
    rmsprop_reference,
    optional=(("momentum_buffer", "momentum"), ("grad_avg", "centered")),
)
adagrad = Update("optimizer.adagrad", (*_P, "sum"), 0.5, adagrad_reference)
adadelta = Update("optimizer.adadelta", (*_P, "square_avg", "acc_delta"), 0.8, adadelta_reference)
rprop = Update("optimizer.rprop", (*_P, "prev", "step_size"), 0.6, rprop_reference)
asgd = Update("optimizer.asgd", (*_P, "ax"), 0.4, asgd_reference)
average = Update("optimizer.average", ("average", "parameter"), 0.25, average_reference)
shift = Update("optimizer.shift", ("parameter", "direction"), 0.25, shift_reference)
