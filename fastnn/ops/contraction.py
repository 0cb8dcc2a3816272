"""Contractions of two arrays whose axes have labels, as matrix products over views.

    z[b, i, j] = sum over k of x[b, i, k] * y[b, k, j]          "bik", "bkj" -> "bij"

A. Labels are characters. A label of both operands and the result is a batch; of one operand and the result, a row (of
   the left factor `a`) or a column (of the right factor `b`); of both operands alone, contracted; of one operand
   alone, summed before anything else. Axes of length 1 broadcast.
B. Bits follow from labels and extents, never from strides. The operand that owns the result's last label has the
   columns; an operand without labels of its own is a vector, a row on the left and a column on the right. Contracted
   labels run in the order in which the first operand has them. A result with several columns is one chain of FMAs
   over them; a result with one column runs in lanes, so there they must lie at one stride.
C. Strides. Axes of a group are joined where both arrays step through them evenly. Of what is left, one axis of rows
   and one of columns make the matrices and the others a batch; outer contracted axes become steps, each of which
   continues the chains of the one before. Where steps are many or dear, an operand is copied instead; for a batch
   none ever is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.ops.elementwise import apply, memory_order, pays_into
from fastnn.ops.lowering import Array, Cell, Lowering
from fastnn.ops.reduction import sum_axes

# The label of an axis of no length.
NOTHING = "0"

Labelled = tuple[Array, str]
Strides = dict[str, int]


# -- which label is what


def axis_labels(count: int, bank: int = 1) -> str:
    """Labels for axes without names, those of different banks different; the last axis has the first of the bank."""
    return "".join(chr(0x100 * bank + axis) for axis in reversed(range(count)))


def numbered(*terms: str) -> list[list[int]]:
    """Labels as `np.einsum` takes them beside operands."""
    order = {label: i for i, label in enumerate(dict.fromkeys("".join(terms)))}
    return [[order[label] for label in term] for term in terms]


def extents(*operands: tuple[Sequence[int], str]) -> dict[str, int]:
    """The length of each label: of length 1 only where every axis with that label is."""
    found: dict[str, int] = {}
    for shape, labels in operands:
        for label, extent in zip(labels, shape, strict=True):
            if found.get(label, 1) == 1:
                found[label] = extent
    return found


def flops_of_gradients(flops: Callable[..., float], *factors: str) -> Callable[..., float]:
    """FLOPs of a product's backward pass: a product of the same size for each factor whose gradient is wanted."""

    def counted(needs: Mapping[str, bool], **given: Any) -> float:
        return flops(**given) * sum(needs[factor] for factor in factors)

    return counted


def _left_has_columns(left: str, right: str, out: str) -> bool:
    """Whether the first operand is the right factor of the product."""
    free = [label for label in out if (label in left) != (label in right)]
    owners = {label in left for label in free}
    # an operand without labels of its own is a vector: on the left a row, on the right a column, as in matmul
    return len(owners) == 2 and free[-1] in left


def _columns(out: str, other: str, own: str, never: str) -> list[str]:
    """The labels of columns: those at the end of the result that the right factor alone has."""
    found: list[str] = []
    for label in reversed(out):
        if label in own and label not in other and label not in never:
            found.append(label)
        elif label not in own:
            break
    return found[::-1]


def _reduced(low: Lowering, x: Array, labels: str, keep: Iterable[str]) -> tuple[Array, Strides]:
    """An operand without repeated labels, axes of length 1 and labels that must be summed; its strides by label."""
    shape: dict[str, int] = {}
    strides: Strides = {}
    for label, extent, stride in zip(labels, x.shape, x.strides, strict=True):
        if extent != 1:
            shape[label] = extent
            strides[label] = strides.get(label, 0) + stride
    alone = [axis for axis, label in enumerate(shape) if label not in keep]
    x = replace(x, shape=tuple(shape.values()), strides=tuple(strides.values()))
    if not alone:
        return x, strides
    kept = [label for label in shape if label in keep]
    out = low.temporary([shape[label] for label in kept], x.dtype)
    return sum_axes(low, x, alone, out), dict(zip(kept, out.strides, strict=True))


# -- the contraction


def _allocate(
    low: Lowering,
    labels: str,
    sizes: Mapping[str, int],
    order: Sequence[str],
    dtype: str,
    final: bool,
    into: Callable[[Array], bool] | None = None,
) -> Array:
    """Memory for a result, its labels from the outermost to the innermost given by `order`; `into` as for an output."""
    if final:
        return low.output([sizes[n] for n in labels], dtype, [labels.index(n) for n in order], into=into)
    return low.temporary([sizes[n] for n in order], dtype).permuted([order.index(n) for n in labels])


def contract(
    low: Lowering,
    left: Labelled,
    right: Labelled,
    out: str,
    *,
    never_columns: str = "",
    free: bool = False,
    model: Array | None = None,
    final: bool = True,
    bias: Array | None = None,
    scale: Cell | None = None,
    initial: Array | None = None,
    factor: Cell | None = None,
) -> Array:
    """Append the phases of ``scale * (left * right, summed over the labels not in out) + factor * initial + bias``.

    Parameters
    ----------
    left, right : an array and its labels, one an axis; a label may repeat within an operand (a diagonal). Extents of
        a label agree or are 1.
    out : the result's labels, each once and in one of the operands.
    never_columns : labels that are batches even where they could be columns.
    free : whether the result may lie in memory in another order of axes than C (or than that of `model`), where that
        makes it cheaper.
    model : an array of the result's shape; the result lies in memory as it does.
    final : whether the result is an output of the call, else a temporary.
    bias : an array of one axis, the result's last, which must be a column.
    scale, factor : numbers; None for 1.
    initial : an array that broadcasts to the result. It is the start of the chains where there is no `scale`.

    Returns
    -------
    The result, its axes in the order of `out`. It is dense in memory, or lies where the caller of the op wants it: the
    op must then return it as it is.
    """
    from fastnn.ops import matrices  # only now: importing fastnn plans no product

    (x, x_labels), (y, y_labels) = left, right
    sizes = extents((x.shape, x_labels), (y.shape, y_labels))
    order = list(out) if model is None else [out[axis] for axis in memory_order(model.shape, [model])]
    if not all(sizes[n] for n in out):
        return _allocate(low, out, sizes, order, x.dtype, final)
    x_long, y_long = _long(x, x_labels), _long(y, y_labels)
    nothing = [n for n in x_long | y_long if sizes[n] == 0]
    if nothing:
        # a sum over nothing is one over a single contracted axis of no length
        sizes[NOTHING] = 0
        a, b = ({n: 0 for n in own if n in out} | {NOTHING: 0} for own in (x_long, y_long))
    else:
        x, a = _reduced(low, x, x_labels, {*out, *y_long})
        y, b = _reduced(low, y, y_labels, {*out, *x_long})
    contracted = [n for n in a if n in b and n not in out]
    if not contracted and bias is None:
        axes = [out.index(n) for n in order]
        z = _allocate(low, out, sizes, order, x.dtype, final, lambda place: pays_into(place, axes))
        apply(low, "multiply", z, _aligned(x, a, z, out), _aligned(y, b, z, out))
        if scale is not None:
            apply(low, "scale", z, z, cells=[scale], in_place=True)
        _add(low, z, initial, factor)
        return z
    factors = [(x, a, x_labels), (y, b, y_labels)]
    if _left_has_columns(x_labels, y_labels, out):
        factors.reverse()
    (x, a, x_labels), (y, b, y_labels) = factors
    long = [n for n in out if sizes[n] != 1]
    columns = [n for n in _columns(out, x_labels, y_labels, never_columns) if sizes[n] != 1]
    rows = [n for n in long if n in a and n not in b and n not in columns]
    batch = [n for n in long if n not in rows and n not in columns]
    groups = matrices.Groups(batch, rows, columns, contracted)
    order, choice = matrices.lay_out(groups, sizes, a, b, order, free)

    def into(place: Array) -> bool:
        nonlocal choice
        found = matrices.choose_into(groups, sizes, a, b, dict(zip(out, place.strides, strict=True)), choice)
        choice = found or choice
        return found is not None

    z = _allocate(low, out, sizes, order, x.dtype, final, into)
    started = initial is not None and scale is None
    if initial is not None and started:
        apply(low, "copy" if factor is None else "scale", z, initial, cells=_cells(factor))
    matrices.append(low, choice, sizes, (x, a), (y, b), z, bias=bias, scale=scale, accumulate=started)
    if not started:
        _add(low, z, initial, factor)
    return z


def _long(x: Array, labels: str) -> set[str]:
    """The labels of axes that are not of length 1."""
    return {n for n, extent in zip(labels, x.shape, strict=True) if extent != 1}


def _cells(factor: Cell | None) -> list[Cell]:
    return [] if factor is None else [factor]


def _aligned(x: Array, strides: Strides, z: Array, labels: str) -> Array:
    """An operand with the axes of the result."""
    return replace(x, shape=z.shape, strides=tuple(strides.get(n, 0) for n in labels))


def _add(low: Lowering, z: Array, initial: Array | None, factor: Cell | None) -> None:
    if initial is not None:
        apply(low, "add" if factor is None else "add_scaled", z, z, initial, cells=_cells(factor), in_place=True)


# -- gradients: the gradient of a contraction is a contraction


def gradient(low: Lowering, target: Labelled, dz: Labelled, other: Labelled, *, scale: Cell | None = None) -> Array:
    """Append the phases of an operand's gradient, which lies in memory as the operand does where that costs nothing.

    Parameters
    ----------
    target, dz, other : the operand, the gradient of the result, and the other operand, each with its labels.
    scale : as for `contract`.
    """
    x, labels = target
    given = {n for array, names in (dz, other) for n, extent in zip(names, array.shape, strict=True) if extent != 1}
    core = [n for axis, n in enumerate(labels) if x.shape[axis] != 1 and n in given and n not in labels[:axis]]
    long = [axis for axis, extent in enumerate(x.shape) if extent != 1]
    if len(core) == len(long):
        kept = replace(x, shape=tuple(x.shape[a] for a in long), strides=tuple(x.strides[a] for a in long))
        made = contract(low, dz, other, "".join(core), model=kept, free=True, scale=scale)
        strides = dict(zip(core, made.strides, strict=True))
        return replace(made, shape=x.shape, strides=tuple(strides.get(n, 1) for n in labels))
    part = contract(low, dz, other, "".join(core), free=True, scale=scale, final=False)
    dx = low.output(x.shape, x.dtype, memory_order(x.shape, [x]))
    if dx.size == 0:
        return dx
    names = [labels[axis] for axis in long]
    own: Strides = {}
    for axis in long:
        own[labels[axis]] = own.get(labels[axis], 0) + dx.strides[axis]
    if len(own) < len(names):
        # off the diagonal the gradient is a sum of nothing
        flat = replace(dx, shape=(dx.size,), strides=(1,))
        sum_axes(low, replace(x, shape=(0, dx.size), strides=(0, 0)), (0,), flat)
    sizes = {labels[axis]: x.shape[axis] for axis in long}
    place = replace(dx, shape=tuple(sizes[n] for n in own), strides=tuple(own.values()))
    source = dict(zip(core, part.strides, strict=True))
    spread = replace(part, shape=place.shape, strides=tuple(source.get(n, 0) for n in own))
    apply(low, "copy", place, spread, in_place=True)
    return dx


def numpy_gradient(
    shape: tuple[int, ...], labels: str, dz: tuple[np.ndarray, str], other: tuple[np.ndarray, str]
) -> np.ndarray:
    """`gradient` in NumPy: the gradient of an operand of the given shape and labels."""
    sizes = extents((dz[0].shape, dz[1]), (other[0].shape, other[1]))
    own = dict(zip(labels, shape, strict=True))
    core = "".join(n for n in own if own[n] != 1 and sizes.get(n) == own[n])
    one, two, three, whole, unique = numbered(dz[1], other[1], core, labels, "".join(own))
    part = np.asarray(np.einsum(dz[0], one, other[0], two, three, optimize=True))
    result = np.zeros(shape, part.dtype)
    place = np.einsum(result, whole, unique) if labels else result
    place[...] = part.reshape([own[n] if n in core else 1 for n in own])
    return result
