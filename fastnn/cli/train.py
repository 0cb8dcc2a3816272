"""``fastnn train``: a network of dense layers on labelled images."""

from __future__ import annotations

import importlib.util
import os
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

import fastnn
from fastnn.cli.failure import INTERRUPTED, Failure
from fastnn.cli.outputs import save_history, save_plot, save_weights
from fastnn.cli.progress import Display, display
from fastnn.data import DataLoader, ImageSplits, datasets
from fastnn.training import Epoch, History, cosine, train, train_epoch


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of ``fastnn train``, checked."""

    data: str
    epochs: int
    batch_size: int
    lr: float
    hidden: list[int]
    seed: int
    out: Path
    threads: int | None
    compare_numpy: bool


def run_training(settings: Settings, *, quiet: bool = False) -> None:
    """Train, evaluate and save. Raises Failure with a line for the user."""
    if importlib.util.find_spec("safetensors") is None:
        raise Failure("safetensors missing, which keeps the weights; run: pip install 'fastnn-cpu[all]'")
    _make_folder(settings.out)
    try:
        if settings.threads is not None:
            fastnn.set_num_threads(settings.threads)
        images = datasets.mnist() if settings.data == "mnist" else datasets.fashion_mnist()
    except (OSError, ValueError) as error:
        raise Failure(str(error)) from None
    with closing(display(quiet, len(images.train))) as show:
        try:
            _run(settings, images, show)
        except MemoryError:
            raise Failure(f"not enough memory for hidden layers of {settings.hidden}") from None
        except BrokenPipeError:  # who reads the output has gone
            raise
        except OSError as error:
            raise Failure(f"cannot write to {settings.out}: {error.strerror or error}") from None


def build(sizes: list[int], settings: Settings) -> tuple[Any, Any, Any]:
    """Return model, loss function and optimizer; the seed fixes the weights."""
    fastnn.manual_seed(settings.seed)
    layers: list[Any] = []
    for inputs, outputs in pairwise(sizes):
        layers += [fastnn.nn.Linear(inputs, outputs), fastnn.nn.ReLU()]
    model = fastnn.nn.Sequential(*layers[:-1])
    return model, fastnn.nn.CrossEntropyLoss(), fastnn.optim.Adam(model.parameters(), lr=settings.lr)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"--out must be a folder that can be written to, got {folder} ({error.strerror})") from None
    if not os.access(folder, os.W_OK):
        raise Failure(f"--out must be a folder that can be written to, got {folder}")


def _run(settings: Settings, images: ImageSplits, show: Display) -> None:
    features, labels = images.train.features(), images.train.labels
    held_out = images.test.features(), images.test.labels
    sizes = [features.shape[1], *settings.hidden, len(images.train.classes)]
    model, loss_fn, optimizer = build(sizes, settings)
    loader = DataLoader((features, labels), settings.batch_size, shuffle=True, seed=settings.seed)
    show.line("data", images.source)
    show.line("", f"{len(labels):,} images to train on, {len(held_out[1]):,} held out")
    show.line("model", f"{'-'.join(map(str, sizes))}, {_count(model):,} parameters")
    show.line("training", f"Adam, lr {settings.lr:g} falling to 0, batch {settings.batch_size}, seed {settings.seed}")
    show.line("threads", str(fastnn.get_num_threads()))

    weights = settings.out / "model.safetensors"
    history = History()

    def on_epoch(epoch: Epoch) -> None:
        save_weights(weights, model.state_dict())
        history.epochs.append(epoch)
        show.epoch(epoch, settings.epochs)

    interrupted = None
    try:
        train(
            model,
            loader,
            loss_fn,
            optimizer,
            epochs=settings.epochs,
            schedule=cosine(settings.lr, settings.epochs),
            held_out=held_out,
            on_batch=show.batch,
            on_epoch=on_epoch,
        )
        show.close()
    except KeyboardInterrupt:
        show.close()
        done = len(history.epochs)
        left = f"{weights} holds the weights after epoch {done}" if done else "nothing was saved"
        interrupted = Failure(f"interrupted in epoch {done + 1}; {left}", INTERRUPTED)
        if not done:
            raise interrupted from None
    speed = history.samples_per_second or 0.0
    show.line("accuracy", f"{100 * (history.accuracy or 0):.2f}% of {len(held_out[1]):,} held-out images")
    show.line("speed", f"{speed:,.0f} samples/s")
    numpy_speed = None
    if settings.compare_numpy and interrupted is None:
        numpy_speed = _numpy_speed(sizes, settings, loader)
        show.line(
            "", f"{numpy_speed:,.0f} samples/s on the NumPy reference: fastnn is {speed / numpy_speed:.2f}x as fast"
        )
    _save(settings, images, history, numpy_speed, show)
    if interrupted is not None:
        raise interrupted


def _numpy_speed(sizes: list[int], settings: Settings, loader: DataLoader) -> float:
    """Measure one epoch of the same training on the NumPy reference, with as many threads for its products."""
    with fastnn.use_backend("numpy"), threadpool_limits(fastnn.get_num_threads(), user_api="blas"):
        model, loss_fn, optimizer = build(sizes, settings)
        loader.set_epoch(0)
        _, samples, seconds = train_epoch(model, loader, loss_fn, optimizer)
    return samples / seconds


def _save(settings: Settings, images: ImageSplits, history: History, numpy_speed: float | None, show: Display) -> None:
    show.line("weights", str(settings.out / "model.safetensors"))
    save_history(
        settings.out / "history.json",
        {
            "fastnn": fastnn.__version__,
            "settings": {**asdict(settings), "out": str(settings.out), "threads": fastnn.get_num_threads()},
            "source": images.source,
            "epochs": history.records(),
            "accuracy": history.accuracy,
            "samples_per_second": history.samples_per_second,
            "numpy_samples_per_second": numpy_speed,
        },
    )
    show.line("history", str(settings.out / "history.json"))
    try:
        save_plot(
            settings.out / "history.png",
            history.epochs,
            f"{images.name}: {history.accuracy or 0:.2%} of held-out images",
        )
    except ImportError:
        show.line("plot", "left out; run: pip install 'fastnn-cpu[plot]'")
    else:
        show.line("plot", str(settings.out / "history.png"))


def _count(model: Any) -> int:
    return sum(int(parameter.numel()) for parameter in model.parameters())
