"""Operations on arrays and Tensors, under NumPy's and torch's names: arrays in, arrays out; Tensors in, Tensors out."""

from fastnn.ops.activation import erf, gelu, log_softmax, relu, sigmoid, silu, softmax, tanh
from fastnn.ops.arithmetic import (
    add,
    copy,
    divide,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    multiply,
    negative,
    not_equal,
    subtract,
)
from fastnn.ops.linear import linear
from fastnn.ops.loss import cross_entropy
from fastnn.ops.matmul import matmul
from fastnn.ops.reduction import mean, sum

__all__ = [
    "add",
    "copy",
    "cross_entropy",
    "divide",
    "equal",
    "erf",
    "gelu",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "linear",
    "log_softmax",
    "matmul",
    "mean",
    "multiply",
    "negative",
    "not_equal",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "subtract",
    "sum",
    "tanh",
]
