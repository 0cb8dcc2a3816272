"""Losses that are a function of each element, reduced: one pass forward, one pass for each gradient.

A loss has a row of the elementwise table (`fastnn._kernels.losses`), and a row for the derivative by each input that
has one. The references are NumPy functions of the same arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastnn.ops.elementwise import COST, MOST_CHUNKS, PLAIN_COST, apply, like
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.reduction import sum_axes

REDUCTIONS = ("mean", "sum", "none")
SEGMENT = 1 << 16  # elements that one chunk sums
CASES: list[dict[str, Any]] = [
    {"*": ()},
    {"*": (7, 33)},
    {"*": (3, 700), "reduction": "sum"},
    {"*": (2, 3, 4), "reduction": "none"},
    {"*": (0, 3)},
]
BENCH: list[dict[str, Any]] = [{"*": (10,)}, {"*": (1000, 1000)}]


def check_reduction(name: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes; ValueError for a reduction that there is not."""
    if attributes["reduction"] not in REDUCTIONS:
        raise ValueError(f"{name}: reduction must be one of {', '.join(REDUCTIONS)}, got {attributes['reduction']!r}")
    return attributes


def reduce(each: np.ndarray, reduction: str) -> np.ndarray:
    """The elements' losses as they are, their sum or their mean; NaN is the mean of none."""
    if reduction == "none":
        return np.asarray(each)
    total = np.asarray(each.sum())
    return total if reduction == "sum" else np.asarray(np.true_divide(total, each.size))


def total(low: Lowering, row: str, out: Array, *operands: Array, cells: Sequence[str] = (), divisor: int = 1) -> Array:
    """Append the phases that sum a row of the elementwise table over all elements, divided by `divisor`.

    Where operands do not lie side by side the terms are written down first: either way the sum's order is the same.
    """
    shape = operands[0].shape
    if not all(x.contiguous and x.shape == shape for x in operands):
        each = apply(low, row, low.temporary(shape, out.dtype), *operands, cells=[low.cell(n) for n in cells])
        return total(low, "copy", out, each, divisor=divisor)
    size = operands[0].size
    segment = max(SEGMENT, -(-size // MOST_CHUNKS))
    segments = max(1, -(-size // segment))
    result = out if segments == 1 else low.temporary((segments,), out.dtype)
    low.phase(
        "terms.total",
        [
            writes(result), *(reads(x) for x in operands), size, segment, divisor if segments == 1 else 1,
            *(low.cell(n) for n in cells),
        ],
        chunks=segments,
        work=size * COST.get(row, PLAIN_COST) * out.itemsize / 4 + 60,
        flops=2 * size,
        function=row,
        dtype=out.dtype,
    )  # fmt: skip
    return out if segments == 1 else total(low, "copy", out, result, divisor=divisor)


def scaled(low: Lowering, dloss: Array, count: int) -> Array:
    """The gradient that reaches each element: of a mean, the loss's divided by their number."""
    if low.attrs["reduction"] != "mean":
        return dloss
    return sum_axes(low, dloss, (), low.temporary(dloss.shape, dloss.dtype), max(1, count))


def loss(
    name: str,
    forward: Callable[..., Any],
    gradients: Mapping[str, Callable[..., Any]],
    *,
    row: Callable[..., str],
    shapes: str = "input:(*) target:(*)",
    attributes: Mapping[str, Any] | None = None,
    cells: Mapping[str, float] | None = None,
    check: Callable[[Lowering, tuple[Array, ...]], None] | None = None,
    validate: Callable[..., None] | None = None,
    cases: Sequence[dict[str, Any]] = (),
    **declared: Any,
) -> Op:
    """Declare a loss.

    Parameters
    ----------
    forward : NumPy function of the inputs (None where left out), then attributes and cells by name: elements' losses.
    gradients : for each input that has one, a NumPy function of the losses' gradient and the same arguments.
    row : of the names of the inputs that are there, then the attributes by name: the row of the elementwise table.
        A derivative's row ends in the input's name, before ``_weighted`` if there is a `weight`.
    check : appends checks of the inputs; `validate` is the same for the reference.
    """
    names = [part.split(":")[0] for part in shapes.split()]
    own = tuple(cells or {})

    def shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
        x = shapes[names[0]]
        assert x is not None
        return [x if attrs["reduction"] == "none" else ()]

    def options(attrs: Mapping[str, Any]) -> dict[str, Any]:
        return {n: v for n, v in attrs.items() if n != "reduction"}

    def reference(*inputs: np.ndarray | None, reduction: str = "mean", **given: Any) -> np.ndarray:
        if validate is not None:
            validate(*inputs)
        return reduce(np.asarray(forward(*inputs, **given)), reduction)

    reference.__doc__ = forward.__doc__

    def backward(ctx: Saved, dloss: np.ndarray) -> tuple[np.ndarray | None, ...]:
        saved = [ctx.saved.get(n) for n in names]
        assert saved[0] is not None
        g = dloss / max(1, saved[0].size) if ctx.attrs["reduction"] == "mean" else dloss
        given = options(ctx.attrs) | ctx.cells
        made = {n: gradients[n](g, *saved, **given) if n in gradients and ctx.needs[n] else None for n in names}
        return tuple(None if d is None else np.broadcast_to(d, saved[0].shape) for d in made.values())

    def rows(there: Sequence[str], attrs: Mapping[str, Any], of: str = "") -> str:
        whole = row(there, **options(attrs)) + (f"_{of}" if of else "")
        return f"{whole}_weighted" if "weight" in there else whole

    def lower(low: Lowering, *inputs: Array | None) -> Array:
        there = [n for n, x in zip(names, inputs, strict=True) if x is not None]
        operands = tuple(x for x in inputs if x is not None)
        if check is not None:
            check(low, operands)
        function = rows(there, low.attrs)
        if low.attrs["reduction"] == "none":
            return like(low, function, *operands, cells=own)
        out = low.output((), operands[0].dtype)
        divisor = operands[0].size if low.attrs["reduction"] == "mean" else 1
        return total(low, function, out, *operands, cells=own, divisor=divisor)

    def lower_backward(low: Lowering, dloss: Array) -> tuple[Array | None, ...]:
        there = [n for n in names if n in low.saved]
        operands = [low.saved[n] for n in there]
        g = scaled(low, dloss, operands[0].size)
        return tuple(
            like(low, rows(there, low.attrs, n), g, *operands, model=low.saved[n], cells=own)
            if n in gradients and low.needs[n]
            else None
            for n in names
        )

    extra = [dict(case) for case in cases]
    return Op(
        name=name,
        shapes=f"{shapes} -> loss:(...)",
        rule=shape,
        attributes={"reduction": "mean", **(attributes or {})},
        cells=cells,
        check=lambda attrs: check_reduction(name, attrs),
        reference=(reference, backward),
        lower=(lower, lower_backward),
        saves=names,
        constant=[n for n in names if n not in gradients],
        promotes=True,
        floating=True,
        cases=[*(dict.fromkeys(_optional(shapes)) | case for case in CASES), *extra],
        bench=[dict.fromkeys(_optional(shapes)) | case for case in BENCH],
        **declared,
    )


def _optional(shapes: str) -> list[str]:
    """Names of the inputs that may be left out."""
    return [part.split(":")[0] for part in shapes.split() if part.endswith("?")]
