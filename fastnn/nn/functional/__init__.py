"""Layers' arithmetic as functions, under torch's names and arguments."""

from fastnn.nn.functional.activation import gelu, log_softmax, relu, sigmoid, silu, softmax, tanh
from fastnn.nn.functional.dropout import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from fastnn.nn.functional.linear import bilinear, linear
from fastnn.nn.functional.loss import cross_entropy

__all__ = [
    "alpha_dropout",
    "bilinear",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
    "gelu",
    "linear",
    "log_softmax",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]
