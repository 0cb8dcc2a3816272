"""Compares plain values: structure, dtypes, shapes, then numbers. Knows neither library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.conformance.convert import Named

# By dtype: relative and absolute tolerance, some ten times those of torch.testing.assert_close. The absolute one is
# for results of order one: it grows with the largest magnitude, since sums of large terms cancel.
TOLERANCES = {"float16": (1e-2, 1e-3), "float32": (2e-5, 2e-5), "float64": (1e-7, 1e-9)}


class Different(Exception):
    """The values are not the same; the message says where and how."""


def compare(ours: Any, theirs: Any, *, factor: float = 1.0, values: bool = True, where: str = "") -> None:
    """Raise Different unless `ours` is what `theirs` is.

    Parameters
    ----------
    factor : multiplies the tolerances.
    values : False compares structure, dtypes and shapes alone (random and uninitialised results).
    """
    at = f"{where}: " if where else ""
    if isinstance(theirs, np.ndarray):
        _arrays(ours, theirs, factor, values, at)
    elif isinstance(theirs, (tuple, list)):
        if not isinstance(ours, (tuple, list)):
            raise Different(f"{at}expected {len(theirs)} results, got {type(ours).__name__}")
        if len(ours) != len(theirs):
            raise Different(f"{at}expected {len(theirs)} results, got {len(ours)}")
        if isinstance(theirs, Named) and getattr(ours, "names", None) != theirs.names:
            raise Different(f"{at}expected members named {theirs.names}, got {getattr(ours, 'names', 'none')}")
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            compare(a, b, factor=factor, values=values, where=f"{where}[{i}]")
    elif isinstance(theirs, Mapping):
        if not isinstance(ours, Mapping) or list(ours) != list(theirs):
            raise Different(f"{at}expected keys {list(theirs)}, got {list(ours)}")
        for key in theirs:
            compare(ours[key], theirs[key], factor=factor, values=values, where=f"{where}[{key!r}]")
    elif isinstance(theirs, float):
        if not isinstance(ours, (float, np.floating)):
            raise Different(f"{at}expected {theirs!r}, got {ours!r}")
        _arrays(np.float64(ours), np.float64(theirs), 100 * factor, values, at)
    elif type(ours) is not type(theirs) or (values and ours != theirs):
        raise Different(f"{at}expected {theirs!r}, got {ours!r}")


def _arrays(ours: Any, theirs: Any, factor: float, values: bool, at: str) -> None:
    if not isinstance(ours, (np.ndarray, np.generic)):
        raise Different(f"{at}expected a tensor of shape {theirs.shape}, got {type(ours).__name__} {str(ours)[:60]}")
    if ours.shape != theirs.shape:
        raise Different(f"{at}expected shape {theirs.shape}, got {ours.shape}")
    if ours.dtype != theirs.dtype:
        raise Different(f"{at}expected dtype {theirs.dtype}, got {ours.dtype}")
    if not values or not theirs.size:
        return
    if theirs.dtype.kind != "f":
        wrong = ours != theirs
    else:
        relative, absolute = (factor * t for t in TOLERANCES[theirs.dtype.name])
        with np.errstate(all="ignore"):
            finite = np.isfinite(theirs)
            scale = max(1.0, float(np.abs(theirs[finite]).max(initial=0)))
            a, b = ours.astype(np.float64), theirs.astype(np.float64)
            close = np.abs(a - b) <= absolute * min(scale, 1e3) + relative * np.abs(b)
            wrong = np.where(finite, ~close, ~((a == b) | (np.isnan(a) & np.isnan(b))))
    if np.any(wrong):
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise Different(
            f"{at}{int(np.count_nonzero(wrong))} of {theirs.size} elements differ, at {index} expected "
            f"{theirs[index]!r}, got {ours[index]!r}"
        )


def same_gradient(ours: Any, theirs: Any, *, factor: float, where: str) -> None:
    """Compare gradients, where None means zeros."""
    if ours is None and theirs is None:
        return
    if ours is None:
        ours = np.zeros_like(theirs)
    if theirs is None:
        theirs = np.zeros_like(ours)
    compare(ours, theirs, factor=factor, where=where)
