"""Learning-rate schedules with torch's names, arguments and state.

A schedule sets the learning rate of each parameter group: once when it is made, then at each `step`, which comes after
the optimizer's. Most move the present rate by a factor, so several schedules can share an optimizer.
"""

from fastnn.optim.lr_scheduler.annealing import CosineAnnealingLR, CosineAnnealingWarmRestarts
from fastnn.optim.lr_scheduler.base import LRScheduler
from fastnn.optim.lr_scheduler.combined import ChainedScheduler, SequentialLR
from fastnn.optim.lr_scheduler.cycles import CyclicLR, OneCycleLR
from fastnn.optim.lr_scheduler.decay import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from fastnn.optim.lr_scheduler.plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
