"""Averages of weights: stochastic weight averaging and exponential moving averages.

Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018, arXiv:1803.05407.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from fastnn._runtime.capture import active, computed
from fastnn._runtime.tensor import copy_array
from fastnn.autograd import no_grad
from fastnn.nn.module import Module
from fastnn.ops.update import average
from fastnn.optim.lr_scheduler.base import LRScheduler, Rate, for_groups
from fastnn.optim.optimizer import Optimizer
from fastnn.tensor import Tensor, tensor

Average = Callable[[Tensor, Tensor, Any], Tensor]
AverageAll = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


def average_into(
    averages: Sequence[Tensor], current: Sequence[Tensor], weight: float, later: Callable[[], float] | None = None
) -> None:
    """Move each of `averages` towards its counterpart in `current`: ``a += weight (c - a)``, all in one pass.

    Integers and bools are averaged in float64 and cut off. A replay of the call takes the weight that `later` gives
    before it begins, if that is given.
    """
    recorder = active()
    of_dtype: dict[Any, list[np.ndarray[Any, Any]]] = {}
    for own, other in zip(averages, current, strict=True):
        if own.shape != other.shape:
            raise ValueError(f"averages must have the shapes of the weights, got {own.shape} for {other.shape}")
        if own.dtype.kind == "f" and own.dtype == other.dtype:
            of_dtype.setdefault(own.dtype, []).extend((own.array, other.array))
        else:
            if recorder is not None and later is not None:
                recorder.refuse(f"a mean of {own.dtype} whose weight changes from call to call cannot be replayed")
            copy_array(own.array, computed(partial(_mixed, weight), own.array, other.array))
    for dtype, arrays in of_dtype.items():
        if recorder is not None and later is not None:
            recorder.rereading(later)
        average(arrays, (), (float(weight),), dtype=dtype)
    for own in averages:
        own._touch()


def _mixed(weight: float, own: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> Any:
    return np.asarray(own + weight * (other.astype(np.float64) - own))


def _check_decay(decay: float) -> None:
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must be from 0 to 1, got {decay}")


def get_ema_multi_avg_fn(decay: float = 0.999) -> AverageAll:
    """An exponential moving average of all parameters at once: ``a = decay a + (1 - decay) p``."""
    _check_decay(decay)

    def ema_update(ema_param_list: Sequence[Tensor], current_param_list: Sequence[Tensor], _: Any) -> None:
        average_into(ema_param_list, current_param_list, 1 - decay)

    return ema_update


def get_swa_multi_avg_fn() -> AverageAll:
    """The mean of all parameters so far, of all parameters at once."""

    def swa_update(
        averaged_param_list: Sequence[Tensor], current_param_list: Sequence[Tensor], num_averaged: Any
    ) -> None:
        def weight() -> float:
            return 1 / (float(num_averaged.array if isinstance(num_averaged, Tensor) else num_averaged) + 1)

        average_into(averaged_param_list, current_param_list, weight(), weight)

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """An exponential moving average of one parameter; `get_ema_multi_avg_fn` is faster."""
    _check_decay(decay)

    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with no_grad():
            return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> Average:
    """The mean so far of one parameter; `get_swa_multi_avg_fn` is faster."""

    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with no_grad():
            return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose parameters are the average of the model's.

    Call `update_parameters` after a step; the first call copies. By default the average is the mean of all.

    Parameters
    ----------
    model : is copied.
    device : must be the CPU.
    avg_fn : ``avg_fn(average, parameter, count)`` gives a parameter's new average.
    multi_avg_fn : ``multi_avg_fn(averages, parameters, count)`` changes the averages of all, in place.
    use_buffers : average the buffers too, instead of copying them.
    """

    n_averaged: Tensor

    def __init__(
        self, model: Module, device: Any = None, avg_fn: Average | None = None, multi_avg_fn: AverageAll | None = None,
        use_buffers: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("only one of avg_fn and multi_avg_fn may be given")
        if device is not None and not str(device).startswith("cpu"):
            raise ValueError(f"AveragedModel: the only device is cpu, got {device!r}")
        self.module = deepcopy(model)
        self.register_buffer("n_averaged", tensor(0))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model gives."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the model's present parameters into the average."""
        with no_grad():
            averages = [p.detach() for p in _tensors(self.module, self.use_buffers)]
            current = [p.detach() for p in _tensors(model, self.use_buffers)]
            count = self.n_averaged
            recorder = active()
            if recorder is not None:
                recorder.averaging(count, lambda: bool(self.n_averaged is count and count.array))
            if not count.array:
                for own, other in zip(averages, current, strict=True):
                    own.copy_(other)
            elif self.avg_fn is not None:
                for own, other in zip(averages, current, strict=True):
                    own.copy_(self.avg_fn(own, other, count))
            else:
                update = get_swa_multi_avg_fn() if self.multi_avg_fn is None else self.multi_avg_fn
                update(averages, current, count)
            if not self.use_buffers:
                for own, other in zip(self.module.buffers(), model.buffers(), strict=True):
                    own.detach().copy_(other.detach())
            count += 1


def _tensors(model: Module, buffers: bool) -> Iterable[Tensor]:
    return chain(model.parameters(), model.buffers()) if buffers else model.parameters()


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of the model's batch normalisations anew, from one pass over `loader`.

    An item of `loader` is a batch, or a tuple or list that starts with one. `device` must be the CPU.
    """
    layers: dict[Any, Any] = {
        m: getattr(m, "momentum", None) for m in model.modules() if hasattr(m, "reset_running_stats")
    }
    if not layers:
        return
    was_training = model.training
    model.train()
    for layer in layers:
        layer.reset_running_stats()
        # a mean over all batches instead of a moving one
        layer.momentum = None
    try:
        with no_grad():
            for batch in loader:
                model(batch[0] if isinstance(batch, (list, tuple)) else batch)
    finally:
        for layer, momentum in layers.items():
            layer.momentum = momentum
        model.train(was_training)


class SWALR(LRScheduler):
    """From each group's rate to `swa_lr` in `anneal_epochs` steps, then constant.

    Parameters
    ----------
    swa_lr : for all groups, or a list. anneal_strategy : "cos" or "linear".
    """

    _unsaved = ("optimizer", "anneal_func")

    def __init__(
        self, optimizer: Optimizer, swa_lr: Any, anneal_epochs: int = 10, anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"SWALR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"SWALR: anneal_epochs must be an int of at least 0, got {anneal_epochs!r}")
        for rate, group in zip(for_groups("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def anneal_func(self, t: float) -> float:
        """How far the rate has come when the part `t` of the steps is done."""
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[Rate]:
        """The rates of this step."""
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = (
            self.anneal_func(max(0, min(1, count / max(1, self.anneal_epochs)))) for count in (step - 1, step)
        )
        found = []
        for group in self.optimizer.param_groups:
            target = group["swa_lr"]
            # the rate that annealing set out from
            first = target if before == 1 else (group["lr"] - before * target) / (1 - before)
            found.append(target * now + first * (1 - now))
        return found


__all__ = [
    "SWALR",
    "AveragedModel",
    "average_into",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]
