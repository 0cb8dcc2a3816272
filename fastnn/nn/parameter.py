"""Parameter: a Tensor that a Module trains."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import _default_dtype
from fastnn._runtime.memory import empty
from fastnn.tensor import Tensor, as_tensor


class Parameter(Tensor):
    """A Tensor that registers itself when it is assigned to a Module's attribute.

    Parameters
    ----------
    data : Tensor or array whose memory the parameter takes over.
    requires_grad : whether it is trained.
    """

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Parameter:
        """Make a parameter that shares `data`'s memory."""
        self: Parameter = super().__new__(cls)
        if data is None:
            data = np.empty(0, np.float32)
        self._set_array(as_tensor(data).array)
        self.requires_grad = requires_grad
        return self

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        pass  # `__new__` has done it: pickle and copy make a Parameter without calling this

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


def uniform(shape: tuple[int, ...], bound: float, dtype: npt.DTypeLike | None, transposed: bool = False) -> Parameter:
    """A parameter drawn from U(-bound, bound); `transposed` puts the first axis innermost in memory."""
    from fastnn.random import default_generator

    wanted = _default_dtype.floating if dtype is None else np.dtype(dtype)
    memory = empty(shape[::-1] if transposed else shape, wanted)
    # drawn in C order of the logical shape, so that the layout does not change the numbers
    view = memory.T if transposed else memory
    view[...] = default_generator.numpy().uniform(-bound, bound, size=shape)
    return Parameter(view)
