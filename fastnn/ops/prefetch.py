"""Kernels that a training step is about to need, asked for before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastnn._kernels import jit
from fastnn._runtime.dispatch import get_backend
from fastnn.ops.activation import relu
from fastnn.ops.linear import linear
from fastnn.ops.loss import cross_entropy
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import KERNEL_DTYPES, NUMPY_BACKEND, Op

Kernel = tuple[str, dict[str, Any]]
# in the order in which a step needs them
USUAL = (linear, relu, cross_entropy)


def kernels_of(op: Op, dtype: str) -> tuple[list[Kernel], list[Kernel]]:
    """The kernels that an op's first benchmark case takes, forward and backward."""
    case: Mapping[str, Any] = op.bench[0]
    inputs: list[Array] = []
    for i, place in enumerate(op.spec.inputs):
        shape = tuple(case[place.name]) if place.name in case else op.spec.resolve(place, case)
        strides = [1] * len(shape)
        for axis in range(len(shape) - 1, 0, -1):
            strides[axis - 1] = strides[axis] * shape[axis]
        # a weight lies inputs first, as the layers make it
        order = slice(None, None, -1) if place.name == "w" else slice(None)
        inputs.append(Array(i, shape, tuple(strides[order]), "int64" if place.name in op.integer else dtype))
    attrs = dict(zip(op.attribute_names, op.attribute_defaults, strict=True))
    assert op.lower is not None
    low = Lowering(tuple(inputs), attrs)
    result = op.lower[0](low, *inputs)
    outputs = result if isinstance(result, tuple) else (result,)
    forward = [(p.kernel, dict(p.static)) for p in (*low.checks, *low.phases)]
    if op.lower[1] is None:
        return forward, []
    named = dict(zip((p.name for p in op.spec.inputs + op.spec.outputs), (*inputs, *outputs), strict=True))
    given = [*outputs[: op.n_returned], *(named[n] for n in op.saves)]
    arrays = [replace(a, storage=i) for i, a in enumerate(given)]
    back = Lowering(tuple(arrays), attrs)
    back.saved = dict(zip(op.saves, arrays[op.n_returned :], strict=True))
    back.shapes = {n: a.shape for n, a in named.items()}
    back.needs = {p.name: True for p in op.spec.inputs}
    op.lower[1](back, *arrays[: op.n_returned])
    return forward, [(p.kernel, dict(p.static)) for p in (*back.checks, *back.phases)]


def prefetch_training(dtype: str, *update: Kernel) -> None:
    """Have the kernels of a usual training step loaded, or compiled, in the background.

    Called when an optimizer is made. The first step of all on a machine then compiles on every core, instead of
    kernel by kernel as the ops meet them.
    """
    if dtype not in KERNEL_DTYPES or get_backend() == NUMPY_BACKEND:
        return
    pairs = [kernels_of(op, dtype) for op in USUAL]
    wanted = [kernel for forward, _ in pairs for kernel in forward]
    wanted += [kernel for _, backward in reversed(pairs) for kernel in backward]
    jit.prefetch([*wanted, *update])
