"""Optimizer updates: the NumPy reference and the kernel of each, over the segments of a parameter group."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn._kernels.errors import KernelsUnavailable
from fastnn._runtime.dispatch import get_backend
from fastnn._runtime.segments import LayoutError, SegmentedUpdate
from fastnn._runtime.tensor import dense_copy, dense_zeros
from fastnn.ops.op import KERNEL_DTYPES, NUMPY_BACKEND

Arrays = Sequence[np.ndarray]

# A thread's own, because an update keeps its tables from call to call.
_own = threading.local()


def _run(
    name: str, columns: tuple[str, ...], arrays: list[np.ndarray], flags: tuple[int, ...], cells: tuple[float, ...],
    cost: float, reference: Callable[..., None], dtype: np.dtype[Any], **static: Any,
) -> None:  # fmt: skip
    """Apply the kernel ``optimizer.<name>`` to all segments, or the reference to one after the other."""
    key = (name, dtype, *static.values())
    updates: dict[Any, SegmentedUpdate] = _own.__dict__
    update = updates.get(key)
    serves = get_backend() != NUMPY_BACKEND and (update is not None or dtype.name in KERNEL_DTYPES)
    if update is None and serves:
        from fastnn._kernels import jit

        try:
            address = jit.address(f"optimizer.{name}", dtype=dtype.name, **static)
        except KernelsUnavailable:
            serves = False
        else:
            cost *= dtype.itemsize / 4
            update = updates[key] = SegmentedUpdate(name, columns, address, cost)
    width = len(columns)
    if update is not None and serves:
        try:
            update(arrays, flags, cells)
        except LayoutError:
            _run_laid_out(update, arrays, flags, cells, width)
        return
    for first in range(0, len(arrays), width):
        reference(*arrays[first : first + width], *flags, *cells)


def _run_laid_out(
    update: SegmentedUpdate, arrays: list[np.ndarray], flags: tuple[int, ...], cells: tuple[float, ...], width: int
) -> None:
    """Run over copies that lie alike in memory, and write back what the update changes."""
    ready: list[np.ndarray] = []
    for first in range(0, len(arrays), width):
        p = dense_copy(arrays[first])
        ready.append(p)
        for other in arrays[first + 1 : first + width]:
            column = dense_zeros(p)
            np.copyto(column, other)
            ready.append(column)
    update(ready, flags, cells)
    for i, (own, copy) in enumerate(zip(arrays, ready, strict=True)):
        if i % width != 1:
            np.copyto(own, copy)


def _settle(x: np.ndarray) -> None:
    """Set to zero what has sunk below the normal range, as the kernels do."""
    x[np.abs(x) < np.finfo(x.dtype).tiny] = 0


def sgd_reference(
    p: np.ndarray, g: np.ndarray, buffer: np.ndarray | None, nesterov: bool, maximize: int, lr: float,
    momentum: float, dampening: float, weight_decay: float, started: float,
) -> None:  # fmt: skip
    """One step of SGD in place, as ``torch.optim.SGD``: see `fastnn._kernels.optimizer.sgd`."""
    g = -g if maximize else g
    if weight_decay:
        g = g + weight_decay * p
    if buffer is not None:
        buffer[...] = momentum * buffer + (1 - dampening) * g if started else g
        _settle(buffer)
        g = g + momentum * buffer if nesterov else buffer
    p -= lr * g


def adam_reference(
    p: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, largest: np.ndarray | None, maximize: int,
    decoupled: int, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, correction1: float,
    correction2: float,
) -> None:  # fmt: skip
    """One step of Adam or AdamW in place, as ``torch.optim``: see `fastnn._kernels.optimizer.adam`."""
    g = -g if maximize else g
    if weight_decay and decoupled:
        p *= 1 - lr * weight_decay
    elif weight_decay:
        g = g + weight_decay * p
    m += (1 - beta1) * (g - m)
    _settle(m)
    v *= beta2
    v += (1 - beta2) * g * g
    if largest is not None:
        np.maximum(largest, v, out=largest)
        v = largest
    p -= (lr / correction1) * m / (np.sqrt(v) / np.sqrt(correction2) + eps)


def sgd(
    arrays: list[np.ndarray], flags: tuple[int, ...], cells: tuple[float, ...], *, dtype: np.dtype[Any], momentum: bool,
    nesterov: bool,
) -> None:  # fmt: skip
    """SGD on segments (parameter, gradient, and with momentum its buffer).

    flags : maximize. cells : lr, momentum, dampening, weight_decay, started (0.0 at a segment's first step).
    """

    def reference(*given: Any) -> None:
        p, g, *rest = given
        buffer = rest.pop(0) if momentum else None
        sgd_reference(p, g, buffer, nesterov, *rest)

    columns = ("parameter", "gradient", "momentum_buffer")[: 3 if momentum else 2]
    _run("sgd", columns, arrays, flags, cells, 0.25, reference, dtype, momentum=momentum, nesterov=nesterov)


def adam(
    arrays: list[np.ndarray], flags: tuple[int, ...], cells: tuple[float, ...], *, dtype: np.dtype[Any], amsgrad: bool
) -> None:
    """Adam on segments (parameter, gradient, mean, mean square, with amsgrad the largest mean square).

    flags : maximize, decoupled weight decay. cells : lr, beta1, beta2, eps, weight_decay, ``1 - beta1**step``,
    ``1 - beta2**step``.
    """

    def reference(*given: Any) -> None:
        states = list(given[:4]) + ([given[4]] if amsgrad else [None])
        adam_reference(*states, *given[5 if amsgrad else 4 :])

    columns = ("parameter", "gradient", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 5 if amsgrad else 4]
    _run("adam", columns, arrays, flags, cells, 0.6, reference, dtype, amsgrad=amsgrad)
