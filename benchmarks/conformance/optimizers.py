"""Sample settings of torch's optimizer table: parameters and state after some steps, state dict, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_optimizers import OptimizerErrorEnum, optim_db

import fastnn
from benchmarks.conformance.compare import Different, compare
from benchmarks.conformance.convert import Converter, plain
from benchmarks.conformance.operators import CLEAR
from benchmarks.conformance.options import Options
from benchmarks.conformance.outcome import Outcome

STEPS = 7
SHAPES = ((5, 3), (), (4,), (0, 2), (2, 3, 4))


def table() -> dict[str, Any]:
    """torch's optimizers by class name."""
    return {info.name: info for info in optim_db}


def check(info: Any, options: Options, report: Callable[[str], None]) -> Outcome:
    """Take some steps with each setting, with one group, with two, and with saved state in between."""
    outcome = Outcome(info.name, report)
    ours = getattr(fastnn.optim, info.name, None)
    if ours is None:
        outcome.absent = f"fastnn.optim has no {info.name}"
        return outcome
    if info.only_supports_sparse_grads:
        outcome.skips["sparse gradients"] += 1
        return outcome
    for dtype in options.dtypes:
        if not dtype.startswith("float"):
            continue
        for number, sample in enumerate(info.optim_inputs_func("cpu")):
            where = f"{dtype}, sample {number} {sample.kwargs}"
            for implementation in ({}, *({flag: True} for flag in ("foreach", "fused") if _has(info, flag))):
                for groups in (False, True) if info.supports_param_groups else (False,):
                    words = f"{where}{' two groups' if groups else ''}{''.join(f' {k}=True' for k in implementation)}"
                    with outcome.checking(words):
                        _steps(info, ours, dtype, {**sample.kwargs, **implementation}, groups, options)
    if options.errors and info.optim_error_inputs_func is not None:
        for number, error in enumerate(info.optim_error_inputs_func("cpu", torch.float32)):
            with outcome.checking(f"error {number}"):
                _error(ours, error)
    return outcome


def _has(info: Any, flag: str) -> bool:
    return flag in info.supported_impls and (flag != "fused" or "cpu" in info.supports_fused_on)


def _steps(info: Any, ours: Any, dtype: str, kwargs: dict[str, Any], groups: bool, options: Options) -> None:
    numbers = np.random.default_rng(5)
    shapes = [shape for shape in SHAPES if info.name != "Muon" or len(shape) == 2]
    starts = [np.asarray(numbers.standard_normal(shape)).astype(dtype) for shape in shapes]
    targets = [np.asarray(numbers.standard_normal(shape)).astype(dtype) for shape in shapes]
    peers = [torch.nn.Parameter(torch.from_numpy(a.copy())) for a in starts]
    own = [fastnn.nn.Parameter(fastnn.from_numpy(a.copy())) for a in starts]
    peer_optimizer = info.optim_cls(_grouped(peers, groups), **kwargs)
    own_kwargs = Converter(torch, fastnn)(kwargs)
    own_optimizer = ours(_grouped(own, groups), **own_kwargs)
    for step in range(STEPS):
        _step(peer_optimizer, peers, [torch.from_numpy(t) for t in targets], step, torch)
        _step(own_optimizer, own, [fastnn.from_numpy(t) for t in targets], step, fastnn)
        if step == STEPS // 2:
            own_optimizer = _restored(ours, own_optimizer, own, groups, own_kwargs)
    for i, (a, b) in enumerate(zip(own, peers, strict=True)):
        compare(plain(a), plain(b), factor=50 * options.tolerance, where=f"parameter {i}")
    _state(own_optimizer.state_dict(), peer_optimizer.state_dict(), options)


def _grouped(parameters: list[Any], groups: bool) -> list[Any]:
    """All in one group, or two groups of which the second has a rate of its own."""
    return [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.003}] if groups else parameters


def _step(optimizer: Any, parameters: list[Any], targets: list[Any], step: int, library: Any) -> None:
    """One step towards the targets; every third time a parameter has no gradient."""

    def closure() -> Any:
        optimizer.zero_grad()
        loss = sum(((p - t) * (p - t)).sum() for p, t in zip(parameters, targets, strict=True))
        loss.backward()
        if step % 3 == 2:
            parameters[-1].grad = None
        return loss

    if type(optimizer).__name__ == "LBFGS":
        optimizer.step(closure)
    else:
        closure()
        optimizer.step()


def _restored(ours: Any, optimizer: Any, parameters: list[Any], groups: bool, kwargs: dict[str, Any]) -> Any:
    """A new optimizer with the old one's state."""
    made = ours(_grouped(parameters, groups), **kwargs)
    made.load_state_dict(optimizer.state_dict())
    return made


def _state(ours: dict[str, Any], theirs: dict[str, Any], options: Options) -> None:
    for number, (a, b) in enumerate(zip(ours["param_groups"], theirs["param_groups"], strict=True)):
        if set(a) != set(b):
            missing, more = sorted(set(b) - set(a)), sorted(set(a) - set(b))
            raise Different(f"state_dict: group {number} lacks {missing} and has {more} that torch's has not")
    if set(ours["state"]) != set(theirs["state"]):
        raise Different(f"state_dict: expected state of {sorted(theirs['state'])}, got {sorted(ours['state'])}")
    for number, state in theirs["state"].items():
        own = ours["state"][number]
        if set(own) != set(state):
            raise Different(f"state_dict: expected state {sorted(state)} of {number}, got {sorted(own)}")
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                factor = 100 * options.tolerance
                compare(plain(own[name]), plain(value), factor=factor, where=f"state {name} of {number}")


def _error(ours: Any, error: Any) -> None:
    sample = error.optimizer_error_input
    params, kwargs = Converter(torch, fastnn, gradients=True)((sample.params, sample.kwargs))
    try:
        made = ours(params, **kwargs)
        if error.error_on is not OptimizerErrorEnum.CONSTRUCTION_ERROR:
            made.step()
    except CLEAR:
        return
    raise Different(f"must raise {error.error_type.__name__} ({error.error_regex[:120]}), raises nothing")
