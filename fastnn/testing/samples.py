"""Sample calls of an op, drawn from its declaration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastnn.ops.op import Op


def sample(
    op: Op, case: Mapping[str, Any], dtype: str, seed: int = 0
) -> tuple[list[np.ndarray | None], dict[str, Any]]:
    """Inputs and attributes for one of an op's cases.

    Returns
    -------
    The inputs, C-contiguous arrays (None for an optional one whose name maps to None), and the attributes by name.
    """
    rng = np.random.default_rng(seed)
    attributes = {n: case[n] for n in op.attribute_names + op.cell_names if n in case}
    inputs: list[np.ndarray | None] = []
    shapes: dict[str, tuple[int, ...]] = {}
    for place in op.spec.inputs:
        if place.name in case and case[place.name] is None:
            inputs.append(None)
            continue
        if place.name in case:
            shape = tuple(case[place.name])
        elif place.dims is None:
            raise KeyError(f"{op.name}: the case {dict(case)} has no shape for {place.name}")
        else:
            shape = op.spec.resolve(place, case)
        shapes[place.name] = shape
        if place.name in op.integer:
            inputs.append(rng.integers(0, _bound(op, place.name, case, shapes), size=shape, dtype=np.int64))
        elif place.name in op.mask:
            inputs.append(np.asarray(rng.random(shape) < 0.5))
        else:
            low, high = op.domain.get(place.name, (-2.0, 2.0))
            inputs.append(rng.uniform(low, high, size=shape).astype(dtype))
    return inputs, attributes


def _bound(op: Op, name: str, case: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> int:
    bound = op.bounds[name]
    if "." in bound:
        other, axis = bound.split(".")
        return max(1, shapes[other][int(axis)])
    return max(1, int(case[bound]))


def layouts(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The same values in every layout that callers bring, and (last) a row repeated by stride 0."""
    yield "contiguous", array
    yield "fortran", np.array(array, order="F")
    if array.ndim:
        wide = np.zeros((*array.shape[:-1], array.shape[-1] * 3 + 1), array.dtype)
        view = wide[..., 1::3][..., : array.shape[-1]]
        view[...] = array
        yield "strided", view
        yield "reversed", np.ascontiguousarray(array[::-1])[::-1]
        yield "reversed last", np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype) if array.size else None
    if raw is not None:
        odd = raw.reshape(array.shape)
        odd[...] = array
        yield "misaligned", odd
    yield "swapped", array.astype(array.dtype.newbyteorder("S"))
    locked = array.copy()
    locked.flags.writeable = False
    yield "read-only", locked
    if array.ndim and array.shape[0] > 0:
        yield "repeated", np.broadcast_to(array[:1], array.shape)


def relaid(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same values in a layout drawn at random: axes in any order, steps of several sizes and both signs."""
    order = rng.permutation(array.ndim)
    steps = [int(s) for s in rng.choice([1, 1, 1, 2, 3, -1, -2], size=array.ndim)]
    extents = [abs(s) * n for s, n in zip(steps, array.shape, strict=True)]
    memory = np.full([extents[axis] for axis in order], -99, array.dtype)
    index: tuple[Any, ...] = (*(slice(None, None, s) for s in steps), ...)
    view = memory.transpose(np.argsort(order))[index]
    view[...] = array
    return view
