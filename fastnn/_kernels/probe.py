"""Small kernels that measure this machine and exercise the compiler in the tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._kernels.jit import kernel
from fastnn._kernels.pointer import cell, fma, pointer


@kernel
def axpy(dtype: str) -> Any:
    """``y[i] = fma(alpha, x[i], y[i])``; args: x, y, elements a chunk, address of alpha's cell."""
    scalar = np.dtype(dtype).type

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        x = pointer(args[0], dtype)
        y = pointer(args[1], dtype)
        alpha = scalar(cell(args[3]))
        for i in range(first * args[2], last * args[2]):
            y[i] = fma(alpha, x[i], y[i])

    return body
