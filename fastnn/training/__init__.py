"""Training in one call, and what surrounds it: histories, metrics, callbacks, checkpoints."""

from fastnn.training.callbacks import (
    Call,
    Callback,
    CSVLogger,
    EarlyStopping,
    LearningRateSchedule,
    TensorBoard,
    TimeLimit,
)
from fastnn.training.checkpoint import Checkpoint, CheckpointError
from fastnn.training.history import Epoch, History
from fastnn.training.loop import evaluate, fit, predict
from fastnn.training.many import fit_many
from fastnn.training.metrics import METRICS, Metric
from fastnn.training.run import Run

__all__ = [
    "METRICS",
    "CSVLogger",
    "Call",
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "EarlyStopping",
    "Epoch",
    "History",
    "LearningRateSchedule",
    "Metric",
    "Run",
    "TensorBoard",
    "TimeLimit",
    "evaluate",
    "fit",
    "fit_many",
    "predict",
]
