"""Indices among equal elements: where torch promises no order, any that point at the same values are as good.

Knows neither library: arguments and results are plain values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.conformance.convert import Named

# Where the axis stands among the positional arguments after the input; those with several indices along it.
AXES = {"sort": 0, "argsort": 0, "topk": 1, "kthvalue": 1, "mode": 0}
WHOLE = ("sort", "argsort", "topk")


def allow(name: str, input: Any, rest: Sequence[Any], named: Mapping[str, Any], ours: Any, theirs: Any) -> Any:
    """What to compare `ours` with: `theirs`, with our indices where they are as good.

    Indices are as good if they are in range, point at values equal to those that `theirs` point at, and, where several
    along the axis are asked for, name none twice. With ``stable=True`` the order is promised: then only `theirs` will
    do, as for functions that are not in the table.
    """
    if name not in AXES or named.get("stable") or not isinstance(input, np.ndarray):
        return theirs
    if name == "argsort":
        return ours if _as_good(name, input, rest, named, ours, theirs) else theirs
    if not isinstance(ours, tuple) or not isinstance(theirs, tuple) or len(ours) != 2 or len(theirs) != 2:
        return theirs
    if not _as_good(name, input, rest, named, ours[1], theirs[1]):
        return theirs
    allowed = theirs[0], ours[1]
    return Named(theirs.names, allowed) if isinstance(theirs, Named) else allowed


def _as_good(
    name: str, input: np.ndarray, rest: Sequence[Any], named: Mapping[str, Any], ours: Any, theirs: np.ndarray
) -> bool:
    if not isinstance(ours, np.ndarray) or ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        return False
    place = AXES[name]
    axis = named.get("dim", rest[place] if len(rest) > place else -1)
    x = input.reshape(input.shape or (1,))
    own, other = (_beside(i, x.ndim, axis) for i in (ours, theirs))
    if own.size and (own.min() < 0 or own.max() >= x.shape[axis]):
        return False
    if name in WHOLE:
        ordered = np.sort(own, axis)
        if np.any(np.diff(ordered, axis=axis) == 0):
            return False
    return np.array_equal(
        np.take_along_axis(x, own, axis), np.take_along_axis(x, other, axis), equal_nan=x.dtype.kind == "f"
    )


def _beside(indices: np.ndarray, ndim: int, axis: int) -> np.ndarray:
    """Indices with the axis that was reduced kept as 1."""
    return indices if indices.ndim == ndim else np.expand_dims(indices, axis)
