"""The loop that trains a classifier, free of any terminal."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch of training gave.

    Attributes
    ----------
    epoch : its number, from 1 on.
    lr : learning rate.
    loss : mean training loss of a sample, each batch taken before its own update.
    accuracy : share of held-out samples that are classified rightly after the epoch, 0 to 1; None without any.
    seconds : time of the training batches (loading them included, evaluation not).
    samples_per_second : training samples over ``seconds``.
    """

    epoch: int
    lr: float
    loss: float
    accuracy: float | None
    seconds: float
    samples_per_second: float


@dataclass(slots=True)
class History:
    """The epochs of a training run."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def accuracy(self) -> float | None:
        """Accuracy on the held-out samples after the last epoch."""
        return self.epochs[-1].accuracy if self.epochs else None

    @property
    def samples_per_second(self) -> float | None:
        """Median over the epochs, so that compiling kernels in the first one does not count."""
        return statistics.median(e.samples_per_second for e in self.epochs) if self.epochs else None

    def records(self) -> list[dict[str, Any]]:
        """Return one plain dictionary an epoch."""
        return [asdict(epoch) for epoch in self.epochs]


def cosine(lr: float, epochs: int) -> Callable[[int], float]:
    """Return a schedule that falls from ``lr`` in epoch 0 towards 0 along half a cosine, one value an epoch.

    Source: I. Loshchilov, F. Hutter, "SGDR", arXiv:1608.03983, equation 5; torch's CosineAnnealingLR.
    """
    return lambda epoch: lr * (1 + math.cos(math.pi * epoch / epochs)) / 2


def train_epoch(
    model: Any,
    loader: Iterable[tuple[Any, ...]],
    loss_fn: Callable[[Any, Any], Any],
    optimizer: Any,
    *,
    on_batch: Callable[[int, float], None] | None = None,
) -> tuple[float, int, float]:
    """Take one optimizer step a batch.

    Parameters
    ----------
    model, loss_fn, optimizer : as in torch; ``loss_fn`` gives the mean over the batch.
    loader : batches of inputs and labels.
    on_batch : called after each step with the samples so far and the batch's loss.

    Returns
    -------
    The mean loss of a sample, the number of samples, and the seconds that passed.
    """
    total, samples = 0.0, 0
    start = time.perf_counter()
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(inputs), labels)
        loss.backward()
        optimizer.step()
        value = float(loss.item())
        total += value * len(labels)
        samples += len(labels)
        if on_batch is not None:
            on_batch(samples, value)
    seconds = time.perf_counter() - start
    return total / samples if samples else math.nan, samples, seconds


def accuracy(model: Any, inputs: NDArray[Any], labels: NDArray[Any], batch_size: int = 1000) -> float:
    """Return the share of samples whose largest output is that of their label (NaN without samples)."""
    right = 0
    with fastnn.no_grad():
        for start in range(0, len(labels), batch_size):
            outputs = np.asarray(model(fastnn.from_numpy(inputs[start : start + batch_size])))
            right += int((outputs.argmax(1) == labels[start : start + batch_size]).sum())
    return right / len(labels) if len(labels) else math.nan


def train(
    model: Any,
    loader: Iterable[tuple[Any, ...]],
    loss_fn: Callable[[Any, Any], Any],
    optimizer: Any,
    *,
    epochs: int,
    schedule: Callable[[int], float] | None = None,
    held_out: tuple[NDArray[Any], NDArray[Any]] | None = None,
    on_batch: Callable[[int, float], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> History:
    """Train for some epochs, with an evaluation after each.

    Parameters
    ----------
    model, loader, loss_fn, optimizer, on_batch : see `train_epoch`.
    schedule : gives the learning rate of an epoch, numbered from 0; None leaves the optimizer's.
    held_out : inputs and labels to evaluate on.
    on_epoch : called after each epoch; KeyboardInterrupt passes through, so what was saved here is what remains.
    """
    history = History()
    for number in range(epochs):
        if schedule is not None:
            for group in optimizer.param_groups:
                group["lr"] = schedule(number)
        loss, samples, seconds = train_epoch(model, loader, loss_fn, optimizer, on_batch=on_batch)
        score = None if held_out is None else accuracy(model, *held_out)
        lr = float(optimizer.param_groups[0]["lr"])
        history.epochs.append(Epoch(number + 1, lr, loss, score, seconds, samples / seconds))
        if on_epoch is not None:
            on_epoch(history.epochs[-1])
    return history
