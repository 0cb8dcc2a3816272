"""Run phases without the runtime: a small executor in plain Python, for tests and measurements of kernels.

arrays = [a, b]
low = lowering(arrays)
y = low.output((m, n), "float32")
product(low, *low.inputs, y)
result = run(low, arrays)[y]
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastnn._kernels import jit
from fastnn.ops.lowering import ALIGNMENT, Array, Cell, Lowering, Operand, Phase, Routine

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


def symbolic(array: np.ndarray[Any, Any], storage: int) -> Array:
    """The symbolic array for a NumPy array whose first element lies at the address of its storage."""
    strides = tuple(s // array.itemsize for s in array.strides)
    return Array(storage, array.shape, strides, str(array.dtype))


def lowering(arrays: Sequence[np.ndarray[Any, Any] | None]) -> Lowering:
    """A lowering whose inputs are the given arrays."""
    return Lowering(tuple(None if a is None else symbolic(a, i) for i, a in enumerate(arrays)))


def aligned(nbytes: int) -> np.ndarray[Any, Any]:
    """Bytes at an address that is a multiple of 64, filled with a pattern that is NaN as a float."""
    raw = np.full(nbytes + ALIGNMENT, 0xFF, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]


@functools.cache
def _scratch() -> np.ndarray[Any, Any]:
    """One thread's scratch."""
    return aligned(jit.SCRATCH_BYTES)


class Execution:
    """Storages of a lowering and its phases ready to run.

    Parameters
    ----------
    low : what was lowered.
    arrays : the inputs, as given to `lowering`.
    cells : values of hyper-parameters by name.
    """

    def __init__(
        self,
        low: Lowering,
        arrays: Sequence[np.ndarray[Any, Any] | None],
        cells: Mapping[str, float] | None = None,
    ) -> None:
        self.arrays = list(arrays)
        self.buffers = [aligned(s.nbytes) for s in low.storages[len(self.arrays) :]]
        self.cells = {name: np.array(value, np.float64) for name, value in (cells or {}).items()}
        self.scratch = _scratch()
        self.phases = [(self._kernel(p), self._arguments(p), p) for p in low.phases]

    def _kernel(self, phase: Phase) -> Callable[..., None]:
        return KERNEL(jit.address(phase.kernel, **dict(phase.static)))

    def _base(self, storage: int) -> int:
        if storage < len(self.arrays):
            array = self.arrays[storage]
            return 0 if array is None else array.ctypes.data
        return int(self.buffers[storage - len(self.arrays)].ctypes.data)

    def _arguments(self, phase: Phase) -> np.ndarray[Any, Any]:
        values = []
        for argument in phase.args:
            if isinstance(argument, Operand):
                values.append(self._base(argument.array.storage) + argument.array.offset)
            elif isinstance(argument, Cell):
                values.append(self.cells[argument.name].ctypes.data)
            elif isinstance(argument, Routine):
                values.append(jit.address(argument.kernel, **dict(argument.static)))
            else:
                values.append(argument)
        return np.array(values, np.int64)

    def run(self, chunks_at_a_time: int = 0, *, backwards: bool = False) -> None:
        """Run every phase; its chunks all in one call (0) or some at a time, from the last to the first if asked."""
        for kernel, arguments, phase in self.phases:
            step = chunks_at_a_time or phase.chunks
            calls = [(first, min(phase.chunks, first + step)) for first in range(0, phase.chunks, step)]
            for first, last in reversed(calls) if backwards else calls:
                kernel(arguments.ctypes.data, first, last, self.scratch.ctypes.data)

    def __getitem__(self, array: Array) -> np.ndarray[Any, Any]:
        """The values of a symbolic array, as a view."""
        if array.storage < len(self.arrays):
            found = self.arrays[array.storage]
            if found is None:
                raise KeyError(array)
            return found
        flat = self.buffers[array.storage - len(self.arrays)][array.offset :].view(array.dtype)
        strides = tuple(s * array.itemsize for s in array.strides)
        return np.lib.stride_tricks.as_strided(flat, array.shape, strides)


def run(
    low: Lowering,
    arrays: Sequence[np.ndarray[Any, Any] | None],
    cells: Mapping[str, float] | None = None,
) -> Execution:
    """Run a lowering's phases once; index the result with symbolic arrays."""
    execution = Execution(low, arrays, cells)
    execution.run()
    return execution
