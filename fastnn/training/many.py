"""Train many small models side by side: a model a thread, all of them a step at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastnn._runtime.plan import call_together
from fastnn.random import Generator, using
from fastnn.training.history import Epoch, History
from fastnn.training.loop import (
    EVALUATION_BATCH,
    as_loader,
    evaluated,
    loss_function,
    make_optimizer,
    split_batch,
    split_off,
    update_step,
)
from fastnn.training.metrics import Metrics
from fastnn.training.run import Run, interruptible


@dataclass
class _Member:
    """A model among many, with what is its own."""

    run: Run
    generator: Generator


def fit_many(
    models: Sequence[Any] | Callable[[int], Any],
    data: Any,
    *,
    loss: str | Callable[..., Any],
    optimizer: Any,
    count: int | None = None,
    epochs: int = 1,
    batch_size: int = 32,
    validation: Any = None,
    metrics: Any = (),
    seeds: int | Sequence[int] = 0,
    shuffle: bool = True,
) -> list[History]:
    """Train many models side by side, one a thread, as each would be trained by `fit` alone: in the same bits.

    It is meant for models whose step takes microseconds: a grid of hyper-parameters, the folds of a cross-validation,
    an ensemble. Each step is recorded once a model (`fastnn.compile`) and then repeated for all models in one call.

    Parameters
    ----------
    models : Modules, none of which shares a parameter with another; or ``factory(i)``, called `count` times.
    data : as for `fit`, for all models; or a list with the data of each.
    loss, optimizer, metrics : as for `fit`; or a list with one for each model. An optimizer is a name, a class or a
        function of a model's parameters.
    count : number of models that a factory makes.
    epochs, batch_size, shuffle : as for `fit`, for all models.
    validation : as for `fit`; or a list with one for each model.
    seeds : of the order of batches and of dropout: for model i `seeds` + i, or its entry in a sequence.

    Returns
    -------
    A history for each model. Seconds are those of the steps of all models together.

    Raises
    ------
    ValueError, TypeError : for an argument that is of no use, before anything is trained.
    """
    members = _members(models, data, loss, optimizer, count, epochs, batch_size, validation, metrics, seeds, shuffle)
    modes = [getattr(member.run.model, "training", None) for member in members]
    try:
        with interruptible() as check:
            for _ in range(int(epochs)):
                _epoch(members, check)
    finally:
        for member, mode in zip(members, modes, strict=True):
            if mode is not None:
                member.run.model.train(mode)
    return [member.run.history for member in members]


def _members(
    models: Any, data: Any, loss: Any, optimizer: Any, count: int | None, epochs: int, batch_size: int, validation: Any,
    metrics: Any, seeds: Any, shuffle: bool,
) -> list[_Member]:  # fmt: skip
    if epochs != int(epochs) or epochs < 0:
        raise ValueError(f"fit_many: epochs must be a whole number from 0 on, got {epochs!r}")
    if callable(models) and not hasattr(models, "parameters"):
        if count is None or count != int(count) or count < 0:
            raise ValueError(f"fit_many: a factory needs count, a whole number from 0 on, got {count!r}")
        models = [models(i) for i in range(int(count))]
    elif isinstance(models, Sequence):
        if count is not None and count != len(models):
            raise ValueError(f"fit_many: count must be the number of models, {len(models)}, got {count}")
    else:
        raise TypeError(f"fit_many: models must be a sequence of Modules or a factory, got {type(models).__name__}")
    _check_apart(models)
    number = len(models)

    def each(name: str, given: Any) -> list[Any]:
        if not isinstance(given, list):
            return [given] * number
        if len(given) != number:
            raise ValueError(f"fit_many: {name} must have one entry for each of {number} models, got {len(given)}")
        return given

    own_seeds = [seeds + i for i in range(number)] if isinstance(seeds, int) else each("seeds", list(seeds))
    sharing = metrics if isinstance(metrics, list) and any(isinstance(m, (list, tuple)) for m in metrics) else None
    measured = each("metrics", sharing) if sharing is not None else [metrics] * number
    given = zip(
        models, each("data", data), each("loss", loss), each("optimizer", optimizer), each("validation", validation),
        measured, own_seeds, strict=True,
    )  # fmt: skip
    members = []
    for model, own_data, own_loss, own_optimizer, held_out, own_metrics, seed in given:
        if isinstance(held_out, float):
            own_data, held_out = split_off(own_data, held_out)
        loader = as_loader("fit_many: data", own_data, batch_size, shuffle, seed)
        run = Run(
            model=model,
            loss_fn=loss_function(own_loss),
            optimizer=make_optimizer(own_optimizer, model),
            loader=loader,
            epochs=int(epochs),
            metrics=Metrics(own_metrics),
            held_out_metrics=Metrics(own_metrics),
            validation=None
            if held_out is None
            else as_loader("fit_many: validation", held_out, EVALUATION_BATCH, False, 0),
        )
        generator = Generator().manual_seed(seed)
        run.update = update_step(run, True, generator)
        members.append(_Member(run, generator))
    return members


def _check_apart(models: Sequence[Any]) -> None:
    owners: dict[int, int] = {}
    for i, model in enumerate(models):
        if not hasattr(model, "parameters"):
            raise TypeError(f"fit_many: models must be Modules, got {type(model).__name__} at place {i}")
        for parameter in model.parameters():
            other = owners.setdefault(id(parameter), i)
            if other != i:
                raise ValueError(f"fit_many: models must not share parameters, but models {other} and {i} do")


def _epoch(members: list[_Member], check: Callable[[], None]) -> None:
    """An epoch of all models, step by step; those whose data has ended wait for the others."""
    runs = [member.run for member in members]
    batches = []
    for run in runs:
        run.metrics.reset()
        run.model.train()
        if hasattr(run.loader, "set_epoch"):
            run.loader.set_epoch(run.epoch - 1)
        batches.append(iter(run.loader))
    start = time.perf_counter()
    going = list(range(len(runs)))
    while going:
        still, updates, given = [], [], []
        for i in going:
            batch = next(batches[i], None)
            if batch is not None:
                inputs, target = split_batch(batch)
                still.append(i)
                updates.append(runs[i].update)
                given.append((*inputs, target))
        going = still
        for i, call, found in zip(going, given, _together(members, going, updates, given), strict=True):
            run = runs[i]
            measured = run.metrics.all
            run.loss = float((found[0] if measured else found).item())
            size = len(call[-1])
            run.loss_sum += run.loss * size
            run.samples += size
            if measured:
                run.metrics.update(found[1], call[-1])
        check()
    seconds = time.perf_counter() - start
    for member in members:
        run = member.run
        values = {"loss": run.loss_sum / run.samples if run.samples else math.nan, **run.metrics.values()}
        if run.validation is not None:
            with using(member.generator):
                values |= evaluated(run.model, run.validation, run.loss_fn, run.held_out_metrics, "val_")
        run.history.epochs.append(Epoch(run.epoch, run.lr, values, seconds, run.samples))
        run.epoch, run.samples, run.loss_sum = run.epoch + 1, 0, 0.0


def _together(members: list[_Member], going: list[int], updates: list[Any], given: list[tuple[Any, ...]]) -> list[Any]:
    """An update of each model, all at once where they are compiled."""
    if all(hasattr(update, "plans") for update in updates):
        return call_together(updates, given)
    found = []
    for i, update, call in zip(going, updates, given, strict=True):
        with using(members[i].generator):
            found.append(update(*call))
    return found


__all__ = ["fit_many"]
