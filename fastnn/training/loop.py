"""Train, evaluate and predict in one call each."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from fastnn.autograd import no_grad
from fastnn.data import DataLoader, ImageData, ImageSplits, TensorDataset
from fastnn.random import Generator
from fastnn.tensor import Tensor, as_tensor
from fastnn.training.callbacks import Call, LearningRateSchedule
from fastnn.training.checkpoint import Checkpoint, find, restore
from fastnn.training.history import Epoch, History
from fastnn.training.metrics import Metrics
from fastnn.training.progress import display
from fastnn.training.run import Callback, Interrupts, Run, interruptible

EVALUATION_BATCH = 1024
_END = object()
PATIENCE = 0.05  # seconds that Ctrl-C may wait for an update to end


def fit(
    model: Any,
    data: Any,
    *,
    loss: str | Callable[..., Any],
    optimizer: Any,
    epochs: int = 1,
    batch_size: int = 32,
    validation: Any = None,
    metrics: Any = (),
    callbacks: Any = (),
    seed: int | None = None,
    shuffle: bool = True,
    transform: Callable[[Any], Any] | None = None,
    schedule: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool | str | os.PathLike[str] = False,
    verbose: bool | None = None,
    compiled: bool = True,
) -> History:
    """Train a model.

    Parameters
    ----------
    model : a `fastnn.nn.Module`, or any function of Tensors whose parameters the optimizer knows.
    data : inputs and targets ``(x, y)`` as arrays or Tensors of the same length (several inputs: ``(x1, x2, y)``), a
        `TensorDataset` or any dataset with ``len`` and items, labelled images, a `DataLoader`, or any iterable of
        batches. A lone array is its own target.
    loss : name in `fastnn.nn.functional` (``"cross_entropy"``, ``"mse"``), or ``loss(output, target)`` that gives the
        mean over the batch.
    optimizer : an optimizer over the model's parameters, a name (``"adam"``) or class with its defaults, or a function
        that makes one of the parameters.
    epochs : passes over the data; with `resume`, those of the earlier run count.
    batch_size : samples in an update (where `data` brings no batches of its own).
    validation : data to evaluate after each epoch, in the same forms, or the share of `data` to hold out (a number
        between 0 and 1; the last samples, of which none is trained on).
    metrics : names (`fastnn.training.metrics`: ``"accuracy"``, ``"top5"``, ``"f1"``, ...) or functions
        ``metric(targets, predictions)``.
    callbacks : `Callback` objects, or functions ``f(run, epoch)``.
    seed : of the order of batches and of dropout; the same seed gives the same bits. None draws one.
    shuffle : an order of its own for each epoch.
    transform : changes the inputs of each training batch; see `fastnn.data.DataLoader`.
    schedule : a learning-rate scheduler, or a function of the epoch (from 0 on).
    checkpoint : a folder that keeps the last and the best state; see `fastnn.training.checkpoint.Checkpoint`.
    resume : go on from what lies in `checkpoint` (True; nothing there is a fresh start) or in a given file.
    verbose : progress: a bar on a terminal, plain lines elsewhere; False for none. Default: a bar on a terminal only.
    compiled : record the update once and repeat it without Python (`fastnn.compile`). Where that cannot be done there
        is one warning. False for a model whose Python decides anew at every step.

    Returns
    -------
    The history. Where training is interrupted (Ctrl-C), the model holds the parameters and buffers of the last whole
    update and KeyboardInterrupt passes on. A long update is broken off, unless the optimizer is one with a step of its
    own.

    Raises
    ------
    ValueError, TypeError : for an argument that is of no use, before anything is trained.
    """
    if epochs != int(epochs) or epochs < 0:
        raise ValueError(f"fit: epochs must be a whole number from 0 on, got {epochs!r}")
    if isinstance(validation, float):
        data, validation = split_off(data, validation)
    loader = as_loader("fit: data", data, batch_size, shuffle, seed, transform)
    held_out = None if validation is None else as_loader("fit: validation", validation, EVALUATION_BATCH, False, 0)
    run = Run(
        model=model,
        loss_fn=loss_function(loss),
        optimizer=make_optimizer(optimizer, model),
        loader=loader,
        epochs=int(epochs),
        metrics=Metrics(metrics),
        held_out_metrics=Metrics(metrics),
        validation=held_out,
    )
    run.update = update_step(run, compiled)
    watching = _callbacks(callbacks)
    if schedule is not None:
        watching.insert(0, LearningRateSchedule(schedule))
    if resume is True and checkpoint is None:
        raise ValueError("fit: resume=True needs the checkpoint folder")
    found = find(checkpoint if resume is True else resume) if resume else None
    if checkpoint is not None:
        watching.append(Checkpoint(checkpoint))
    # what is kept of the others is what they are after the batch or epoch
    watching.sort(key=lambda callback: isinstance(callback, Checkpoint))
    run.callbacks = [*watching, display(verbose)]
    if seed is not None:
        from fastnn.random import manual_seed

        manual_seed(seed)
    if found is not None:
        restore(found, run)
    return train(run)


def update_step(run: Run, compiled: bool, generator: Generator | None = None) -> Callable[..., Any]:
    """The function that trains on a batch; it gives the loss, or, if there are metrics, the loss and the output.

    `generator` is to be drawn from in place of the default one.
    """
    model, loss_fn, optimizer, measured = run.model, run.loss_fn, run.optimizer, bool(run.metrics.all)

    def update(*batch: Tensor) -> Any:
        optimizer.zero_grad()
        output = model(*batch[:-1])
        loss = loss_fn(output, batch[-1])
        loss.backward()
        optimizer.step()
        if not measured:
            return loss.detach()
        return loss.detach(), output.detach() if isinstance(output, Tensor) else output

    # the numbers of others' optimizers are not known to change from step to step
    if not compiled or not type(optimizer).__module__.startswith("fastnn.optim"):
        return update
    from fastnn.compilation import compile

    return compile(update, strict=False, generator=generator)


def train(run: Run) -> History:
    """Train from where a run stands to its last epoch."""
    was_training = getattr(run.model, "training", None)
    try:
        with interruptible() as interrupts:
            run.tell("on_start")
            while run.epoch <= run.epochs and run.stopped is None:
                try:
                    _epoch(run, interrupts)
                finally:
                    interrupts.undo()
    except KeyboardInterrupt:
        run.stop("interrupted")
        raise
    finally:
        run.history.stopped = run.stopped
        run.tell("on_end")
        if was_training is not None:
            run.model.train(was_training)
    return run.history


def _epoch(run: Run, interrupts: Interrupts) -> None:
    """The rest of an epoch: its batches, the validation, the entry in the history."""
    if run.batch == 0:
        run.metrics.reset()
        run.tell("on_epoch_start")
    if hasattr(run.model, "train"):
        run.model.train()
    watching = [callback for callback in run.callbacks if type(callback).on_batch is not Callback.on_batch]
    measured, update = run.metrics, run.update
    assert update is not None
    before, start = run.seconds, time.perf_counter()
    lr = run.lr
    batches = _remaining(run)
    took = math.inf  # a quick update is waited for, which saves what `open` costs
    while True:
        begun = time.perf_counter()
        if took > PATIENCE:
            interrupts.open(run)
        batch = next(batches, _END)
        if batch is _END:
            break
        inputs, target = split_batch(batch)
        found = update(*inputs, target)
        interrupts.close()
        took = time.perf_counter() - begun
        run.loss = float((found[0] if measured.all else found).item())
        count = len(target)
        run.loss_sum += run.loss * count
        run.samples += count
        run.batch += 1
        run.step += 1
        if measured.all:
            measured.update(found[1], target)
        run.seconds = before + time.perf_counter() - start
        lr = run.lr
        for callback in watching:
            callback.on_batch(run)
        interrupts()
        if run.stopped is not None:
            break
    values = {"loss": run.loss_sum / run.samples if run.samples else math.nan, **measured.values()}
    if run.validation is not None:
        interrupts.open(run)
        values |= evaluated(run.model, run.validation, run.loss_fn, run.held_out_metrics, "val_")
    interrupts.close()
    epoch = Epoch(run.epoch, lr, values, run.seconds, run.samples)
    run.history.epochs.append(epoch)
    # what a callback saves from here on is the start of the next epoch
    number = run.epoch
    run.epoch, run.batch, run.samples, run.loss_sum, run.seconds = number + 1, 0, 0, 0.0, 0.0
    for callback in run.callbacks:
        callback.on_epoch(run, epoch)
    interrupts()


def _remaining(run: Run) -> Iterator[Any]:
    """The batches of the current epoch that were not trained on yet."""
    loader = run.loader
    if hasattr(loader, "set_epoch"):
        loader.set_epoch(run.epoch - 1)
    if run.batch and hasattr(loader, "batches_from"):
        return iter(loader.batches_from(run.batch))
    batches = iter(loader)
    for _ in range(run.batch):
        next(batches, None)
    return batches


def split_batch(batch: Any) -> tuple[tuple[Any, ...], Any]:
    """The inputs and the target of a batch; a lone array is its own target."""
    if isinstance(batch, (tuple, list)):
        parts = tuple(part if isinstance(part, Tensor) else as_tensor(part) for part in batch)
        return (parts[:-1] or parts), parts[-1]
    tensor = as_tensor(batch)
    return (tensor,), tensor


def evaluated(
    model: Any, loader: Any, loss_fn: Callable[..., Any] | None, metrics: Metrics, prefix: str = ""
) -> dict[str, Any]:
    """Loss and metrics of a model on a loader's batches, by name."""
    metrics.reset()
    total, samples = 0.0, 0
    with evaluating(model), no_grad():
        for batch in loader:
            inputs, target = split_batch(batch)
            output = model(*inputs)
            if loss_fn is not None:
                total += float(loss_fn(output, target).item()) * len(target)
            samples += len(target)
            metrics.update(output, target)
    loss = {} if loss_fn is None else {f"{prefix}loss": total / samples if samples else math.nan}
    return {**loss, **metrics.values(prefix)}


class evaluating:
    """Within it, a model is in evaluation mode (if it has one); afterwards in the one it was in."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.modes = [(m, m.training) for m in self.model.modules()] if hasattr(self.model, "modules") else []
        if self.modes:
            self.model.eval()

    def __exit__(self, *exception: Any) -> None:
        for module, mode in self.modes:
            if module.training != mode:
                module.training = mode


def evaluate(
    model: Any,
    data: Any,
    *,
    loss: str | Callable[..., Any] | None = None,
    metrics: Any = (),
    batch_size: int = EVALUATION_BATCH,
) -> dict[str, Any]:
    """Loss (mean over the samples) and metrics of a model on data, by name; arguments as for `fit`."""
    if loss is None and isinstance(metrics, (tuple, list)) and not metrics:
        raise ValueError("evaluate: expected a loss or metrics, got neither")
    loader = as_loader("evaluate: data", data, batch_size, False, 0)
    return evaluated(model, loader, None if loss is None else loss_function(loss), Metrics(metrics))


def predict(model: Any, data: Any, *, batch_size: int = EVALUATION_BATCH) -> np.ndarray:
    """Outputs of a model, batch by batch, without gradients and in evaluation mode.

    Parameters
    ----------
    data : inputs as an array or Tensor (N, ...), several as a tuple; or a dataset or loader, whose last item of
        several is taken for the target and left out.

    Returns
    -------
    An array (N, ...), of the model's dtype.
    """
    whole = isinstance(data, (np.ndarray, Tensor, tuple, list))
    if isinstance(data, ImageData):
        data, whole = data.features(), True
    loader = as_loader("predict: data", data, batch_size, False, 0)
    found = []
    with evaluating(model), no_grad():
        for batch in loader:
            parts = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
            inputs = parts if whole or len(parts) == 1 else parts[:-1]
            found.append(np.asarray(model(*(as_tensor(x) for x in inputs)).detach()))
    if not found:
        raise ValueError("predict: data must hold at least one sample")
    return np.concatenate(found)


# -- arguments in their many forms


def as_loader(
    name: str,
    data: Any,
    batch_size: int,
    shuffle: bool,
    seed: int | None,
    transform: Callable[[Any], Any] | None = None,
) -> Any:
    """Something that gives batches: what already does, or a `DataLoader` over the data."""
    if isinstance(data, DataLoader):
        if transform is not None:
            raise ValueError(f"{name}: a loader comes with its own transform; give it to the DataLoader")
        return data
    if isinstance(data, ImageSplits):
        raise TypeError(f"{name}: expected one part of {data.name}, such as its `train`, got both")
    if isinstance(data, (TensorDataset, ImageData, np.ndarray, Tensor, tuple, list)) or (
        hasattr(data, "__getitem__") and hasattr(data, "__len__")
    ):
        return DataLoader(data, batch_size, shuffle, seed=seed, transform=transform)
    if isinstance(data, Iterable):
        if transform is not None:
            raise ValueError(f"{name}: batches of one's own cannot be transformed; give arrays, a dataset or a loader")
        if iter(data) is data:
            raise TypeError(f"{name}: a generator gives its batches only once; pass a list of them or a loader")
        return data
    raise TypeError(f"{name}: expected arrays, a dataset or a loader, got {type(data).__name__}")


def split_off(data: Any, share: float) -> tuple[Any, Any]:
    """Hold the last samples out."""
    if not 0 < share < 1:
        raise ValueError(f"fit: validation must lie between 0 and 1 as a share of the data, got {share}")
    if isinstance(data, ImageData):
        data = (data.features(), data.labels)
    if isinstance(data, TensorDataset):
        data = data.tensors
    if not isinstance(data, (tuple, list)):
        raise TypeError(f"fit: a share can be held out of arrays and datasets of them, got {type(data).__name__}")
    count = len(data[0])
    kept = count - round(count * share)
    return tuple(x[:kept] for x in data), tuple(x[kept:] for x in data)


def loss_function(given: str | Callable[..., Any]) -> Callable[..., Any]:
    """A loss by its name in `fastnn.nn.functional`, with or without ``_loss``; a callable as it is."""
    if callable(given):
        return given
    from fastnn.nn import functional

    if isinstance(given, str):
        for name in (given, f"{given}_loss"):
            if (name == "cross_entropy" or name.endswith("_loss") or "cross_entropy" in name) and hasattr(
                functional, name
            ):
                found: Callable[..., Any] = getattr(functional, name)
                return found
    losses = sorted(n.removesuffix("_loss") for n in functional.__all__ if n.endswith(("_loss", "cross_entropy")))
    raise ValueError(f"fit: loss must be a function or one of {', '.join(losses)}, got {given!r}")


def make_optimizer(given: Any, model: Any) -> Any:
    """An optimizer as it is, by name, or made of the model's parameters."""
    from fastnn import optim

    if isinstance(given, optim.Optimizer) or (hasattr(given, "step") and hasattr(given, "param_groups")):
        return given
    if isinstance(given, str):
        names = {name.lower(): name for name in dir(optim) if isinstance(getattr(optim, name), type)}
        kind = getattr(optim, names.get(given.lower().replace("_", ""), ""), None)
        if kind is None or not issubclass(kind, optim.Optimizer) or kind is optim.Optimizer:
            known = sorted(n for n, own in names.items() if issubclass(getattr(optim, own), optim.Optimizer))
            raise ValueError(f"fit: optimizer must be one of {', '.join(known)}, got {given!r}")
        given = kind
    if not callable(given):
        raise TypeError(f"fit: optimizer must be an optimizer, a name or a function, got {type(given).__name__}")
    made = given(model.parameters())
    if not hasattr(made, "step"):
        raise TypeError(f"fit: optimizer must make an optimizer of the parameters, got {type(made).__name__}")
    return made


def _callbacks(given: Any) -> list[Callback]:
    if isinstance(given, Callback) or callable(given):
        given = (given,)
    found: list[Callback] = []
    for one in given:
        if isinstance(one, Callback):
            found.append(one)
        elif callable(one):
            found.append(Call(one))
        else:
            raise TypeError(f"fit: callbacks must be Callback objects or functions, got {type(one).__name__}")
    return found
