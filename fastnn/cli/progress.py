"""How a training run shows itself: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from typing import Protocol

from fastnn.training import Epoch

_REFRESH_SECONDS = 0.1


class Display(Protocol):
    """What the training run tells a display."""

    def line(self, name: str, text: str) -> None:
        """Show a named fact."""

    def batch(self, samples: int, loss: float) -> None:
        """Show how far the epoch is."""

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        """Show what an epoch gave."""

    def close(self) -> None:
        """Restore the terminal."""


class Quiet:
    """Shows nothing."""

    def line(self, name: str, text: str) -> None:
        """Show nothing."""

    def batch(self, samples: int, loss: float) -> None:
        """Show nothing."""

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Change nothing: nothing was changed."""


class Plain(Quiet):
    """Lines of text, each written at once."""

    def line(self, name: str, text: str) -> None:
        """Print a named fact."""
        self._print(f"{name:<10} {text}")

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        """Print what an epoch gave."""
        accuracy = "" if epoch.accuracy is None else f"  accuracy {100 * epoch.accuracy:6.2f}%"
        self.line(
            "epoch",
            f"{epoch.epoch:>{len(str(epochs))}}/{epochs}  loss {epoch.loss:.4f}{accuracy}  "
            f"{epoch.samples_per_second:>9,.0f} samples/s  {epoch.seconds:.2f} s",
        )

    def _print(self, text: str) -> None:
        print(text, flush=True)


class Bar(Plain):
    """A progress bar below the lines."""

    def __init__(self, samples: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(highlight=False)
        # Drawn from the loop, not by a thread of rich's: that thread would take time from the kernels.
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}  loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        self._samples = samples
        self._task = self._progress.add_task("training", total=samples, loss=0.0)
        self._drawn = time.perf_counter()
        self._started = False

    def batch(self, samples: int, loss: float) -> None:
        """Move the bar, ten times a second at most."""
        now = time.perf_counter()
        if now - self._drawn < _REFRESH_SECONDS:
            return
        if not self._started:
            self._progress.start()
            self._started = True
        self._drawn = now
        self._progress.update(self._task, completed=samples, loss=loss)
        self._progress.refresh()

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        """Print what an epoch gave and start the bar again."""
        super().epoch(epoch, epochs)
        self._progress.reset(self._task, loss=epoch.loss)

    def close(self) -> None:
        """Remove the bar."""
        if self._started:
            self._progress.stop()
            self._started = False

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def display(quiet: bool, samples: int) -> Display:
    """Choose the display for an epoch of so many samples."""
    if quiet:
        return Quiet()
    return Bar(samples) if sys.stdout.isatty() else Plain()
