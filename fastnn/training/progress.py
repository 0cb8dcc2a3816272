"""How a training run shows itself: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
import time
from typing import Any

from fastnn._text import amount
from fastnn.inspection.counting import Counter
from fastnn.training.history import Epoch
from fastnn.training.metrics import Collected
from fastnn.training.run import Callback, Run

REFRESH_SECONDS = 0.2  # of the bar, which takes about a millisecond
LINE_SECONDS = 60.0  # of an epoch, after which lines say how far it is
NAME = 10  # characters before a line's text
NARROWEST_BAR, WIDEST_BAR = 8, 30


def display(verbose: bool | None = True) -> Display:
    """What shows a run: chosen by what is asked for, where the output goes, and whether rich is there.

    `verbose` : False for nothing; None for a bar on a terminal and nothing elsewhere.
    """
    terminal = sys.stdout is not None and sys.stdout.isatty()
    if verbose is False or (verbose is None and not terminal):
        return Display()
    # a dumb terminal cannot go back to the start of a line
    able = terminal and os.environ.get("TERM", "") not in ("dumb", "unknown")
    if able and importlib.util.find_spec("rich") is not None:
        return Bar()
    return Lines()


def number(value: float) -> str:
    """A loss or metric in a few characters: decimals where they say something, else an exponent."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3e}"


def span(seconds: float) -> str:
    """A time to wait: ``9 s``, ``4:05``, ``3:04:05``, ``2 d 03:04``."""
    if not math.isfinite(seconds):
        return "?"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60 % 60, whole // 3600 % 24, whole // 86400
    if days:
        return f"{days:,} d {hours:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _speed(samples_per_second: float, flops_per_sample: float) -> list[str]:
    """Samples and, where they are known, FLOPs a second."""
    if not math.isfinite(samples_per_second):
        return []
    digits = ",.0f" if samples_per_second >= 10 else ".2g"
    words = [f"{samples_per_second:{digits}} samples/s"]
    if flops_per_sample:
        words.append(amount(samples_per_second * flops_per_sample, "FLOP/s"))
    return words


def fitting(facts: list[str], room: int) -> list[str]:
    """The first facts that there is room for, each with two blanks."""
    taken = []
    for fact in facts:
        room -= len(fact) + 2
        if room < 0:
            break
        taken.append(fact)
    return taken


class Display(Callback):
    """Shows nothing; what shows something is derived from it."""

    def line(self, name: str, text: str) -> None:
        """Show a named fact."""


class Lines(Display):
    """A line of text an epoch, written at once; one a minute within epochs that take longer."""

    def __init__(self) -> None:
        self._counter: Counter | None = None
        self._flops = 0.0  # a sample takes, both passes
        self._began = math.nan  # when the first update, which may have compiled kernels, was done
        self._first = 0  # updates that were done then
        self._shown = 0.0
        self._epoch_length: int | None = None  # updates, where the loader does not know and an epoch told

    def on_start(self, run: Run) -> None:
        """Count the FLOPs of the first update; later ones are not watched."""
        self._counter = Counter()
        self._counter.__enter__()

    def _stop_counting(self, run: Run) -> None:
        counter, self._counter = self._counter, None
        if counter is not None:
            counter.__exit__(None, None, None)
            if run.batch and run.samples and not counter.unknown:
                self._flops = counter.flops / run.samples * run.batch

    # between two reports within an epoch, and whether there is one after the first update
    interval, at_once = LINE_SECONDS, False

    def on_batch(self, run: Run) -> None:
        """Show how far the run is, now and then."""
        now = time.perf_counter()
        if self._counter is not None:
            self._begin(run, now)
        if now - self._shown >= self.interval:
            self._shown = now
            self.progress(run, now)

    def _begin(self, run: Run, now: float) -> None:
        """See the first update."""
        self._stop_counting(run)
        self._began, self._first = now, run.step
        self._shown = now - self.interval if self.at_once else now

    def progress(self, run: Run, now: float) -> None:
        """Show how far the run is."""
        done, facts = self.done(run), self.facts(run, now)
        share = [] if done is None else [f"{100 * done:.0f}%"]
        self.line("epoch", "  ".join([f"{run.epoch}/{run.epochs}", *share, *facts]))

    def done(self, run: Run) -> float | None:
        """The share of all updates that are done, None where it is not known."""
        length = run.batches or self._epoch_length
        if not length:
            return None
        return min(1.0, (run.epoch - 1 + min(run.batch / length, 1.0)) / run.epochs)

    def facts(self, run: Run, now: float) -> list[str]:
        """Loss, metrics that cost nothing, speed, time left; the most important first."""
        facts = [f"loss {number(run.loss_sum / max(run.samples, 1))}"]
        done = self.done(run)
        updates = run.step - self._first
        if done and updates > 0:
            left = (now - self._began) / updates * run.step * (1 - done) / done
            facts.append(f"{span(left)} left")
        facts += _speed(run.samples / run.seconds if run.seconds else math.nan, self._flops)
        return facts + [
            f"{one.name} {number(value)}"
            for one in run.metrics.all
            if not isinstance(one, Collected) and isinstance(value := one.value(), (int, float))
        ]

    def on_epoch(self, run: Run, epoch: Epoch) -> None:
        """Print what the epoch gave."""
        if self._epoch_length is None:
            self._epoch_length = run.step // epoch.number or None
        words = [f"{epoch.number:>{len(str(run.epochs))}}/{run.epochs}"]
        words += [f"{n} {number(v)}" for n, v in epoch.values.items() if isinstance(v, (int, float))]
        words += [*_speed(epoch.samples_per_second, self._flops), f"{epoch.seconds:.2f} s"]
        self.line("epoch", "  ".join(words))
        if not self.at_once:  # the next line within an epoch comes a minute after this one; a bar goes on
            self._shown = time.perf_counter()

    def on_end(self, run: Run) -> None:
        """Print why training ended early."""
        self._stop_counting(run)
        if run.stopped is not None:
            self.line("stopped", run.stopped)

    def line(self, name: str, text: str) -> None:
        """Print a named fact."""
        print(f"{name:<{NAME}} {text}", flush=True)


class Bar(Lines):
    """A progress bar below the lines.

    It is drawn from the loop, not by a thread of rich's, which would take time from the kernels; and in one line,
    however narrow the terminal is.
    """

    interval, at_once = REFRESH_SECONDS, True

    def __init__(self) -> None:
        from rich.console import Console

        super().__init__()
        self._console = Console(highlight=False)
        self._live: Any = None

    def progress(self, run: Run, now: float) -> None:
        """Draw the bar."""
        from rich.live import Live

        drawn = self._drawn(run, now)
        if self._live is None:
            self._live = Live(drawn, console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(drawn, refresh=True)

    def _drawn(self, run: Run, now: float) -> Any:
        """The bar and the facts beside it, as many as there is room for."""
        from rich.text import Text

        width = self._console.width - 1
        done = self.done(run)
        text = Text(f"{run.epoch:,}/{run.epochs:,}", "bold", no_wrap=True, overflow="crop", end="")
        if done is None:
            text.append(f"  update {run.step:,}", "")
        room = width - len(text) - (0 if done is None else NARROWEST_BAR + 7)
        shown = fitting(self.facts(run, now), room)
        room -= sum(len(fact) + 2 for fact in shown)
        if done is not None:
            self._append_bar(text, done, min(WIDEST_BAR, NARROWEST_BAR + max(0, room)))
        text.append("".join(f"  {fact}" for fact in shown), "")
        text.truncate(max(width, 1))
        return text

    def _append_bar(self, text: Any, done: float, width: int) -> None:
        plain = self._console.options.ascii_only
        full = int(done * width)
        text.append("  ")
        text.append(("#" if plain else "━") * full, "bar.complete")
        text.append(("-" if plain or self._console.no_color else "━") * (width - full), "bar.back")
        text.append(f" {int(100 * done):3}%")

    def on_end(self, run: Run) -> None:
        """Remove the bar."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        super().on_end(run)

    def line(self, name: str, text: str) -> None:
        """Print a named fact above the bar; what is too long goes on below its beginning."""
        width = self._console.width
        indent = " " * (NAME + 1) if width > 3 * NAME else ""
        lines: list[str] = []
        facts = text.split("  ")
        while facts:
            taken = fitting(facts, width + 2 - NAME - 1) or facts[:1]
            lines.append((indent if lines else f"{name:<{NAME}} ") + "  ".join(taken))
            facts = facts[len(taken) :]
        self._console.print("\n".join(lines), markup=False, soft_wrap=True, emoji=False)
