"""Optimizers with torch's names, arguments, defaults and state."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fastnn.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from fastnn.optim.adaptive import Adadelta, Adagrad, RMSprop, Rprop
from fastnn.optim.lbfgs import LBFGS
from fastnn.optim.matrix import Adafactor, Muon
from fastnn.optim.optimizer import Optimizer
from fastnn.optim.sgd import ASGD, SGD

if TYPE_CHECKING:
    from fastnn.optim import lr_scheduler, swa_utils

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
    "swa_utils",
]


def __getattr__(name: str) -> Any:
    if name in ("lr_scheduler", "swa_utils"):
        return importlib.import_module(f"fastnn.optim.{name}")
    raise AttributeError(f"module 'fastnn.optim' has no attribute {name!r}")
