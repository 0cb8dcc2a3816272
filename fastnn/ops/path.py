"""What einsum does for an equation and shapes: one operand, two, or a path through more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import ShapeError
from fastnn.ops.contraction import numbered
from fastnn.ops.op import Shape
from fastnn.ops.subscripts import LETTERS, parse, sizes


class Single(NamedTuple):
    """What becomes of one operand: the labels of its axes as numbers, those of the view, those of the result."""

    term: list[int]
    view: list[int]
    result: list[int]
    summed: int | tuple[int, ...]  # axes of the view, an empty tuple for none


def _plan_single(term: str, out: str) -> Single:
    """Take diagonals and put the result's axes in order; summed axes keep their places, since sums depend on them."""
    kept = iter(out)
    order = "".join(next(kept) if label in out else label for label in dict.fromkeys(term))
    summed = tuple(axis for axis, label in enumerate(order) if label not in out)
    one, two, three = numbered(term, order, out)
    return Single(one, two, three, summed[0] if len(summed) == 1 else summed)


class Step(NamedTuple):
    """Two operands and what becomes of them. Operands are numbered as they came, then results as they are made."""

    first: int
    second: int
    equation: str


def _steps(inputs: tuple[str, ...], out: str, shapes: Sequence[Shape], optimize: Any) -> tuple[Step, ...]:
    """Contractions of two operands each, in the order that a path search finds."""
    left = list(enumerate(inputs))
    steps: list[Step] = []
    for places in _path(inputs, out, shapes, optimize):
        taken = [left[place] for place in places]
        left = [one for place, one in enumerate(left) if place not in places]
        while len(taken) > 1:
            (first, x), (second, y), *taken = taken
            needed = "".join(term for _, term in (*left, *taken))
            result = _between(x, y, needed + out) if left or taken else out
            steps.append(Step(first, second, f"{x},{y}->{result}"))
            taken.insert(0, (len(inputs) + len(steps) - 1, result))
        left += taken
    return tuple(steps)


def _between(x: str, y: str, needed: str) -> str:
    """The labels of an intermediate result: batches, the first operand's own, the second's."""
    kept = [label for label in dict.fromkeys(x + y) if label in needed]
    return "".join(sorted(kept, key=lambda label: 0 if label in x and label in y else 1 if label in x else 2))


def _path(inputs: tuple[str, ...], out: str, shapes: Sequence[Shape], optimize: Any) -> list[tuple[int, ...]]:
    """Which operands to contract when, as `np.einsum_path` counts them: results go to the end of the list."""
    count = len(inputs)
    found = sizes(inputs, shapes)
    if optimize is False:
        return [(0, 1), *((left - 1, 0) for left in range(count - 1, 1, -1))]
    kind = optimize[0] if isinstance(optimize, tuple) and optimize else optimize
    if kind == "einsum_path":
        return _given_path(optimize[1:], count)
    if kind is True or kind == "auto":
        optimize = "optimal" if count <= 4 else "greedy"
    elif kind not in ("greedy", "optimal"):
        raise ValueError(f"einsum: optimize must be True, False, 'greedy', 'optimal' or a path, got {optimize!r}")
    if len(found) > len(LETTERS):
        raise ShapeError(f"einsum: at most 52 different subscripts (axes of '...' count), got {len(found)}")
    nothing = np.empty((), np.float32)
    *terms, result = numbered(*inputs, out)
    operands: list[Any] = []
    for term, shape in zip(terms, shapes, strict=True):
        operands += [np.broadcast_to(nothing, shape), term]
    path, _ = np.einsum_path(*operands, result, optimize=optimize)
    return [tuple(places) for places in path[1:]]


def _given_path(path: Sequence[Any], count: int) -> list[tuple[int, ...]]:
    """A path that the caller gives, checked."""
    left = count
    for places in path:
        inside = all(hasattr(p, "__index__") and 0 <= p < left for p in places)
        if not inside or len(set(places)) != len(places) or not places:
            raise ShapeError(f"einsum: a step of the path must name some of {left} operands once each, got {places}")
        left -= len(places) - 1
    if left != 1:
        raise ShapeError(f"einsum: the path must leave 1 of {count} operands, got a path that leaves {left}")
    return [tuple(int(p) for p in places) for places in path]


def plan(equation: str, shapes: Sequence[Shape], optimize: Any) -> str | tuple[Step, ...] | Single:
    """What to do with operands of some shapes."""
    inputs, out = parse(equation, [len(shape) for shape in shapes])
    sizes(inputs, shapes)
    if len(inputs) == 1:
        return _plan_single(inputs[0], out)
    if len(inputs) == 2:
        return f"{inputs[0]},{inputs[1]}->{out}"
    return _steps(inputs, out, shapes, optimize)
