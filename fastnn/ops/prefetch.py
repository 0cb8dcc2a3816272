"""Kernels that a training step is about to need, asked for before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastnn._kernels import jit
from fastnn._runtime.dispatch import get_backend
from fastnn.ops.activation import relu
from fastnn.ops.classification import cross_entropy
from fastnn.ops.linear import linear
from fastnn.ops.lowering import Array, dense_strides
from fastnn.ops.op import KERNEL_DTYPES, NUMPY_BACKEND, Op
from fastnn.ops.op import kernels_of as every

Kernel = tuple[str, dict[str, Any]]
# in the order in which a step needs them
USUAL = (linear, relu, cross_entropy)


def kernels_of(op: Op, dtype: str) -> tuple[list[Kernel], list[Kernel]]:
    """The kernels that an op's first benchmark case takes, forward and backward."""
    case: Mapping[str, Any] = op.bench[0]
    inputs: list[Array] = []
    for i, place in enumerate(op.spec.inputs):
        shape = tuple(case[place.name]) if place.name in case else op.spec.resolve(place, case)
        # a weight lies inputs first, as the layers make it
        strides = dense_strides(shape, (1, 0) if place.name == "w" else None)
        inputs.append(Array(i, shape, strides, op.dtype_of(place.name, dtype)))
    shapes, floats = op.bind(inputs, op.attribute_defaults)
    lowered = op.lower_forward(inputs, op.attribute_defaults, shapes, floats)
    if lowered is None:
        return [], []
    low, outputs = lowered
    forward = [(p.kernel, dict(p.static)) for p in every((*low.checks, *low.phases))]
    named = dict(zip((p.name for p in op.spec.inputs + op.spec.outputs), (*inputs, *outputs), strict=True))
    given = [*outputs[: op.n_returned], *(named[n] for n in op.saves)]
    arrays = [replace(a, storage=i) for i, a in enumerate(given)]
    shapes = {n: a.shape for n, a in named.items()}
    wanted = [True] * len(inputs)
    back = op.lower_backward(arrays[: op.n_returned], arrays[op.n_returned :], op.attribute_defaults, shapes, wanted)
    if back is None:
        return forward, []
    return forward, [(p.kernel, dict(p.static)) for p in every((*back[0].checks, *back[0].phases))]


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
