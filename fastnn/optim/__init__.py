"""Optimizers with torch's names, arguments, defaults and state."""

from fastnn.optim.adam import Adam
from fastnn.optim.optimizer import Optimizer
from fastnn.optim.sgd import SGD

__all__ = ["SGD", "Adam", "Optimizer"]
