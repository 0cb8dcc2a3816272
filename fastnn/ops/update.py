"""Optimizer updates: ops that change their arguments, over all parameters of a group at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._kernels import jit
from fastnn._runtime.segments import LayoutError, SegmentedUpdate
from fastnn._runtime.tensor import dense_copy, dense_zeros, get_backend
from fastnn.ops.op import KERNEL_DTYPES, NUMPY_BACKEND
from fastnn.ops.optimizer import adam_reference, sgd_reference


class Update:
    """An optimizer's update.

    Parameters
    ----------
    name : as errors call it.
    kernel : its kernel; static parameters are given at each call.
    columns : names of a segment's arrays: the parameter, its gradient, then its state.
    flags, cells : names of the kernel's integer and float arguments, in order.
    options : static parameters that the reference takes too.
    reference : NumPy, in place: takes a segment's arrays, then options, flags and cells by name.
    nanoseconds : estimated work an element on one thread.
    """

    def __init__(
        self, name: str, kernel: str, columns: tuple[str, ...], flags: tuple[str, ...], cells: tuple[str, ...],
        options: tuple[str, ...], reference: Callable[..., None], nanoseconds: float,
    ) -> None:  # fmt: skip
        self.name, self.kernel, self.columns, self.flags, self.cells = name, kernel, columns, flags, cells
        self.options, self.reference, self.nanoseconds = options, reference, nanoseconds
        self._compiled: dict[tuple[Any, ...], SegmentedUpdate] = {}

    def __call__(
        self, arrays: list[np.ndarray], flags: tuple[int, ...], cells: tuple[float, ...], *, states: int, dtype: str,
        **static: Any,
    ) -> None:  # fmt: skip
        """Update segments in place.

        Parameters
        ----------
        arrays : the columns (parameter, gradient and `states` states) of the first segment, of the second, and so on.
        flags, cells : values in the declared order.
        dtype : of all arrays.
        static : the kernel's other compile-time parameters.
        """
        count = 2 + states
        if get_backend() == NUMPY_BACKEND or dtype not in KERNEL_DTYPES:
            named = {name: static[name] for name in self.options}
            named |= dict(zip(self.flags + self.cells, flags + cells, strict=True))
            for start in range(0, len(arrays), count):
                self.reference(*arrays[start : start + count], **named)
            return
        key = (dtype, states, *static.values())
        update = self._compiled.get(key)
        if update is None:
            address = jit.address(self.kernel, dtype=dtype, **static)
            update = SegmentedUpdate(self.name, self.columns[:count], address, self.nanoseconds)
            self._compiled[key] = update
        try:
            update(arrays, flags, cells)
        except LayoutError:
            self._laid_out(update, arrays, flags, cells, count)

    @staticmethod
    def _laid_out(
        update: SegmentedUpdate, arrays: list[np.ndarray], flags: tuple[int, ...], cells: tuple[float, ...], count: int
    ) -> None:
        """Run over copies that lie alike, and write back what the update changes."""
        ready: list[np.ndarray] = []
        for start in range(0, len(arrays), count):
            p = dense_copy(arrays[start])
            ready.append(p)
            for other in arrays[start + 1 : start + count]:
                column = dense_zeros(p)
                np.copyto(column, other)
                ready.append(column)
        update(ready, flags, cells)
        for i, (own, copy) in enumerate(zip(arrays, ready, strict=True)):
            if i % count != 1:
                np.copyto(own, copy)


sgd = Update(
    "SGD", "optimizer.sgd", ("parameter", "gradient", "momentum"),
    ("maximize",), ("lr", "momentum", "dampening", "weight_decay", "started"), ("nesterov",), sgd_reference, 0.15,
)  # fmt: skip
adam = Update(
    "Adam", "optimizer.adam", ("parameter", "gradient", "mean", "mean square", "largest mean square"),
    ("maximize", "decoupled"), ("lr", "beta1", "beta2", "eps", "weight_decay", "correction1", "correction2"),
    (), adam_reference, 0.3,
)  # fmt: skip
