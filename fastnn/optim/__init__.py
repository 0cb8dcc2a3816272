"""Optimizers with torch's names, arguments, defaults and state."""

from fastnn.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from fastnn.optim.adaptive import Adadelta, Adagrad, RMSprop, Rprop
from fastnn.optim.optimizer import Optimizer
from fastnn.optim.sgd import ASGD, SGD

__all__ = [
    "ASGD",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
]
