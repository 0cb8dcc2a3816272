"""Copies in another arrangement: flipped, rolled, repeated, spread on a diagonal, cut to a triangle.

Each is a few copies of slices; its gradient copies or adds the same slices back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn._numpy_views import integer
from fastnn.errors import ShapeError
from fastnn.ops.elementwise import apply, contiguous, cut
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Saved
from fastnn.ops.reduction import sum_axes
from fastnn.ops.views import _diagonal, _hashable, axes_of, axis_of, fill, put, sliced, view_of

Cases = list[dict[str, Any]]


def _declare(
    name: str,
    forward: Callable[..., np.ndarray],
    backward: Callable[..., np.ndarray],
    lower: Callable[..., Any],
    lower_backward: Callable[..., Any],
    attributes: dict[str, Any],
    cases: Cases,
    check: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Op:
    return Op(
        name=name,
        shapes="x:(...) -> y:(...)",
        reference=(forward, backward),
        lower=(lower, lower_backward),
        attributes=attributes,
        check=check or (lambda given: {n: _hashable(v) for n, v in given.items()}),
        cases=cases,
        bench=[{**cases[0], "x": (1024,) * len(cases[0]["x"])}],
    )


# -- flip


def _flip(x: np.ndarray, *, axis: Any = None) -> np.ndarray:
    """The order of elements reversed along some axes (None: all)."""
    axes = tuple(range(x.ndim)) if axis is None else axes_of("flip", axis, x.ndim)
    return np.flip(x, axes if x.ndim else ()).copy()


def _flipped(x: Array, axis: Any) -> Array:
    axes = range(x.ndim) if axis is None else axes_of("flip", axis, x.ndim)
    return sliced(x, *(slice(None, None, -1 if a in axes else 1) for a in range(x.ndim)))


def _lower_flip(low: Lowering, x: Array) -> Array:
    # the copy may lie in any `out`; its steps backwards are the input's
    y = low.output(x.shape, x.dtype, into=lambda out: True)
    return apply(low, "copy", y, _flipped(x, low.attrs["axis"]))


flip = _declare(
    "flip",
    _flip,
    lambda ctx, dy: _flip(dy, **ctx.attrs),
    _lower_flip,
    _lower_flip,
    {"axis": None},
    [{"x": (4, 5), "axis": 1}, {"x": (2, 3, 4)}, {"x": (), "axis": ()}, {"x": (0, 3), "axis": (0, 1)}],
)


# -- roll


def _shifts(x: Any, shift: Any, axis: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shift and axis pairs, both counted from 0."""
    shifts = tuple(shift) if isinstance(shift, tuple) else (shift,)
    axes = tuple(axis) if isinstance(axis, tuple) else (axis,)
    if len(shifts) == 1 and len(axes) > 1:
        shifts *= len(axes)
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: axis must name as many axes as there are shifts {shifts}, got {axes}")
    total: dict[int, int] = {}
    for by, a in zip(shifts, axes, strict=True):
        place = axis_of("roll", a, len(x.shape))
        total[place] = total.get(place, 0) + integer("roll: shift", by)
    named = {a: by % n for a, by in total.items() if a < len(x.shape) and (n := x.shape[a]) and by % n}
    return tuple(named.values()), tuple(named)


def _roll(x: np.ndarray, *, shift: Any, axis: Any = None) -> np.ndarray:
    """Elements moved along axes by `shift` places, those that leave at the end coming back at the start.

    Without an axis the elements move in C order.
    """
    if axis is None:
        return np.asarray(np.roll(x, shift if not isinstance(shift, tuple) else sum(shift)))
    shifts, axes = _shifts(x, shift, axis)
    return np.roll(x, shifts, axes) if axes else x.copy()


def _unroll(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    shift = ctx.attrs["shift"]
    return _roll(dy, shift=tuple(-s for s in shift) if isinstance(shift, tuple) else -shift, axis=ctx.attrs["axis"])


def _lower_rolled(sign: int) -> Callable[..., Array]:
    def lower(low: Lowering, x: Array) -> Array:
        shift, axis = low.attrs["shift"], low.attrs["axis"]
        y = low.output(x.shape, x.dtype)
        to, of = y, x
        if axis is None:
            of = contiguous(low, x)
            of = replace(of, shape=(x.size,), strides=(1,))
            to = replace(y, shape=(x.size,), strides=(1,))
            shift, axis = (sum(shift) if isinstance(shift, tuple) else shift), 0
        shift = tuple(sign * s for s in shift) if isinstance(shift, tuple) else sign * shift
        shifts, axes = _shifts(of, shift, axis)
        pieces = [((slice(by, None), slice(None, -by)), (slice(None, by), slice(-by, None))) for by in shifts]
        for choice in itertools.product(*pieces):
            target, source = [slice(None)] * of.ndim, [slice(None)] * of.ndim
            for a, (put_at, take_from) in zip(axes, choice, strict=True):
                target[a], source[a] = put_at, take_from
            put(low, sliced(to, *target), sliced(of, *source))
        return y

    return lower


roll = _declare(
    "roll",
    _roll,
    _unroll,
    _lower_rolled(1),
    _lower_rolled(-1),
    {"shift": 0, "axis": None},
    [
        {"x": (4, 5), "shift": 2, "axis": 1},
        {"x": (4, 5), "shift": -7},
        {"x": (2, 3, 4), "shift": (1, -1), "axis": (0, 2)},
        {"x": (), "shift": 1},
        {"x": (0, 3), "shift": 1, "axis": 0},
    ],
)


# -- repetition: an axis of repeats before (tile) or after (repeat) an axis, copied by stride 0


def _reps(ndim: int, reps: Any) -> tuple[int, ...]:
    counts = reps if isinstance(reps, tuple) else (reps,)
    counts = tuple(integer("tile: reps", n) for n in counts)
    if any(n < 0 for n in counts):
        raise ShapeError(f"tile: reps must not be negative, got {counts}")
    return (1,) * (ndim - len(counts)) + counts


def _tile(x: np.ndarray, *, reps: Any) -> np.ndarray:
    """The array as a tile, laid `reps` times along each axis; missing axes are new ones in front."""
    return np.tile(x, _reps(x.ndim, reps))


def _tile_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    shape, reps = _tiled(ctx.shapes["x"], ctx.attrs["reps"])
    parts = dy.reshape([n for pair in zip(reps, shape, strict=True) for n in pair])
    return parts.sum(axis=tuple(range(0, parts.ndim, 2)), dtype=dy.dtype).reshape(ctx.shapes["x"])


def _tiled(shape: tuple[int, ...], reps: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    counts = _reps(len(shape), reps)
    return (1,) * (len(counts) - len(shape)) + shape, counts


def _interleaved(x: Array, shape: tuple[int, ...], counts: tuple[int, ...], before: bool) -> Array:
    """Every axis beside one of its repeats."""
    strides = (0,) * (len(shape) - x.ndim) + x.strides
    pairs = [((r, n), (0, s)) if before else ((n, r), (s, 0)) for n, s, r in zip(shape, strides, counts, strict=True)]
    return replace(x, shape=tuple(e for p, _ in pairs for e in p), strides=tuple(s for _, p in pairs for s in p))


def _split(y: Array, shape: tuple[int, ...], counts: tuple[int, ...], before: bool) -> Array:
    """The result with each axis split into that of the tile and that of its repeats."""
    pairs = []
    for n, r, s in zip(shape, counts, y.strides, strict=True):
        pairs.append(((r, n), (s * n, s)) if before else ((n, r), (s * r, s)))
    return replace(y, shape=tuple(e for p, _ in pairs for e in p), strides=tuple(s for _, p in pairs for s in p))


def _lower_repeated(plan: Callable[..., Any], before: bool) -> tuple[Callable[..., Array], Callable[..., Array]]:
    def lower(low: Lowering, x: Array) -> Array:
        shape, counts = plan(x.shape, **low.attrs)
        if x.ndim > 1 and len(shape) == 1:
            x = replace(contiguous(low, x), shape=shape, strides=(1,))
        y = low.output([n * r for n, r in zip(shape, counts, strict=True)], x.dtype)
        apply(low, "copy", _split(y, shape, counts, before), _interleaved(x, shape, counts, before), in_place=True)
        return y

    def lower_backward(low: Lowering, dy: Array) -> Array:
        own = low.shapes["x"]
        assert own is not None
        shape, counts = plan(own, **low.attrs)
        parts = _split(dy, shape, counts, before)
        axes = range(0 if before else 1, parts.ndim, 2)
        return sum_axes(low, parts, tuple(axes), low.output(own, dy.dtype))

    return lower, lower_backward


tile = _declare(
    "tile",
    _tile,
    _tile_backward,
    *_lower_repeated(_tiled, True),
    {"reps": 1},
    [
        {"x": (2, 3), "reps": (2, 2)},
        {"x": (3,), "reps": (2, 1, 3)},
        {"x": (), "reps": 3},
        {"x": (2, 3), "reps": (0, 1)},
    ],
)


def _repeated(shape: tuple[int, ...], repeats: Any, axis: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if integer("repeat: repeats", repeats) < 0:
        raise ShapeError(f"repeat: repeats must not be negative, got {repeats}")
    if axis is None or not shape:
        size = 1
        for n in shape:
            size *= n
        if axis is not None:
            axis_of("repeat", axis, 0)
        return (size,), (repeats,)
    axis = axis_of("repeat", axis, len(shape))
    return shape, tuple(repeats if a == axis else 1 for a in range(len(shape)))


def _repeat(x: np.ndarray, *, repeats: int, axis: int | None = None) -> np.ndarray:
    """Each element `repeats` times in a row along an axis (None: all elements in C order, a result of one axis)."""
    _repeated(x.shape, repeats, axis)
    return np.repeat(x, repeats, axis if x.ndim else None)


def _repeat_backward(ctx: Saved, dy: np.ndarray) -> np.ndarray:
    shape, counts = _repeated(ctx.shapes["x"], ctx.attrs["repeats"], ctx.attrs["axis"])
    parts = dy.reshape([n for pair in zip(shape, counts, strict=True) for n in pair])
    return parts.sum(axis=tuple(range(1, parts.ndim, 2)), dtype=dy.dtype).reshape(ctx.shapes["x"])


repeat = _declare(
    "repeat",
    _repeat,
    _repeat_backward,
    *_lower_repeated(_repeated, False),
    {"repeats": 1, "axis": None},
    [{"x": (2, 3), "repeats": 2, "axis": 1}, {"x": (2, 3), "repeats": 3}, {"x": (), "repeats": 2}],
)


# -- matrices: a vector on a diagonal, and triangles


def _embedded(shape: tuple[int, ...], offset: Any, axis1: Any, axis2: Any) -> tuple[int, ...]:
    if not shape:
        raise ShapeError("diag_embed: x must have at least 1 axis, got shape ()")
    one, two = (axis_of("diag_embed", a, len(shape) + 1) for a in (axis1, axis2))
    if one == two:
        raise ShapeError(f"diag_embed: axis1 and axis2 must be different axes, got {axis1} and {axis2}")
    size = shape[-1] + abs(integer("diag_embed: offset", offset))
    result = list(shape[:-1])
    for axis in sorted((one, two)):
        result.insert(axis, size)
    return tuple(result)


def _diag_embed(x: np.ndarray, *, offset: int = 0, axis1: int = -2, axis2: int = -1) -> np.ndarray:
    """Matrices, 0 but for a diagonal that holds the last axis; they take the axes `axis1` and `axis2` of the result."""
    y = np.zeros(_embedded(x.shape, offset, axis1, axis2), x.dtype)
    place = _diagonal(y, offset=offset, axis1=axis1, axis2=axis2)
    place[...] = x
    return y


def _lower_diag_embed(low: Lowering, x: Array) -> Array:
    y = fill(low, low.output(_embedded(x.shape, **low.attrs), x.dtype))
    put(low, view_of(y, _diagonal, **low.attrs), x)
    return y


diag_embed = _declare(
    "diag_embed",
    _diag_embed,
    lambda ctx, dy: _diagonal(dy, **ctx.attrs),
    _lower_diag_embed,
    lambda low, dy: view_of(dy, _diagonal, **low.attrs),
    {"offset": 0, "axis1": -2, "axis2": -1},
    [{"x": (3,)}, {"x": (2, 3), "offset": 1}, {"x": (2, 3), "offset": -2, "axis1": 0, "axis2": 2}, {"x": (0,)}],
)


def _triangle(name: str, lower: bool) -> Op:
    numpy = np.tril if lower else np.triu

    def forward(x: np.ndarray, *, k: int = 0) -> np.ndarray:
        if x.ndim < 2:
            raise ShapeError(f"{name}: x must have at least 2 axes, got shape {x.shape}")
        return numpy(x, max(-(1 << 40), min(1 << 40, k)))

    forward.__doc__ = f"Matrices with 0 {'above' if lower else 'below'} the diagonal k (0: the main one; 1: above it)."

    def phases(low: Lowering, x: Array) -> Array:
        if x.ndim < 2:
            raise ShapeError(f"{name}: x must have at least 2 axes, got shape {x.shape}")
        y = low.output(x.shape, x.dtype)
        if x.size == 0:
            return y
        source = contiguous(low, x)
        height, width = x.shape[-2:]
        rows = x.size // width
        block, _ = cut(x.size, 0.2 * x.itemsize / 4)
        group = max(1, block // width)
        diagonal = max(-(1 << 40), min(1 << 40, low.attrs["k"]))
        low.phase(
            "indexing.triangle",
            [writes(y), reads(source), rows, height, width, diagonal, group],
            chunks=-(-rows // group),
            work=x.size * 0.2 + 50,
            block=group * width,
            flops=0,
            dtype=x.dtype,
            lower=lower,
        )
        return y

    return _declare(
        name,
        forward,
        lambda ctx, dy: numpy(dy, max(-(1 << 40), min(1 << 40, ctx.attrs["k"]))),
        phases,
        phases,
        {"k": 0},
        [{"x": (4, 5)}, {"x": (2, 3, 4), "k": -1}, {"x": (2, 3, 3), "k": 5}, {"x": (0, 3)}],
        check=lambda given: {"k": integer(f"{name}: k", given["k"])},
    )


tril, triu = _triangle("tril", True), _triangle("triu", False)
