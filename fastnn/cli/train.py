"""``fastnn train``: a network on labelled images or on a table."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

import fastnn
from fastnn.cli.failure import INTERRUPTED, Failure
from fastnn.cli.networks import defaults
from fastnn.cli.outputs import save_history, save_plot, save_weights
from fastnn.cli.subjects import DESCRIPTION, WEIGHTS, Subject, build_model, changes_of, load_subject, loss_of
from fastnn.data import DataLoader
from fastnn.serialization.atomic import write_whole
from fastnn.training import Call, Checkpoint, CheckpointError, Epoch, History, Run, TimeLimit
from fastnn.training.checkpoint import LAST
from fastnn.training.loop import fit
from fastnn.training.progress import Display, display

NUMPY_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of ``fastnn train``, checked."""

    data: str
    target: str | None
    model: str
    epochs: int
    batch_size: int
    lr: float
    hidden: list[int]
    seed: int
    out: Path
    resume: bool
    threads: int | None
    compare_numpy: bool
    augment: bool | None = None


def run_training(settings: Settings, *, quiet: bool = False) -> None:
    """Train, evaluate and save. Raises Failure with a line for the user."""
    if importlib.util.find_spec("safetensors") is None:
        raise Failure("safetensors missing, which keeps the weights; run: pip install 'fastnn-cpu[all]'")
    _make_folder(settings.out)
    if settings.threads is not None:
        fastnn.set_num_threads(settings.threads)
    subject = load_subject(settings.data, settings.target, settings.model, settings.hidden, settings.seed)
    try:
        _run(settings, subject, display(not quiet))
    except MemoryError:
        what = f"hidden layers of {settings.hidden}" if settings.hidden else settings.model
        raise Failure(f"not enough memory for {what}") from None
    except BrokenPipeError:  # who reads the output has gone
        raise
    except OSError as error:
        raise Failure(f"cannot write to {settings.out}: {error.strerror or error}") from None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"--out must be a folder that can be written to, got {folder} ({error.strerror})") from None
    if not os.access(folder, os.W_OK):
        raise Failure(f"--out must be a folder that can be written to, got {folder}")


def cosine(lr: float, epochs: int) -> Callable[[int], float]:
    """A schedule that falls from ``lr`` in epoch 0 towards 0 along half a cosine.

    Source: I. Loshchilov, F. Hutter, "SGDR", arXiv:1608.03983, equation 5; torch's CosineAnnealingLR.
    """
    return lambda epoch: lr * (1 + math.cos(math.pi * epoch / epochs)) / 2


def _made(settings: Settings, subject: Subject) -> tuple[Any, Any, Any, DataLoader]:
    """Model, loss, optimizer and batches; the seed fixes the weights, the order and how images are changed."""
    fastnn.manual_seed(settings.seed)
    model = build_model(subject.description)
    network = defaults(settings.model)
    optimizer = getattr(fastnn.optim, network.optimizer)(model.parameters(), lr=settings.lr, **network.settings)
    transform = changes_of(subject.description)[1] if settings.augment else None
    loader = DataLoader(subject.train, settings.batch_size, shuffle=True, seed=settings.seed, transform=transform)
    return model, loss_of(subject.description), optimizer, loader


def _run(settings: Settings, subject: Subject, show: Display) -> None:
    described = subject.description
    model, loss_fn, optimizer, loader = _made(settings, subject)
    what = "-".join(map(str, [described.inputs, *described.hidden, described.outputs]))
    show.line("data", subject.source)
    show.line("", f"{len(subject.train[1]):,} {subject.noun} to train on, {len(subject.held_out[1]):,} held out")
    show.line("model", f"{what if settings.model == 'mlp' else settings.model}, {_count(model):,} parameters")
    how = [f"{type(optimizer).__name__}, lr {settings.lr:g} falling to 0", f"batch {settings.batch_size}"]
    how += [f"seed {settings.seed}", *([f"random {changes_of(described)[0]}"] if settings.augment else [])]
    show.line("training", ", ".join(how))
    show.line("threads", str(fastnn.get_num_threads()))

    weights = settings.out / WEIGHTS
    write_whole(settings.out / DESCRIPTION, described.to_json().encode())
    progress = History()
    metrics = ("accuracy",) if described.classes is not None else ("mae",)

    def on_epoch(run: Run, epoch: Epoch) -> None:
        save_weights(weights, run.model.state_dict())
        progress.epochs[:] = run.history.epochs

    interrupted = None
    try:
        fit(
            model,
            loader,
            loss=loss_fn,
            optimizer=optimizer,
            epochs=settings.epochs,
            schedule=cosine(settings.lr, settings.epochs),
            validation=subject.held_out,
            metrics=metrics,
            callbacks=[Call(on_epoch), Checkpoint(settings.out), show],
            resume=settings.out if settings.resume else False,
            verbose=False,
        )
    except CheckpointError as error:
        raise Failure(f"--resume: {error}") from None
    except KeyboardInterrupt:
        done = len(progress)
        left = f"{weights} holds the weights after epoch {done}" if done else "no epoch was finished"
        go_on = "; --resume goes on from there" if (settings.out / LAST).exists() else ""
        interrupted = Failure(f"interrupted in epoch {done + 1}; {left}{go_on}", INTERRUPTED)
        if not done:
            raise interrupted from None
    if not progress.epochs:
        raise Failure(f"--resume: {settings.out / LAST} is of a run that has had its {settings.epochs} epochs")
    speed = progress.samples_per_second or 0.0
    show.line("held out", _score(progress, subject))
    show.line("speed", f"{speed:,.0f} samples/s")
    numpy_speed = None
    if settings.compare_numpy and interrupted is None:
        numpy_speed = _numpy_speed(settings, subject)
        show.line(
            "", f"{numpy_speed:,.0f} samples/s on the NumPy reference: fastnn is {speed / numpy_speed:.2f}x as fast"
        )
    _save(settings, subject, progress, numpy_speed, show)
    if interrupted is not None:
        raise interrupted


def _score(history: History, subject: Subject) -> str:
    """The last epoch's score on the held-out data, in words."""
    count = f"{len(subject.held_out[1]):,} held-out {subject.noun}"
    if subject.description.classes is not None:
        return f"{100 * history.last['val_accuracy']:.2f}% of {count} right"
    error = history.last["val_mae"] * subject.description.target_scale
    return f"mean absolute error {error:.4g} over {count}"


def _numpy_speed(settings: Settings, subject: Subject) -> float:
    """Measure an epoch of the same training, or what fits into `NUMPY_SECONDS`, on the NumPy reference.

    NumPy has as many threads for its products.
    """
    with fastnn.use_backend("numpy"), threadpool_limits(fastnn.get_num_threads(), user_api="blas"):
        model, loss_fn, optimizer, loader = _made(settings, subject)
        limit = TimeLimit(NUMPY_SECONDS)
        history = fit(model, loader, loss=loss_fn, optimizer=optimizer, epochs=1, callbacks=[limit], verbose=False)
    return history.samples_per_second or 0.0


def _save(settings: Settings, subject: Subject, history: History, numpy_speed: float | None, show: Display) -> None:
    show.line("weights", str(settings.out / WEIGHTS))
    last = history.last
    save_history(
        settings.out / "history.json",
        {
            "fastnn": fastnn.__version__,
            "settings": {**asdict(settings), "out": str(settings.out), "threads": fastnn.get_num_threads()},
            "source": subject.source,
            "epochs": history.records(),
            **{name.removeprefix("val_"): value for name, value in last.items() if name in ("val_accuracy", "val_mae")},
            "samples_per_second": history.samples_per_second,
            "numpy_samples_per_second": numpy_speed,
        },
    )
    show.line("history", str(settings.out / "history.json"))
    try:
        save_plot(settings.out / "history.png", history, f"{subject.name}: {_score(history, subject)}")
    except ImportError:
        show.line("plot", "left out; run: pip install 'fastnn-cpu[plot]'")
    else:
        show.line("plot", str(settings.out / "history.png"))


def _count(model: Any) -> int:
    return sum(int(parameter.numel()) for parameter in model.parameters())
