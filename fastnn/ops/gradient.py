"""Gradients taken together: their norm as one vector, and limits; NumPy references and kernels over segments."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._kernels.errors import KernelsUnavailable
from fastnn._runtime.dispatch import get_backend
from fastnn._runtime.segments import LayoutError, SegmentedNorm
from fastnn.ops.op import KERNEL_DTYPES, NUMPY_BACKEND
from fastnn.ops.update import Array, Update

# A thread's own, because a norm keeps its tables from call to call.
_own = threading.local()


def _kind(order: float) -> str:
    """The row of the kernels' table that has a norm; none where it does not combine over elements."""
    if order in (1, 2, math.inf, -math.inf):
        return {1: "one", 2: "two", math.inf: "most", -math.inf: "least"}[order]
    return "" if order == 0 or math.isnan(order) else "power"


def total_norm(gradients: Sequence[Array], order: float, limit: float | None = None) -> float:
    """The norm of all gradients as one vector; with a `limit` above which they are scaled down in place.

    Sums are in float64. Norms of order 0 count the gradients that are not zero all over, as torch's.
    """
    arrays = list(gradients)
    kind, dtypes = _kind(order), {a.dtype for a in arrays}
    if kind and len(dtypes) == 1 and _distinct(arrays):
        norm = _norm(kind, next(iter(dtypes)))
        if norm is not None:
            try:
                return norm(arrays, order, math.inf if limit is None else limit, limit is not None)
            except LayoutError:
                pass
    found = norm_reference(arrays, order)
    if limit is not None:
        scale_all(arrays, factor_for(found, limit))
    return found


def _distinct(arrays: list[Array]) -> bool:
    return len({id(a) for a in arrays}) == len(arrays)


def _norm(kind: str, dtype: np.dtype[Any]) -> SegmentedNorm | None:
    """What computes a norm with kernels; None where only the reference can."""
    norms: dict[Any, SegmentedNorm] = _own.__dict__
    norm = norms.get((kind, dtype))
    if get_backend() == NUMPY_BACKEND or (norm is None and dtype.name not in KERNEL_DTYPES):
        return None
    if norm is None:
        from fastnn._kernels import jit

        kernels: list[tuple[str, dict[str, Any]]] = [
            ("gradient.measure", {"dtype": dtype.name, "norm": kind}),
            ("gradient.total", {"norm": kind}),
            ("gradient.scale", {"dtype": dtype.name}),
        ]
        try:
            jit.prepare(kernels)
            measure, total, shrink = (jit.address(name, **static) for name, static in kernels)
        except KernelsUnavailable:
            return None
        cost = (2.0 if kind == "power" else 0.1) * dtype.itemsize / 4
        norm = norms[kind, dtype] = SegmentedNorm(measure, total, shrink, cost)
    return norm


def norm_reference(gradients: Sequence[Array], order: float) -> float:
    """The norm of all gradients, gradient by gradient."""
    sizes = [np.abs(g, dtype=np.float64) for g in gradients]
    with np.errstate(all="ignore"):
        if order == 0:
            return float(sum(bool(np.any(s)) for s in sizes))
        if math.isinf(order):
            ends = [s.max() if order > 0 else s.min() for s in sizes if s.size]
            if not ends:
                return 0.0 if order > 0 else math.inf
            return float(np.max(ends) if order > 0 else np.min(ends))
        if order == 2:
            return float(np.sqrt(sum(np.sum(s * s) for s in sizes)))
        return float(np.float64(sum(np.sum(s**order) for s in sizes)) ** np.float64(1 / order))


def factor_for(norm: float, limit: float) -> float:
    """What brings a norm down to a limit; 1 where it is below."""
    factor = limit / (norm + 1e-6)
    return 1.0 if factor > 1 else factor


def scale_all(gradients: Sequence[Array], factor: float) -> None:
    """Multiply all gradients in place."""
    _each(scale, gradients, (factor,))


def clip_all(gradients: Sequence[Array], low: float, high: float) -> None:
    """Limit all elements of all gradients in place; NaN stays."""
    _each(clip, gradients, (low, high))


def _each(rule: Update, gradients: Sequence[Array], cells: tuple[float, ...]) -> None:
    of_dtype: dict[Any, list[Array]] = {}
    for g in gradients:
        if not g.flags.writeable:
            raise ValueError("a gradient to be limited must be writable")
        of_dtype.setdefault(g.dtype, []).append(g)
    for dtype, arrays in of_dtype.items():
        if _distinct(arrays):
            rule(arrays, (), cells, dtype=dtype)
        else:
            for g in arrays:
                rule([g], (), cells, dtype=dtype)


def scale_reference(g: Array, factor: float) -> None:
    """Multiply in place."""
    if factor != 1:
        g *= factor


def clip_reference(g: Array, low: float, high: float) -> None:
    """Limit each element in place."""
    np.clip(g, low, high, out=g)


scale = Update("gradient.scale", ("gradient",), 0.15, scale_reference, kept=-1)
clip = Update("gradient.clip", ("gradient",), 0.15, clip_reference, kept=-1)
