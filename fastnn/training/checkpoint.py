"""The state of a training run in a file: a run that goes on from it ends in the same bits as one without a break.

A file holds the parameters and buffers, the optimizer's state, schedules and other callbacks, the random generator,
the order of batches, the place in the epoch, and the history. It is a safetensors file: tensors as they are, everything
else as JSON in its metadata; reading one runs no code.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from fastnn import serialization
from fastnn.errors import FormatError
from fastnn.serialization import safetensors
from fastnn.serialization.atomic import write_whole
from fastnn.training.callbacks import monitored
from fastnn.training.history import Epoch, better, higher_is_better
from fastnn.training.run import Callback, Run, describe

FORMAT = "fastnn training run 1"
LAST, BEST = "last.safetensors", "best.safetensors"


class CheckpointError(ValueError):
    """A file holds no training run, or not one that fits the model and optimizer."""


class Checkpoint(Callback):
    """Keeps the last and the best state of a run in a folder, as ``last.safetensors`` and ``best.safetensors``.

    A file is replaced only once its successor is whole: being killed at any moment leaves one or the other. A run that
    is interrupted (Ctrl-C) keeps the state after its last whole update.

    Parameters
    ----------
    folder : is made if it is missing.
    every : updates after which the last state is kept as well; None keeps it after epochs alone.
    monitor : the value that decides which epoch was best; by default the validation loss, or the training loss where
        nothing is validated.
    """

    def __init__(self, folder: str | os.PathLike[str], every: int | None = None, monitor: str | None = None) -> None:
        if every is not None and every < 1:
            raise ValueError(f"Checkpoint: every must be at least 1, got {every}")
        self.folder, self.every, self.monitor = Path(folder), every, monitor
        self.best = math.nan

    def on_start(self, run: Run) -> None:
        """Make the folder: what cannot be written to fails before training, not after."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK):
            raise PermissionError(f"Checkpoint: {self.folder} cannot be written to")

    def on_batch(self, run: Run) -> None:
        """Keep the last state, every so often."""
        if self.every is not None and run.step % self.every == 0:
            save(self.folder / LAST, run)

    def on_epoch(self, run: Run, epoch: Epoch) -> None:
        """Keep the last state, and the best if this is it."""
        name, value = monitored("Checkpoint", self.monitor, epoch)
        is_best = better(value, self.best, higher_is_better(name))
        if is_best:
            self.best = value
        content = encode(run)
        if is_best:
            write_whole(self.folder / BEST, content)
        write_whole(self.folder / LAST, content)

    def on_end(self, run: Run) -> None:
        """Keep the state of an interrupted run."""
        if run.stopped == "interrupted" and run.step:
            save(self.folder / LAST, run)

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.best = state["best"]


def find(where: Any) -> Path | None:
    """The file to go on from: the last state in a folder (None if it has none yet), or the file itself.

    Raises FileNotFoundError where there is neither.
    """
    path = Path(where)
    if path.is_dir():
        last = path / LAST
        return last if last.exists() else None
    if not path.exists():
        if path.suffix == "":
            return None
        raise FileNotFoundError(f"fit: resume must name a folder or a checkpoint, {path} is neither")
    return path


def encode(run: Run) -> bytes:
    """The state of a run as a file's content."""
    from fastnn.random import get_rng_state

    record = {
        "format": FORMAT,
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "callbacks": {n: c.state_dict() for n, c in zip(describe(run.callbacks), run.callbacks, strict=True)},
        "random": get_rng_state(),
        "order": getattr(run.loader, "seed", None),
        "place": {
            "epoch": run.epoch,
            "batch": run.batch,
            "step": run.step,
            "samples": run.samples,
            "loss": run.loss,
            "loss_sum": run.loss_sum,
            "seconds": run.seconds,
        },
        "metrics": [metric.state_dict() for metric in run.metrics.all],
        "history": [
            {"number": e.number, "lr": e.lr, "values": e.values, "seconds": e.seconds, "samples": e.samples}
            for e in run.history.epochs
        ],
    }
    return safetensors.encoded(record)


def save(path: str | os.PathLike[str], run: Run) -> None:
    """Write the state of a run."""
    write_whole(path, encode(run))


def restore(path: str | os.PathLike[str], run: Run) -> None:
    """Bring a run to where a file says it was.

    Raises
    ------
    CheckpointError : the file holds no run, or one of another model, optimizer, or metrics; the run is as it was.
    """
    from fastnn.random import set_rng_state

    record = load(path)
    metrics = record["metrics"]
    if len(metrics) != len(run.metrics.all):
        raise CheckpointError(f"{path}: the run has {len(metrics)} metrics, expected {len(run.metrics.all)}")
    try:
        run.model.load_state_dict(record["model"])
        run.optimizer.load_state_dict(record["optimizer"])
    except (ValueError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"{path}: the run is not of this model and optimizer: {error}") from None
    for name, callback in zip(describe(run.callbacks), run.callbacks, strict=True):
        if name in record["callbacks"]:
            callback.load_state_dict(record["callbacks"][name])
    for metric, state in zip(run.metrics.all, metrics, strict=True):
        metric.load_state_dict(state)
    if record["order"] is not None and hasattr(run.loader, "seed"):
        run.loader.seed = record["order"]
    for name, value in record["place"].items():
        setattr(run, name, value)
    run.history.epochs[:] = [Epoch(**epoch) for epoch in record["history"]]
    set_rng_state(record["random"])


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file keeps of a run, with Tensors. Raises CheckpointError where it keeps none."""
    try:
        record = serialization.load(path)
    except FormatError as error:
        raise CheckpointError(str(error)) from None
    if not isinstance(record, dict) or "format" not in record:
        raise CheckpointError(f"{path}: expected a training run, got a file of something else")
    if record["format"] != FORMAT:
        raise CheckpointError(f"{path}: expected {FORMAT!r}, got {record['format']!r}")
    return record


__all__ = ["Checkpoint", "CheckpointError", "find", "load", "restore", "save"]
