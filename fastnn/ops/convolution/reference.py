"""Convolutions in NumPy: what the kernels are held to."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from fastnn.ops.convolution.geometry import PLACES, TAPS, Geometry, forward_geometry, transposed_geometry
from fastnn.ops.op import Saved, Shape


def _windows(x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The padded input as (N, groups, C, places, taps)."""
    padded = np.pad(x, ((0, 0), (0, 0), *geometry.padding))
    n, c, *steps = padded.strides
    return as_strided(
        padded,
        (x.shape[0], geometry.groups, x.shape[1] // geometry.groups, *geometry.output, *geometry.kernel),
        (
            n, c * (x.shape[1] // geometry.groups), c,
            *(t * s for t, s in zip(steps, geometry.stride, strict=True)),
            *(t * d for t, d in zip(steps, geometry.dilation, strict=True)),
        ),
    )  # fmt: skip


def _grouped(w: np.ndarray, groups: int) -> np.ndarray:
    return w.reshape(groups, w.shape[0] // groups, *w.shape[1:])


def _at(places: Any) -> Any:
    """An index of the last axes."""
    return (..., *places)


def correlated(x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The sums over taps and channels, (N, O, places)."""
    places, taps = PLACES[: len(geometry.input)], TAPS[: len(geometry.input)]
    y = np.einsum(f"ngk{places}{taps},gok{taps}->ngo{places}", _windows(x, geometry), _grouped(w, geometry.groups))
    return y.reshape(x.shape[0], w.shape[0], *geometry.output)


def spread(dy: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """What `correlated` sends back to its input."""
    groups, count = geometry.groups, len(geometry.input)
    own = dy.reshape(dy.shape[0], groups, dy.shape[1] // groups, *geometry.output)
    result = np.zeros((dy.shape[0], groups, w.shape[1], *geometry.padded), dy.dtype)
    places = PLACES[:count]
    for tap in itertools.product(*map(range, geometry.kernel)):
        part = np.einsum(f"ngo{places},gok->ngk{places}", own, _grouped(w, groups)[_at(tap)])
        where = tuple(
            slice(t * d, t * d + s * (o - 1) + 1, s)
            for t, d, s, o in zip(tap, geometry.dilation, geometry.stride, geometry.output, strict=True)
        )
        result[_at(where)] += part
    inside = tuple(slice(p[0], p[0] + n) for p, n in zip(geometry.padding, geometry.input, strict=True))
    return result[_at(inside)].reshape(dy.shape[0], groups * w.shape[1], *geometry.input)


def _weight_gradient(x: np.ndarray, dy: np.ndarray, w_shape: Shape, geometry: Geometry) -> np.ndarray:
    groups, count = geometry.groups, len(geometry.input)
    own = dy.reshape(dy.shape[0], groups, dy.shape[1] // groups, *geometry.output)
    places, taps = PLACES[:count], TAPS[:count]
    dw = np.einsum(f"ngk{places}{taps},ngo{places}->gok{taps}", _windows(x, geometry), own)
    return dw.reshape(w_shape)


def _with_bias(y: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    return y if b is None else y + b.reshape(-1, *(1,) * (y.ndim - 2))


def convolved(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, **attrs: Any) -> np.ndarray:
    """The sum over taps and channels of ``x[n, c, s * place + d * tap - padding] * w[o, c, tap]``, plus ``b[o]``.

    x (N, C, ...) with one to three extents, w (O, C / groups, taps ...), b (O,). ``padding`` is a number, or one (or a
    pair before and after) for each axis; ``stride`` and ``dilation`` a number or one for each axis.
    """
    shapes = {"x": x.shape, "w": w.shape, "b": None if b is None else b.shape}
    return _with_bias(correlated(x, w, forward_geometry("conv", shapes, attrs)), b)


def convolved_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
    """The gradients of `convolved`."""
    x, w = ctx.saved["x"], ctx.saved["w"]
    geometry = forward_geometry("conv", {"x": x.shape, "w": w.shape}, ctx.attrs)
    return (
        spread(dy, w, geometry) if ctx.needs["x"] else None,
        _weight_gradient(x, dy, w.shape, geometry) if ctx.needs["w"] else None,
        dy.sum((0, *range(2, dy.ndim))) if ctx.needs["b"] else None,
    )


def transposed(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, **attrs: Any) -> np.ndarray:
    """The gradient that `conv` with the same weight and attributes sends to its input, plus ``b``.

    x (N, C, ...), w (C, O / groups, taps ...), b (O,). ``output_padding`` adds elements at the end of each axis.
    """
    shapes = {"x": x.shape, "w": w.shape, "b": None if b is None else b.shape}
    return _with_bias(spread(x, w, transposed_geometry("conv_transpose", shapes, attrs)), b)


def transposed_backward(ctx: Saved, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
    """The gradients of `transposed`."""
    x, w = ctx.saved["x"], ctx.saved["w"]
    geometry = transposed_geometry("conv_transpose", {"x": x.shape, "w": w.shape}, ctx.attrs)
    return (
        correlated(dy, w, geometry) if ctx.needs["x"] else None,
        _weight_gradient(dy, x, w.shape, geometry) if ctx.needs["w"] else None,
        dy.sum((0, *range(2, dy.ndim))) if ctx.needs["b"] else None,
    )
