"""What watches a training run: stopping, schedules, files, time. Your own derives from `Callback`."""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastnn.training.history import Epoch, better, higher_is_better
from fastnn.training.run import Callback, Run


class EarlyStopping(Callback):
    """End the training where a value no longer gets better.

    Parameters
    ----------
    monitor : name of the value, such as ``"val_loss"`` or ``"val_accuracy"``; by default the validation loss, or the
        training loss where nothing is validated.
    patience : epochs without progress that are borne.
    min_delta : what counts as progress.
    mode : ``"min"``, ``"max"``, or ``"auto"``: scores are to grow, losses and errors to fall.
    restore_best : put the parameters and buffers of the best epoch back at the end.
    """

    def __init__(
        self,
        monitor: str | None = None,
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = False,
    ) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"EarlyStopping: mode must be 'auto', 'min' or 'max', got {mode!r}")
        if patience < 0:
            raise ValueError(f"EarlyStopping: patience must be at least 0, got {patience}")
        self.monitor, self.patience, self.min_delta, self.mode = monitor, patience, abs(min_delta), mode
        self.restore_best = restore_best
        self.best, self.best_epoch, self.waited = math.nan, 0, 0
        self._kept: dict[str, Any] | None = None

    def on_epoch(self, run: Run, epoch: Epoch) -> None:
        """Compare the epoch with the best one."""
        name, value = monitored("EarlyStopping", self.monitor, epoch)
        higher = self.mode == "max" or (self.mode == "auto" and higher_is_better(name))
        if better(value, self.best, higher, self.min_delta):
            self.best, self.best_epoch, self.waited = value, epoch.number, 0
            if self.restore_best:
                self._kept = {k: v.detach().clone() for k, v in run.model.state_dict().items()}
            return
        self.waited += 1
        if self.waited > self.patience:
            run.stop(f"{name} has not got better than {self.best:.4g} since epoch {self.best_epoch}")

    def on_end(self, run: Run) -> None:
        """Put the best parameters back."""
        if self._kept is not None:
            run.model.load_state_dict(self._kept)

    def state_dict(self) -> dict[str, Any]:
        """The best epoch and how long ago it was."""
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.best, self.best_epoch, self.waited = state["best"], state["best_epoch"], state["waited"]


def monitored(who: str, name: str | None, epoch: Epoch) -> tuple[str, float]:
    """The value that a callback watches, by its name; ValueError where the epoch has none such."""
    if name is None:
        name = "val_loss" if "val_loss" in epoch.values else "loss"
    if name not in epoch.values:
        raise ValueError(f"{who}: monitor {name!r} is not measured; there are {', '.join(epoch.values)}")
    return name, float(epoch.values[name])


class LearningRateSchedule(Callback):
    """Move the learning rate.

    Parameters
    ----------
    schedule : a scheduler of `fastnn.optim.lr_scheduler` over the run's optimizer, a function that makes one of an
        optimizer, or a function of the epoch (from 0 on) that gives the learning rate.
    every : ``"epoch"`` or ``"batch"``: when the scheduler takes a step, or which number the function is given.
    """

    def __init__(self, schedule: Any, every: str = "epoch") -> None:
        if every not in ("epoch", "batch"):
            raise ValueError(f"LearningRateSchedule: every must be 'epoch' or 'batch', got {every!r}")
        if not (hasattr(schedule, "step") or callable(schedule)):
            raise TypeError(f"LearningRateSchedule: expected a scheduler or a function, got {schedule!r}")
        self.schedule, self.every = schedule, every
        self._earlier: dict[str, Any] | None = None

    def _is_scheduler(self) -> bool:
        return hasattr(self.schedule, "step")

    def on_start(self, run: Run) -> None:
        """Find out what the schedule is, and set the first learning rate."""
        if not self._is_scheduler():
            try:
                made = self.schedule(0)
            except (TypeError, AttributeError):
                made = self.schedule(run.optimizer)
            if hasattr(made, "step"):
                self.schedule = made
        if not self._is_scheduler():
            self._set(run, run.step if self.every == "batch" else run.epoch - 1)
        elif self._earlier is not None:  # making a scheduler sets the first learning rate
            self.schedule.load_state_dict(self._earlier["scheduler"])
            for group, lr in zip(run.optimizer.param_groups, self._earlier["lrs"], strict=True):
                group["lr"] = lr
            if run.step:  # a scheduler warns where no update came before its step
                run.optimizer._opt_called = True
        self._earlier = None

    def _set(self, run: Run, number: int) -> None:
        rate = float(self.schedule(number))
        for group in run.optimizer.param_groups:
            group["lr"] = rate

    def on_batch(self, run: Run) -> None:
        """Move on, if batch by batch."""
        if self.every == "batch":
            self._step(run, None, run.step)

    def on_epoch(self, run: Run, epoch: Epoch) -> None:
        """Move on, if epoch by epoch."""
        if self.every == "epoch":
            self._step(run, epoch, run.epoch - 1)

    def _step(self, run: Run, epoch: Epoch | None, number: int) -> None:
        if not self._is_scheduler():
            self._set(run, number)
        elif type(self.schedule).__name__ == "ReduceLROnPlateau":
            value = run.loss if epoch is None else monitored("LearningRateSchedule", None, epoch)[1]
            self.schedule.step(value)
        else:
            self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's own state, and the learning rates."""
        if not self._is_scheduler():
            return {}
        groups = self.schedule.optimizer.param_groups
        return {"scheduler": dict(self.schedule.state_dict()), "lrs": [float(group["lr"]) for group in groups]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._earlier = state or None


class TimeLimit(Callback):
    """End the training after the batch that is running when the time is up; the epoch counts as it stands.

    Parameters
    ----------
    seconds : of this run, from its first batch on.
    """

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"TimeLimit: seconds must be positive, got {seconds}")
        self.seconds = seconds
        self._start = math.inf

    def on_start(self, run: Run) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_batch(self, run: Run) -> None:
        """Look at the clock."""
        if time.monotonic() - self._start >= self.seconds:
            run.stop(f"the time limit of {self.seconds:g} s is reached")


class CSVLogger(Callback):
    """A line an epoch in a CSV file, written through at once. A resumed run goes on in it.

    Values without a number of their own (a confusion matrix) are left out.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_start(self, run: Run) -> None:
        """Begin the file anew, unless the run goes on from earlier epochs."""
        if not run.history.epochs:
            self.path.unlink(missing_ok=True)

    def on_epoch(self, run: Run, epoch: Epoch) -> None:
        """Add a line."""
        row = {name: value for name, value in epoch.record().items() if isinstance(value, (int, float, str))}
        new = not self.path.exists() or self.path.stat().st_size == 0
        with self.path.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)


class TensorBoard(Callback):
    """Values of each epoch as TensorBoard's scalars, through tensorboardX.

    Raises ImportError, with the line to install it, where tensorboardX is missing.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ImportError("TensorBoard needs tensorboardX; run: pip install tensorboardX") from None
        self._make = SummaryWriter
        self.folder = os.fspath(folder)
        self._writer: Any = None

    def on_start(self, run: Run) -> None:
        """Open the log."""
        self._writer = self._make(self.folder)

    def on_epoch(self, run: Run, epoch: Epoch) -> None:
        """Write the epoch's values."""
        for name, value in epoch.record().items():
            if isinstance(value, (int, float)) and name != "epoch":
                kind, plain = ("validation", name[4:]) if name.startswith("val_") else ("training", name)
                self._writer.add_scalar(f"{plain}/{kind}", value, epoch.number)
        self._writer.flush()

    def on_end(self, run: Run) -> None:
        """Close the log."""
        if self._writer is not None:
            self._writer.close()


class Call(Callback):
    """A function as a callback: ``function(run, epoch)`` after each epoch, or ``function(run)`` after each batch."""

    def __init__(self, function: Callable[..., Any], every: str = "epoch") -> None:
        if every not in ("epoch", "batch"):
            raise ValueError(f"Call: every must be 'epoch' or 'batch', got {every!r}")
        self.function, self.every = function, every

    def on_batch(self, run: Run) -> None:
        """Call it, if batch by batch."""
        if self.every == "batch":
            self.function(run)

    def on_epoch(self, run: Run, epoch: Epoch) -> None:
        """Call it, if epoch by epoch."""
        if self.every == "epoch":
            self.function(run, epoch)


__all__ = [
    "CSVLogger",
    "Call",
    "Callback",
    "EarlyStopping",
    "LearningRateSchedule",
    "TensorBoard",
    "TimeLimit",
]
