"""How a training run shows itself: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from typing import Any

from fastnn.training.history import Epoch
from fastnn.training.run import Callback, Run

REFRESH_SECONDS = 0.1


def display(verbose: bool | None = True) -> Lines:
    """What shows a run: chosen by what is asked for, where the output goes, and whether rich is there.

    `verbose` : False for nothing; None for a bar on a terminal and nothing elsewhere.
    """
    terminal = sys.stdout is not None and sys.stdout.isatty()
    if verbose is False or (verbose is None and not terminal):
        return Quiet()
    if terminal and importlib.util.find_spec("rich") is not None:
        return Bar()
    return Lines()


def epoch_line(epoch: Epoch, epochs: int) -> str:
    """What an epoch gave, in a line."""
    words = [f"{epoch.number:>{len(str(epochs))}}/{epochs}"]
    for name, value in epoch.values.items():
        if isinstance(value, (int, float)):
            words.append(f"{name} {value:.4f}" if abs(value) < 1e4 else f"{name} {value:.3e}")
    words += [f"{epoch.samples_per_second:,.0f} samples/s", f"{epoch.seconds:.2f} s"]
    return "  ".join(words)


class Lines(Callback):
    """A line of text an epoch, written at once."""

    def on_epoch(self, run: Run, epoch: Epoch) -> None:
        """Print what the epoch gave."""
        self.line("epoch", epoch_line(epoch, run.epochs))

    def on_end(self, run: Run) -> None:
        """Print why training ended early."""
        if run.stopped is not None:
            self.line("stopped", run.stopped)

    def line(self, name: str, text: str) -> None:
        """Print a named fact."""
        print(f"{name:<10} {text}", flush=True)


class Quiet(Lines):
    """Shows nothing."""

    def line(self, name: str, text: str) -> None:
        """Show nothing."""


class Bar(Lines):
    """A progress bar below the lines: epoch, loss, samples a second, time left.

    It is drawn from the loop, not by a thread of rich's, which would take time from the kernels.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.fields[all]}  {task.fields[facts]}"),
            TimeRemainingColumn(),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        self._task: Any = None
        self._drawn = 0.0

    def on_batch(self, run: Run) -> None:
        """Move the bar, ten times a second at most."""
        now = time.perf_counter()
        if now - self._drawn < REFRESH_SECONDS:
            return
        self._drawn = now
        batches = run.batches
        total = None if batches is None else batches * run.epochs
        if self._task is None:
            self._task = self._progress.add_task("training", total=total, facts="", all="")
            self._progress.start()
        rate = run.samples / run.seconds if run.seconds else math.nan
        facts = f"epoch {run.epoch}/{run.epochs}  loss {run.loss_sum / max(run.samples, 1):.4f}  {rate:,.0f} samples/s"
        self._progress.update(
            self._task, completed=run.step, facts=facts, all="?" if total is None else f"{total:,} updates"
        )
        self._progress.refresh()

    def on_end(self, run: Run) -> None:
        """Remove the bar."""
        if self._task is not None:
            self._progress.stop()
            self._task = None
        super().on_end(run)

    def line(self, name: str, text: str) -> None:
        """Print a named fact above the bar."""
        self._console.print(f"{name:<10} {text}", markup=False, soft_wrap=True)
