"""Linear and bilinear maps under torch's names and arguments."""

from __future__ import annotations

from typing import Any

from fastnn import ops
from fastnn.errors import ShapeError
from fastnn.tensor import Tensor


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """``input @ weight.T + bias``.

    Shapes: input (*, K), weight (M, K) or (K), bias (M) or () -> (*, M) or (*).
    """
    if getattr(weight, "ndim", 2) == 1:
        product = ops.matmul(input, weight)
        return product if bias is None else product + bias
    return ops.linear(input, weight, bias)


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Tensor:
    """``sum over i and j of input1[..., i] * weight[o, i, j] * input2[..., j]``, plus bias.

    Shapes: input1 (*, I), input2 (*, J), weight (O, I, J), bias (O) -> (*, O).
    """
    if input1.shape[:-1] != input2.shape[:-1] or not (input1.ndim and input2.ndim):
        raise ShapeError(
            f"bilinear: input2 must have shape (*, J) to match input1 {tuple(input1.shape)}, got {tuple(input2.shape)}"
        )
    if tuple(weight.shape[1:]) != (input1.shape[-1], input2.shape[-1]):
        raise ShapeError(
            f"bilinear: weight must have shape (O, {input1.shape[-1]}, {input2.shape[-1]}) to match input1 and input2, "
            f"got {tuple(weight.shape)}"
        )
    y = ops.einsum("...i,...j,oij->...o", input1, input2, weight)
    return y if bias is None else ops.add(y, bias)
