"""Modules applied in turn, as in a `Sequential`; some neighbours at once, with less work and in the same bits.

Only where nobody can see the difference: both are layers of this library and not of classes of one's own, have no hooks
and no `forward` of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fastnn._runtime.capture import active
from fastnn.nn import functional as F
from fastnn.nn.activation import ReLU
from fastnn.nn.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from fastnn.nn.module import Module
from fastnn.nn.pooling import MaxPool1d, MaxPool2d, MaxPool3d

Joined = Callable[[Any, Any, Any], Any]


def _normalise_and_cut(norm: Any, relu: Any, input: Any) -> Any:
    """In training one op, which keeps only its input for the backward pass."""
    return norm.normalised(input, F.normalization.batch_norm_relu)


def _pool_and_cut(relu: Any, pool: Any, input: Any) -> Any:
    """The largest of what a relu lets through is what it lets through of the largest, of which there are fewer.

    Where all of a window is cut off, the place of the largest differs, but no gradient goes there. Windows without an
    element, which dilation and `ceil_mode` can make, would differ: their largest is minus infinity.
    """
    plain = not (pool.return_indices or pool.ceil_mode) and pool.dilation in (1, (1,), (1, 1), (1, 1, 1))
    if relu.inplace or not plain:  # what is overwritten may be someone's
        return pool(relu(input))
    return F.relu(pool(input))


# By the types of the two: what computes ``second(first(input))``.
PAIRS: dict[type, dict[type, Joined]] = {
    ReLU: dict.fromkeys((MaxPool1d, MaxPool2d, MaxPool3d), _pool_and_cut),
    **{norm: {ReLU: _normalise_and_cut} for norm in (BatchNorm1d, BatchNorm2d, BatchNorm3d)},
}


def in_turn(input: Any, modules: Iterable[Module]) -> Any:
    """Pass the input through modules, one after the other or, where that saves work, two at once."""
    waiting = None
    for module in modules:
        if waiting is not None:
            both = joined(waiting, module)
            if both is not None:
                input, waiting = both(waiting, module, input), None
                continue
            input, waiting = waiting(input), None
        if type(module) in PAIRS:
            waiting = module
        else:
            input = module(input)
    return input if waiting is None else waiting(input)


def joined(first: Module, second: Module) -> Joined | None:
    """What computes two neighbours at once, if anything does."""
    found = PAIRS[type(first)].get(type(second))
    if found is None or first._hooked or second._hooked:
        return None
    if "forward" in first.__dict__ or "forward" in second.__dict__:
        return None
    recorder = active()
    if recorder is not None:
        recorder.entered(first)
        recorder.entered(second)
    return found
