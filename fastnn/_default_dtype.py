"""The dtype that Python's floats become in Tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._runtime.capture import restructure
from fastnn.errors import DTypeError

# dtypes of the float, and of the complex number that is made of two of them
floating: np.dtype[Any] = np.dtype(np.float32)
complex_: np.dtype[Any] = np.dtype(np.complex64)


def set_default_dtype(d: Any) -> None:
    """Have Python's floats become `d`, a floating dtype, in new Tensors and beside Tensors of integers."""
    global floating, complex_
    wanted = np.dtype(d)
    if wanted.kind != "f":
        raise DTypeError(f"set_default_dtype: d must be a floating dtype, got {wanted}")
    floating, complex_ = wanted, np.dtype(np.complex128 if wanted == np.float64 else np.complex64)
    restructure()  # calls that were recorded with the former one hold no longer


def get_default_dtype() -> np.dtype[Any]:
    """The dtype that Python's floats become in new Tensors; float32 unless it was set."""
    return floating
