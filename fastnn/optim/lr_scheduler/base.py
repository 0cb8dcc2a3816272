"""What all schedules share: the count of steps, base rates, and how a rate is set."""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastnn._runtime.capture import active, listen, restore
from fastnn._runtime.tensor import TensorBase
from fastnn.optim.optimizer import Group, Optimizer

Rate = Any  # a number or a Tensor of one


def _heard(step: Callable[..., None]) -> Callable[..., None]:
    """A schedule's `step`, of which who records this thread's calls is told; replays call it again."""

    @functools.wraps(step)
    def heard(self: LRScheduler, *args: Any, **kwargs: Any) -> None:
        recorder = active()
        if recorder is None:
            return step(self, *args, **kwargs)
        if args or kwargs:
            recorder.refuse("a schedule's step() with arguments cannot be replayed")
        recorder.scheduled(self)
        token = listen(None)  # the steps of other schedules within this one are its own business
        try:
            return step(self, *args, **kwargs)
        finally:
            restore(token)

    return heard


class LRScheduler:
    """Base of the schedules: `get_lr` gives the rates of step `last_epoch`.

    Parameters
    ----------
    optimizer : whose groups' ``lr`` is set.
    last_epoch : the last step that was made; -1 to start. To go on, the groups must have their ``initial_lr``.

    Attributes
    ----------
    base_lrs : the rates that the groups had at first.
    last_epoch : the number of the present step.
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init_subclass__(cls) -> None:
        if "step" in cls.__dict__:
            cls.step = _heard(cls.step)  # type: ignore[method-assign]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", held(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(f"param_groups[{i}] has no 'initial_lr', which last_epoch={last_epoch} needs")
        self.base_lrs: list[Rate] = rates(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        if not optimizer._scheduled:
            optimizer._scheduled, optimizer._opt_called = True, False
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def get_last_lr(self) -> list[Rate]:
        """The rates that were set last, one for each group."""
        return self._last_lr

    def get_lr(self) -> list[Rate]:
        """The rates of step `last_epoch`; called by `step`."""
        raise NotImplementedError

    def _get_closed_form_lr(self) -> list[Rate]:
        """The rates of step `last_epoch`, whatever the present ones."""
        return self.get_lr()

    @_heard
    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next step (or, as torch deprecates, of `epoch`)."""
        if self._step_count == 1 and not self.optimizer._opt_called:
            warnings.warn(
                "the schedule's step() was called before the optimizer's step(): the first rate is skipped",
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is not None:
            warnings.warn("step: epoch is deprecated, call step() after each epoch", stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        with self._asking():
            if epoch is None:
                self.last_epoch += 1
                values = self.get_lr()
            else:
                self.last_epoch = epoch
                values = self._get_closed_form_lr()
        self._set(values)

    def _set(self, values: Sequence[Rate]) -> None:
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            put(group, "lr", value)
        self._last_lr = rates(self.optimizer)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Within `step`: `get_lr` is right to be called."""
        self._get_lr_called_within_step = True
        try:
            yield
        finally:
            self._get_lr_called_within_step = False

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn("to read the rates that were set last, call get_last_lr() instead of get_lr()", stacklevel=3)

    def _present(self, factor: float = 1.0) -> list[Rate]:
        """The groups' present rates, times a factor."""
        return [rate * factor for rate in rates(self.optimizer)] if factor != 1.0 else rates(self.optimizer)

    # -- state

    _unsaved: tuple[str, ...] = ("optimizer",)

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer."""
        return {name: value for name, value in self.__dict__.items() if name not in self._unsaved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.__dict__.update({name: value for name, value in state_dict.items() if name not in self._unsaved})


def check_optimizer(optimizer: Any) -> None:
    """TypeError for anything but an optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"a schedule needs an Optimizer, got {type(optimizer).__name__}")


def held(value: Rate) -> Rate:
    """A rate that later changes in place do not reach."""
    return value.detach().clone() if isinstance(value, TensorBase) else value


def rates(optimizer: Optimizer, key: str = "lr") -> list[Rate]:
    """A value of each group."""
    return [held(group[key]) for group in optimizer.param_groups]


def put(group: Group, key: str, value: Rate) -> None:
    """Set a group's value; a Tensor stays the same Tensor."""
    if isinstance(group[key], TensorBase):
        group[key].fill_(float(value))
    else:
        group[key] = value


def for_groups(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value for each group, from one for all or a list of as many."""
    count = len(optimizer.param_groups)
    if isinstance(value, (list, tuple)):
        if len(value) != count:
            raise ValueError(f"{name} must have a value for each of the {count} parameter groups, got {len(value)}")
        return [held(v) for v in value]
    return [held(value) for _ in range(count)]


def saved_function(function: Any) -> dict[str, Any] | None:
    """What of a callable goes into a state dict: an object's attributes, nothing of a plain function."""
    return None if isinstance(function, (types.FunctionType, types.BuiltinFunctionType)) else dict(vars(function))


def restore_function(function: Any, saved: dict[str, Any] | None) -> None:
    """Give a callable object the attributes that were saved of it."""
    if saved is not None:
        vars(function).update(saved)


__all__ = [
    "LRScheduler",
    "check_optimizer",
    "for_groups",
    "held",
    "put",
    "rates",
    "restore_function",
    "saved_function",
]
