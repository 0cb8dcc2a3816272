"""Products of vectors that lie along an axis, and matrices of a vector's powers."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import ops
from fastnn.errors import ArgumentError, ShapeError
from fastnn.functions.arguments import input_of, into, together
from fastnn.functions.pointwise import mul, pow
from fastnn.functions.results import axis_of, plain
from fastnn.tensor import Tensor


def cross(input: Any, other: Any, dim: int | None = None, *, out: Any = None) -> Tensor:
    """Cross products of the vectors of three along `dim` (default: the first axis of extent 3); operands broadcast."""
    input, other = input_of("cross", input), input_of("cross", other)
    x, y = together("cross", input, other)
    if dim is None:
        axis = next((a for a, n in enumerate(x.shape) if n == 3), None)
        if axis is None:
            raise ShapeError(f"cross: input must have an axis of extent 3, got shape {x.shape}")
    else:
        axis = axis_of("cross", dim, x)
    for name, given in (("input", input), ("other", other)):
        own = axis - x.ndim + len(given.shape)
        if own < 0 or given.shape[own] != 3:
            raise ShapeError(f"cross: {name} must have extent 3 along axis {axis}, got shape {tuple(given.shape)}")

    def turned(z: Tensor, by: int) -> Tensor:
        return ops.roll(z, by, axis)

    product = ops.subtract(mul(turned(x, -1), turned(y, -2)), mul(turned(x, -2), turned(y, -1)))
    return into("cross", product, out)


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of a vector's elements, (M) -> (M, N): from ``N - 1`` down to 0, or from 0 up. N is M by default."""
    points = input_of("vander", x)
    if points.ndim != 1:
        raise ShapeError(f"vander: x must have 1 axis, got shape {points.shape}")
    return powers("vander", points, N, increasing)


def powers(name: str, points: Tensor, count: int | None, increasing: bool) -> Tensor:
    """The powers of each element along a new last axis."""
    count = points.shape[-1] if count is None else count
    if count < 0:
        raise ArgumentError(f"{name}: N must not be negative, got {count}")
    exponents = np.arange(count, dtype=points.dtype if points.dtype.kind == "f" else np.int64)
    return pow(ops.expand_dims(points, -1), plain(exponents if increasing else exponents[::-1]))


__all__ = ["cross", "vander"]
