"""Batch normalisation folded into the convolution or linear layer before it, for inference.

In evaluation a channel's normalisation is ``y * s + t`` with ``s = weight / sqrt(running_var + eps)`` and
``t = bias - running_mean * s``: the layer before it can do both by another weight and bias.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from fastnn._numpy_views import integer
from fastnn._runtime.recipe import Recipe
from fastnn.errors import ShapeError
from fastnn.inspection import running
from fastnn.inspection.graph import GraphObserver, trace
from fastnn.nn.batchnorm import BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d
from fastnn.nn.conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from fastnn.nn.linear import Identity, Linear
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter
from fastnn.ops.op import Op
from fastnn.tensor import as_tensor

M = TypeVar("M", bound=Module)

NORMS = (BatchNorm1d, BatchNorm2d, BatchNorm3d)
TRANSPOSED = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)
LAYERS = (Linear, Conv1d, Conv2d, Conv3d, *TRANSPOSED)


def _fused(
    name: str, weight: Any, bias: Any, moments: tuple[Any, ...], eps: float, factors: tuple[Any, ...],
    transposed: bool, groups: int,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Weight and bias that do what a layer and a normalisation do one after the other, computed in float64."""
    w = as_tensor(weight).array
    groups = integer(f"{name}: groups", groups)
    if groups < 1 or (transposed and w.shape[0] % groups):
        raise ValueError(f"{name}: groups must divide the {w.shape[0]} input channels, got {groups}")
    outputs = groups * w.shape[1] if transposed else w.shape[0]
    given = zip((bias, *moments, *factors), (0.0, None, None, 1.0, 0.0), strict=True)
    b, mean, variance, factor, shift = (
        np.full(outputs, default, np.float64) if value is None else np.asarray(as_tensor(value).array, np.float64)
        for value, default in given
    )
    for what, own in (("bias", b), ("running mean", mean), ("running variance", variance), ("weight", factor)):
        if own.shape != (outputs,):
            raise ShapeError(f"{name}: the {what} must have shape ({outputs},) to match {w.shape}, got {own.shape}")
    scale = factor / np.sqrt(variance + eps)
    spread: tuple[int, ...] = (outputs, *(1,) * (w.ndim - 1))
    wide = w
    if transposed:  # the weight of a group is (inputs, outputs, taps)
        wide = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
        spread = (groups, 1, w.shape[1], *(1,) * (w.ndim - 2))
    made = np.empty_like(w)  # laid out as the weight
    made[...] = (wide * scale.reshape(spread)).reshape(w.shape)
    kept = weight.requires_grad if isinstance(weight, Parameter) else True
    return Parameter(made, kept), Parameter(((b - mean) * scale + shift).astype(w.dtype), kept)


def fuse_conv_bn_weights(
    conv_w: Any, conv_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any, transpose: bool = False,
    groups: int = 1,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Weight and bias of a convolution that normalises too.

    Parameters
    ----------
    conv_w : (O, C / groups, taps ...), or (C, O / groups, taps ...) with `transpose`.
    conv_b : (O,), or None.
    bn_rm, bn_rv : running mean and variance (O,).
    bn_eps : added to the variance.
    bn_w, bn_b : weight and bias of the normalisation (O,), or None.
    transpose : whether the convolution is a transposed one; then `groups` counts.
    """
    return _fused("fuse_conv_bn_weights", conv_w, conv_b, (bn_rm, bn_rv), bn_eps, (bn_w, bn_b), transpose, groups)


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """Weight (O, C) and bias (O,) of a linear layer that normalises too; arguments as for `fuse_conv_bn_weights`."""
    return _fused("fuse_linear_bn_weights", linear_w, linear_b, (bn_rm, bn_rv), bn_eps, (bn_w, bn_b), False, 1)


def _fuse(name: str, layer: Any, bn: Any, transposed: bool) -> None:
    """Give a layer the weight and bias that do what `bn` does too."""
    if layer.training or bn.training:
        raise ValueError(f"{name}: both layers must be in evaluation mode; call eval() first")
    if bn.running_mean is None or bn.running_var is None:
        raise ValueError(f"{name}: the normalisation must have running moments, got {bn}")
    layer.weight, layer.bias = _fused(
        name, layer.weight, layer.bias, (bn.running_mean, bn.running_var), bn.eps, (bn.weight, bn.bias), transposed,
        getattr(layer, "groups", 1),
    )  # fmt: skip


def fuse_conv_bn_eval(conv: M, bn: BatchNorm, transpose: bool = False) -> M:
    """A copy of a convolution that does what `bn` does to its output too; both must be in evaluation mode.

    `transpose` : whether `conv` is a transposed convolution.
    """
    fused = copy.deepcopy(conv)
    _fuse("fuse_conv_bn_eval", fused, bn, transpose)
    return fused


def fuse_linear_bn_eval(linear: M, bn: BatchNorm) -> M:
    """A copy of a linear layer that does what `bn` does to its output (N, O) too; both must be in evaluation mode."""
    fused = copy.deepcopy(linear)
    _fuse("fuse_linear_bn_eval", fused, bn, False)
    return fused


class _Flow(GraphObserver):
    """A graph, the Tensors that each module took and gave at each call, and which modules used a parameter."""

    def __init__(self, model: Module) -> None:
        super().__init__(model, None)
        self.took: dict[int, list[Any]] = {}
        self.gave: dict[int, list[Any]] = {}
        self.users: dict[int, set[int]] = {}

    def on_enter(self, module: Module, args: Any) -> None:
        super().on_enter(module, args)
        self.took.setdefault(id(module), []).append(args)

    def on_leave(self, module: Module, args: Any, result: Any) -> Any:
        other = super().on_leave(module, args, result)
        self.gave.setdefault(id(module), []).append(result if other is None else other)
        return other

    def on_forward(self, op: Op, recipe: Recipe, given: Sequence[Any], result: Any) -> None:
        super().on_forward(op, recipe, given, result)
        for tensor in given:
            if isinstance(tensor, Parameter) and self.stack:
                self.users.setdefault(id(tensor), set()).add(id(self.stack[-1]))

    def pairs(self) -> list[tuple[Any, Any]]:
        """Layers, and the normalisations that take their outputs as they are, where nothing else does."""
        modules = dict(self.model.named_modules())
        edges = [(modules.get(box.name), modules.get(after.name), box) for box, after in self.graph.edges]
        outgoing = Counter(id(box) for _, _, box in edges)
        return [
            (layer, norm)
            for layer, norm, box in edges
            if type(layer) in LAYERS
            and type(norm) in NORMS
            and outgoing[id(box)] == 1
            # the channels of a linear layer lie last, those of a normalisation second
            and (type(layer) is not Linear or len(box.outputs[0]) == 2)
            and self._follows(norm, layer)
        ]

    def _follows(self, norm: Any, layer: Any) -> bool:
        """Whether a normalisation takes what a layer gave, both called once and neither watched nor tied."""
        took, gave = self.took[id(norm)], self.gave[id(layer)]
        used = [user for p in (*layer.parameters(), *norm.parameters()) for user in self.users.get(id(p), ())]
        return (
            norm.running_mean is not None
            and len(took) == len(gave) == 1
            and took[0][0] is gave[0]
            and not any(m._forward_hooks or m._forward_pre_hooks for m in (layer, norm))
            and all(user in (id(layer), id(norm)) for user in used)
        )


def fold_batch_norm(model: M, input: Any) -> M:
    """A copy of a model, in evaluation mode, in which convolutions and linear layers do the normalising after them.

    The model is run once on `input` to see which normalisation takes the output of which layer. Those are folded
    (and give way to `Identity`) where nothing else takes that output, both are called once and have no hooks. The rest
    of the model is copied as it is.

    Parameters
    ----------
    model : any module with `BatchNorm1d` and its kin.
    input : as for `Module.summary`: the shape of an input, batch axis included, a sequence of shapes for several, or
        the inputs themselves.
    """
    running.check_model("fold_batch_norm", model)
    folded = copy.deepcopy(model).eval()
    given = running.arguments("fold_batch_norm", folded, input)
    if running.lazy(folded):
        running.called("fold_batch_norm", folded, given)
    flow = _Flow(folded)
    trace("fold_batch_norm", flow, given, "eval")
    names: dict[int, list[str]] = {}
    for name, module in folded.named_modules(remove_duplicate=False):
        names.setdefault(id(module), []).append(name)
    for layer, norm in flow.pairs():
        _fuse("fold_batch_norm", layer, norm, type(layer) in TRANSPOSED)
        for name in names[id(norm)]:
            folded.set_submodule(name, Identity().eval())
    return folded


__all__ = [
    "fold_batch_norm",
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
]
