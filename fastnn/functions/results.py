"""What functions with several results give: tuples with torch's field names; and how results reach ``out``."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from fastnn import _numpy_views as views
from fastnn._runtime.tensor import TensorBase
from fastnn.functions.arguments import into
from fastnn.tensor import Tensor, from_numpy

PAIRS: dict[str, Any] = {
    name: namedtuple(name, "values indices")
    for name in ["max", "min", "cummax", "cummin", "sort", "topk", "kthvalue", "median", "nanmedian", "mode"]
}
aminmax = namedtuple("aminmax", "min max")


def axis_of(name: str, dim: Any, x: Tensor) -> int:
    """A dim counted from 0."""
    return views.axis_argument(name, dim, x.ndim)


def plain(array: Any) -> Tensor:
    """A Tensor of an array that no gradient goes through."""
    return from_numpy(np.asarray(array))


def pair(name: str, out: Any, values: Tensor, indices: Tensor) -> Any:
    """Values and indices under torch's field names, in the two Tensors of `out` if given."""
    if out is not None:
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise TypeError(f"{name}: out must be a pair of Tensors, got {out!r}")
        values, indices = into(name, values, out[0]), into(name, indices, out[1])
    return PAIRS[name](values, indices)


def call(op: Any, x: Tensor, out: Any, **attributes: Any) -> Any:
    """Call an op; into `out` directly where its shape and dtype are right."""
    if out is None:
        return op(x, **attributes)
    if isinstance(out, TensorBase) and out.dtype == x.dtype and out.array.size:
        return op(x, **attributes, out=out)
    return into(op.name, op(x, **attributes), out)
