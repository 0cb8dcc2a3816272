"""Layers and losses with torch's names, arguments, defaults and state."""

from fastnn.nn import functional, init
from fastnn.nn.activation import GELU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Tanh
from fastnn.nn.container import ModuleDict, ModuleList, Sequential
from fastnn.nn.dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout
from fastnn.nn.flatten import Flatten, Unflatten
from fastnn.nn.linear import Bilinear, Identity, Linear
from fastnn.nn.loss import CrossEntropyLoss
from fastnn.nn.module import Module
from fastnn.nn.parameter import Buffer, Parameter, UninitializedParameter
from fastnn.nn.parameter_container import ParameterDict, ParameterList

__all__ = [
    "GELU",
    "AlphaDropout",
    "Bilinear",
    "Buffer",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
    "Flatten",
    "Identity",
    "Linear",
    "LogSoftmax",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Unflatten",
    "UninitializedParameter",
    "functional",
    "init",
]
