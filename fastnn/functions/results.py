"""What functions with several results give: tuples with torch's field names; and how results reach ``out``."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from fastnn import _numpy_views as views
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import DTypeError
from fastnn.functions import arguments
from fastnn.tensor import Tensor, as_tensor, from_numpy

PAIRS: dict[str, Any] = {
    name: namedtuple(name, "values indices")
    for name in ["max", "min", "cummax", "cummin", "sort", "topk", "kthvalue", "median", "nanmedian", "mode"]
}
aminmax = namedtuple("aminmax", "min max")


def tensor_of(name: str, input: Any) -> Tensor:
    """The input as a Tensor; TypeError for what holds no numbers."""
    if isinstance(input, Tensor):
        return input
    if isinstance(input, (str, bytes)) or input is None:
        raise TypeError(f"{name}: input must be a Tensor, got {type(input).__name__}")
    return as_tensor(input)


def floats_of(name: str, input: Any, dtype: Any = None) -> Tensor:
    """The input converted to `dtype`, if given; DTypeError unless it is a floating one then."""
    x = tensor_of(name, input)
    if dtype is not None and x.dtype != dtype:
        x = x.to(dtype=dtype)
    if x.dtype.kind != "f":
        raise DTypeError(f"{name}: the dtype must be a floating one, got {x.dtype}")
    return x


def axis_of(name: str, dim: Any, x: Tensor) -> int:
    """A dim counted from 0."""
    return views.axis_argument(name, dim, x.ndim)


def plain(array: Any) -> Tensor:
    """A Tensor of an array that no gradient goes through."""
    return from_numpy(np.asarray(array))


def into(name: str, out: Any, result: Tensor) -> Tensor:
    """As `arguments.into`, `out` before the result."""
    filled: Tensor = arguments.into(name, result, out)
    return filled


def pair(name: str, out: Any, values: Tensor, indices: Tensor) -> Any:
    """Values and indices under torch's field names, in the two Tensors of `out` if given."""
    if out is not None:
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise TypeError(f"{name}: out must be a pair of Tensors, got {out!r}")
        values, indices = into(name, out[0], values), into(name, out[1], indices)
    return PAIRS[name](values, indices)


def call(op: Any, x: Tensor, out: Any, **attributes: Any) -> Any:
    """Call an op; into `out` directly where its shape and dtype are right."""
    if out is None:
        return op(x, **attributes)
    if isinstance(out, TensorBase) and out.dtype == x.dtype and out.array.size:
        return op(x, **attributes, out=out)
    return into(op.name, out, op(x, **attributes))
