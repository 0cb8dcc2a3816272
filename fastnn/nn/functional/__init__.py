"""Layers' arithmetic as functions, under torch's names and arguments."""

from fastnn.nn.functional.activation import gelu, log_softmax, relu, sigmoid, silu, softmax, tanh
from fastnn.nn.functional.linear import bilinear, linear
from fastnn.nn.functional.loss import cross_entropy

__all__ = [
    "bilinear",
    "cross_entropy",
    "gelu",
    "linear",
    "log_softmax",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]
