"""A training run: where it stands, and what callbacks may do to it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastnn._runtime.capture import updates_begun
from fastnn.autograd import no_grad
from fastnn.optim.optimizer import Optimizer
from fastnn.random import default_generator
from fastnn.training.history import Epoch, History
from fastnn.training.metrics import Metrics


class Callback:
    """Base of what watches a training run; each method may be left out.

    ``run`` is a `Run`. A callback that returns nothing and calls ``run.stop(reason)`` ends the training after the
    batch. What must survive a checkpoint goes into `state_dict`.
    """

    def on_start(self, run: Run) -> None:
        """Before the first batch; after a resumed run's state was loaded."""

    def on_epoch_start(self, run: Run) -> None:
        """Before an epoch's first batch (not where a resumed run enters an epoch in its middle)."""

    def on_batch(self, run: Run) -> None:
        """After each update."""

    def on_epoch(self, run: Run, epoch: Epoch) -> None:
        """After each epoch and its validation."""

    def on_end(self, run: Run) -> None:
        """After the last epoch, also when the run was stopped or interrupted, or failed."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: numbers, strings, lists and dicts of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""


@dataclass(slots=True)
class Run:
    """Where a training run stands.

    Attributes
    ----------
    model, loss_fn, optimizer, loader : what is trained, and how.
    epochs : how many there are to be.
    history : the epochs so far.
    metrics, held_out_metrics : of the training batches, of the validation data.
    validation : batches to validate on, or None.
    update : trains on a batch; gives the loss, or the loss and the output if there are metrics.
    epoch : number of the current epoch, from 1 on.
    batch : updates so far in the current epoch.
    step : updates so far in all.
    samples : training samples so far in the current epoch.
    loss : of the last batch.
    loss_sum : of the samples so far in the current epoch.
    seconds : time of the current epoch's training batches so far.
    stopped : why the run is to end, in words; None to go on.
    """

    model: Any
    loss_fn: Callable[..., Any]
    optimizer: Any
    loader: Any
    epochs: int
    metrics: Metrics
    held_out_metrics: Metrics
    validation: Any = None
    update: Callable[..., Any] | None = None
    callbacks: Sequence[Callback] = ()
    history: History = field(default_factory=History)
    epoch: int = 1
    batch: int = 0
    step: int = 0
    samples: int = 0
    loss: float = 0.0
    loss_sum: float = 0.0
    seconds: float = 0.0
    stopped: str | None = None

    def stop(self, reason: str) -> None:
        """End the training after this batch or epoch; the first reason counts."""
        if self.stopped is None:
            self.stopped = reason

    @property
    def batches(self) -> int | None:
        """Batches in an epoch, where the loader knows."""
        try:
            return len(self.loader)
        except TypeError:
            return None

    @property
    def lr(self) -> float:
        """Learning rate of the optimizer's first group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def tell(self, event: str, *args: Any) -> None:
        """Call a method of every callback."""
        for callback in self.callbacks:
            getattr(callback, event)(self, *args)


def describe(callbacks: Sequence[Callback]) -> list[str]:
    """Names under which callbacks' states are kept: their class, numbered where one comes twice."""
    names: list[str] = []
    for callback in callbacks:
        name = type(callback).__name__
        same = sum(known.split("#")[0] == name for known in names)
        names.append(f"{name}#{same}" if same else name)
    return names


class Interrupts:
    """Ctrl-C in a training run: held back while the model is not whole, or answered at once.

    Call it where the model is whole: it raises what was held back. Between `open` and `close` an interrupt need not
    wait until an optimizer begins to write; `undo` then takes back what an update that was broken off has left.
    """

    def __init__(self) -> None:
        self.caught = False
        self.since: int | None = None
        self.kept: list[tuple[Any, Any]] = []
        self.draws: tuple[int, int] = 0, 0

    def __call__(self) -> None:
        """Raise what was held back."""
        if self.caught:
            self.caught = False
            raise KeyboardInterrupt

    def open(self, run: Run) -> None:
        """From now on the update of a run may be broken off, if what its optimizer writes is known to be counted."""
        optimizer = run.optimizer
        if type(optimizer).step is not Optimizer.step:
            return
        buffers = getattr(run.model, "buffers", tuple)
        self.kept = [(buffer, buffer.array.copy()) for buffer in buffers()]
        self.draws = default_generator._state()
        self.since = updates_begun()
        self()

    def close(self) -> None:
        """From now on interrupts are held back."""
        self.since = None

    @property
    def harmless(self) -> bool:
        """Whether the parameters are those of the last whole update, and an interrupt need not wait."""
        return self.since is not None and self.since == updates_begun()

    def undo(self) -> None:
        """Give buffers and the default generator the state that they had at `open`, if the update was broken off."""
        if self.harmless:
            with no_grad():
                for buffer, values in self.kept:
                    buffer.array[...] = values
                    buffer._touch()
            default_generator._set(*self.draws)
        self.close()

    def note(self, number: int, frame: Any) -> None:
        """The handler of the signal; a second one is not held back."""
        if self.caught or self.harmless:
            signal.default_int_handler(number, frame)
        self.caught = True


@contextmanager
def interruptible() -> Iterator[Interrupts]:
    """Hold Ctrl-C back while an update runs, as `Interrupts` says.

    Off the main thread, where signals do not arrive, nothing is changed.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # the program has a way of its own
        yield interrupts
        return
    signal.signal(signal.SIGINT, interrupts.note)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
    interrupts()
