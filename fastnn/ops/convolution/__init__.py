"""Convolution of any number of axes, stride, padding, dilation and groups, and its transpose.

Images are channels-last inside: results lie in memory so, whatever the operands do. Each pass is lowered by one of
several ways (`variants`), the general one of which takes anything (`general`). `conv_transpose` is the gradient of the
input as a function of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastnn.ops.contraction import flops_of_gradients
from fastnn.ops.convolution import variants
from fastnn.ops.convolution.geometry import (
    Geometry,
    check_attributes,
    forward_geometry,
    output_shape,
    transposed_geometry,
    transposed_output_shape,
)
from fastnn.ops.convolution.layout import channels_last, ready
from fastnn.ops.convolution.reference import convolved, convolved_backward, transposed, transposed_backward
from fastnn.ops.elementwise import apply
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Shape
from fastnn.ops.reduction import sum_axes

__all__ = ["conv", "conv_transpose"]

# -- lowering


def _bias_gradient(low: Lowering, dy: Array) -> Array:
    last = ready(low, dy, ((0, 0),) * (dy.ndim - 2))
    return sum_axes(low, last, range(last.ndim - 1), low.output((last.shape[-1],), last.dtype))


def _lower(low: Lowering, x: Array, w: Array, b: Array | None) -> Array:
    geometry = forward_geometry("conv", _shapes(x, w), low.attrs)
    if 0 in (x.shape[0], w.shape[0]):
        return low.output((x.shape[0], w.shape[0], *geometry.output), x.dtype)
    return variants.forward(low, x, w, b, geometry)


def _shapes(x: Array, w: Array) -> dict[str, Shape | None]:
    return {"x": x.shape, "w": w.shape}


def _lower_backward(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
    x, w = low.saved["x"], low.saved["w"]
    geometry = forward_geometry("conv", _shapes(x, w), low.attrs)
    return _gradients(low, x, dy, w, geometry, x, dy)


def _gradients(
    low: Lowering, x: Array, dy: Array, w: Array, geometry: Geometry, wide: Array, narrow: Array
) -> tuple[Array | None, ...]:
    """Gradients of input, weight and bias; `wide` and `narrow` are what a convolution calls input and output."""
    if 0 in (*x.shape[:2], *dy.shape[:2]):
        return NotImplemented, None, None
    dx = dw = db = None
    if low.needs["w"]:
        dw = variants.weight_gradient(low, wide, narrow, w, geometry)
    if low.needs["b"]:
        db = _bias_gradient(low, dy)
    if low.needs["x"]:
        if wide is x:
            dx = variants.input_gradient(low, dy, w, geometry)
        else:
            dx = variants.forward(low, dy, w, None, geometry)
    return dx, dw, db


def _lower_transpose(low: Lowering, x: Array, w: Array, b: Array | None) -> Array:
    geometry = transposed_geometry("conv_transpose", _shapes(x, w), low.attrs)
    channels = geometry.groups * w.shape[1]
    if 0 in (x.shape[0], x.shape[1], channels):
        return NotImplemented
    y = variants.input_gradient(low, x, w, geometry)
    if b is not None:
        last = channels_last(y)
        apply(low, "add", last, last, b, in_place=True)
    return y


def _lower_transpose_backward(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
    x, w = low.saved["x"], low.saved["w"]
    geometry = transposed_geometry("conv_transpose", _shapes(x, w), low.attrs)
    return _gradients(low, x, dy, w, geometry, dy, x)


# -- declarations


def _flops(x: Shape, w: Shape, b: Shape | None = None, **attrs: Any) -> float:
    geometry = forward_geometry("conv", {"x": x, "w": w}, attrs)
    return 2.0 * x[0] * math.prod(w) * math.prod(geometry.output)


def _transposed_flops(x: Shape, w: Shape, b: Shape | None = None, **attrs: Any) -> float:
    return 2.0 * x[0] * math.prod(w) * math.prod(x[2:])


def _backward_flops(flops: Any) -> Any:
    products = flops_of_gradients(flops, "x", "w")

    def counted(needs: Mapping[str, bool], **given: Any) -> float:
        return products(needs, **given)

    return counted


CASES: list[dict[str, Any]] = [
    {"x": (2, 3, 9), "w": (4, 3, 3), "b": (4,)},
    {"x": (2, 3, 9), "w": (4, 3, 4), "b": None, "stride": 2, "padding": 2, "dilation": 2},
    {"x": (2, 5, 7, 6), "w": (3, 5, 3, 3), "b": (3,), "padding": 1},
    {"x": (1, 1, 8, 9), "w": (6, 1, 5, 2), "b": None, "stride": (2, 3), "padding": ((1, 2), (0, 3))},
    {"x": (2, 6, 5, 5), "w": (8, 3, 2, 3), "b": (8,), "groups": 2, "stride": 2, "padding": 1},
    {"x": (2, 4, 6, 7), "w": (8, 1, 3, 3), "b": (8,), "groups": 4, "padding": 1, "dilation": (1, 2)},
    {"x": (2, 33, 4, 4), "w": (33, 1, 3, 3), "b": None, "groups": 33, "stride": 2, "padding": 1},
    {"x": (3, 17, 5, 4), "w": (19, 17, 1, 1), "b": (19,)},
    {"x": (2, 2, 3, 4, 5), "w": (3, 2, 2, 3, 2), "b": (3,), "stride": (1, 2, 1), "padding": 1},
    {"x": (0, 2, 5, 5), "w": (3, 2, 3, 3), "b": (3,)},
]
TRANSPOSED: list[dict[str, Any]] = [
    {"x": (2, 3, 5), "w": (3, 4, 3), "b": (4,)},
    {"x": (2, 4, 5, 4), "w": (4, 3, 3, 2), "b": (3,), "stride": (2, 3), "padding": 1, "output_padding": (1, 0)},
    {"x": (1, 6, 4, 4), "w": (6, 2, 3, 3), "b": None, "groups": 3, "stride": 2, "dilation": 2, "padding": 2},
    {"x": (2, 4, 3, 3), "w": (4, 1, 2, 2), "b": (4,), "groups": 4, "stride": 3},
    {"x": (1, 2, 3, 2, 3), "w": (2, 3, 2, 2, 1), "b": (3,), "stride": 2},
]
ATTRIBUTES = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}

conv = Op(
    name="conv",
    shapes="x:(...) w:(...) b:(...)? -> y:(...)",
    rule=output_shape,
    check=check_attributes,
    attributes=ATTRIBUTES,
    reference=(convolved, convolved_backward),
    lower=(_lower, _lower_backward),
    saves=("x", "w"),
    uses={"x": ("w",), "w": ("x",)},
    flops=_flops,
    backward_flops=_backward_flops(_flops),
    cases=CASES,
    bench=[{"x": (16, 64, 56, 56), "w": (64, 64, 3, 3), "b": (64,), "padding": 1}],
)

conv_transpose = Op(
    name="conv_transpose",
    shapes="x:(...) w:(...) b:(...)? -> y:(...)",
    rule=transposed_output_shape,
    check=check_attributes,
    attributes={**ATTRIBUTES, "output_padding": 0},
    reference=(transposed, transposed_backward),
    lower=(_lower_transpose, _lower_transpose_backward),
    saves=("x", "w"),
    uses={"x": ("w",), "w": ("x",)},
    flops=_transposed_flops,
    backward_flops=_backward_flops(_transposed_flops),
    cases=TRANSPOSED,
    bench=[{"x": (16, 64, 28, 28), "w": (64, 32, 4, 4), "b": None, "stride": 2, "padding": 1}],
)
