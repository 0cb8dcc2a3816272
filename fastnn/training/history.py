"""What a training run gave, epoch by epoch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

HIGHER_IS_BETTER = ("accuracy", "top", "precision", "recall", "f1", "auc", "r2")


def higher_is_better(name: str) -> bool:
    """Whether a named value is to grow; losses and errors are to fall."""
    return name.removeprefix("val_").startswith(HIGHER_IS_BETTER)


def better(value: float, best: float, higher: bool, by: float = 0.0) -> bool:
    """Whether a value is better than the best one before it by more than `by`; any is where that is NaN."""
    return math.isnan(best) or (value > best + by if higher else value < best - by)


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch of training gave.

    Attributes
    ----------
    number : from 1 on.
    lr : learning rate of its last step (of the optimizer's first group).
    values : ``loss``, the mean training loss of a sample, each batch taken before its own update; the metrics of the
        training batches, likewise; and with ``val_`` before the name those of the validation data after the epoch.
    seconds : time of the training batches (loading them included, validation not).
    samples : how many were trained on.
    """

    number: int
    lr: float
    values: dict[str, Any]
    seconds: float
    samples: int

    @property
    def loss(self) -> float:
        """Mean training loss of a sample."""
        return float(self.values.get("loss", math.nan))

    @property
    def samples_per_second(self) -> float:
        """Training samples over `seconds`."""
        return self.samples / self.seconds if self.seconds else math.nan

    def record(self) -> dict[str, Any]:
        """A plain dictionary."""
        return {
            "epoch": self.number,
            "lr": self.lr,
            **self.values,
            "seconds": self.seconds,
            "samples": self.samples,
            "samples_per_second": self.samples_per_second,
        }


@dataclass(slots=True)
class History:
    """The epochs of a training run.

    Attributes
    ----------
    epochs : one entry each.
    stopped : why training ended before its time, in words; None where it did not.
    """

    epochs: list[Epoch] = field(default_factory=list)
    stopped: str | None = None

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    def __getitem__(self, name: str) -> list[Any]:
        """A named value over the epochs, NaN where it is missing; KeyError for a name that none has."""
        if name == "lr":
            return [epoch.lr for epoch in self.epochs]
        if not any(name in epoch.values for epoch in self.epochs):
            raise KeyError(f"{name!r}: there are {', '.join(('lr', *self.names)) or 'no epochs'}")
        return [epoch.values.get(name, math.nan) for epoch in self.epochs]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values, in the order of their first appearance."""
        return tuple(dict.fromkeys(name for epoch in self.epochs for name in epoch.values))

    @property
    def last(self) -> dict[str, Any]:
        """The values of the last epoch."""
        return dict(self.epochs[-1].values) if self.epochs else {}

    @property
    def best(self) -> Epoch | None:
        """The epoch with the lowest validation loss, or training loss where there is no other."""
        return self.best_by("val_loss" if "val_loss" in self.names else "loss")

    def best_by(self, name: str) -> Epoch | None:
        """The first epoch in which a value was best: largest for scores, smallest for losses and errors."""
        sign = -1.0 if higher_is_better(name) else 1.0
        scored = [e for e in self.epochs if isinstance(v := e.values.get(name), (int, float)) and not math.isnan(v)]
        return min(scored, key=lambda e: sign * e.values[name], default=None)

    @property
    def samples_per_second(self) -> float | None:
        """Median over the epochs, so that compiling kernels in the first one does not count."""
        return statistics.median(e.samples_per_second for e in self.epochs) if self.epochs else None

    def records(self) -> list[dict[str, Any]]:
        """One plain dictionary an epoch."""
        return [epoch.record() for epoch in self.epochs]

    def to_frame(self) -> Any:
        """A pandas data frame, one row an epoch. Raises ImportError, with the line to install it, without pandas."""
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("History.to_frame needs pandas; run: pip install pandas") from None
        return pd.DataFrame.from_records(self.records(), index="epoch" if self.epochs else None)

    def plot(self, path: Any = None, *, title: str | None = None) -> Any:
        """Draw each value over the epochs, training and validation together, as a matplotlib figure.

        Parameters
        ----------
        path : a file to write it to as well (PNG, SVG, PDF by its suffix).

        Raises
        ------
        ImportError : matplotlib is missing; the text is the line to install it.
        """
        from fastnn.training.plot import draw

        figure = draw(self, title)
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure
