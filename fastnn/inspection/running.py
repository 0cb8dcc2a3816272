"""Running a model once to look at it, without a trace left in it."""

from __future__ import annotations

import copy
import random as python_random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn import _default_dtype
from fastnn.autograd import no_grad
from fastnn.nn.module import Module
from fastnn.nn.parameter import is_lazy
from fastnn.random import default_generator
from fastnn.tensor import Tensor, as_tensor

MODES = {"train": True, "eval": False}


@dataclass(frozen=True)
class Arguments:
    """What a model is called with.

    Attributes
    ----------
    args, kwargs : as for a call.
    made : whether all of it was made up from shapes.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    made: bool

    @property
    def tensors(self) -> list[Tensor]:
        """The Tensors, wherever they are."""
        return tensors_in((self.args, self.kwargs))


def tensors_in(value: Any) -> list[Tensor]:
    """The Tensors in nested tuples, lists and dicts, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    elif hasattr(value, "__dataclass_fields__"):
        value = [getattr(value, name) for name in value.__dataclass_fields__]
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []


def _is_shape(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(
        isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in value
    )


def arguments(name: str, model: Module, input: Any, dtypes: Any = None) -> Arguments:
    """What to call a model with.

    Parameters
    ----------
    name : as errors call the caller.
    input : the shape of the input, batch axis included; a sequence of shapes for several; or the inputs themselves:
        a Tensor or an array, a sequence of them (shapes may stand among them), or a dict for arguments by name.
    dtypes : of the inputs made from shapes, one for all or one for each; default: that of the model's first floating
        parameter. Floats are drawn from [0, 1), integers and bools are 0, which any embedding has.

    Raises
    ------
    TypeError, ValueError : where the input is none of these.
    """
    if isinstance(input, Mapping):
        keys, items = list(input), list(input.values())
    elif isinstance(input, (Tensor, np.ndarray)) or _is_shape(input):
        keys, items = None, [input]
    elif isinstance(input, (tuple, list)):
        keys, items = None, list(input)
    else:
        raise TypeError(
            f"{name}: input must be a shape such as (32, 784), a sequence of shapes, Tensors or arrays, or a dict of "
            f"them by argument, got {type(input).__name__}"
        )
    wanted = _dtypes(name, dtypes, model, len(items))
    draw = np.random.default_rng(0)
    ready = [_argument(name, item, dtype, draw) for item, dtype in zip(items, wanted, strict=True)]
    made = all(_is_shape(item) for item in items)
    if keys is None:
        return Arguments(tuple(ready), {}, made)
    return Arguments((), dict(zip(keys, ready, strict=True)), made)


def _dtypes(name: str, given: Any, model: Module, count: int) -> list[np.dtype[Any]]:
    if given is None:
        own = (p.array.dtype for p in model.parameters() if p.array.dtype.kind == "f")
        return [next(own, np.dtype(_default_dtype.floating))] * count
    several = isinstance(given, (tuple, list))
    try:
        found = [np.dtype(dtype) for dtype in (given if several else [given])]
    except TypeError as error:
        raise TypeError(f"{name}: dtypes must be a dtype or one for each input, got {given!r} ({error})") from None
    if several and len(found) != count:
        raise ValueError(f"{name}: expected a dtype for each of {count} inputs, got {len(found)}")
    return found if several else found * count


def _argument(name: str, item: Any, dtype: np.dtype[Any], draw: np.random.Generator) -> Any:
    if isinstance(item, (Tensor, np.ndarray)):
        return item if isinstance(item, Tensor) else as_tensor(item)
    if not _is_shape(item):
        raise TypeError(f"{name}: an input must be a shape, a Tensor or an array, got {type(item).__name__}")
    shape = tuple(int(n) for n in item)
    if any(n < 0 for n in shape):
        raise ValueError(f"{name}: a shape must have no negative extent, got {shape}")
    if dtype.kind == "f":
        return as_tensor(draw.random(shape, np.float64).astype(dtype))
    if dtype.kind not in "biu":
        raise TypeError(f"{name}: inputs can be made of floats, integers or bools, got dtype {dtype}")
    return as_tensor(np.zeros(shape, dtype))


def lazy(model: Module) -> bool:
    """Whether a part of a model takes its shape from the first input."""
    return any(is_lazy(member) for member in (*model.parameters(), *model.buffers()))


def without_lazy(name: str, model: Module, given: Arguments) -> Module:
    """The model, or a copy of one that is lazy, with the shapes that the input gives; the model itself stays lazy."""
    if not lazy(model):
        return model
    try:
        model = copy.deepcopy(model)
    except Exception as error:
        raise TypeError(f"{name}: a lazy model is run as a copy, and this one cannot be copied ({error})") from error
    with unchanged(model, name, None), no_grad():
        called(name, model, given)
    return model


@contextmanager
def unchanged(model: Module, name: str, mode: str | None) -> Iterator[None]:
    """Within it, `mode` holds; afterwards modes, buffers, gradients and random numbers are as they were.

    `mode` : ``"train"``, ``"eval"``, or None for the modes that the modules are in.
    """
    if mode is not None and mode not in MODES:
        raise ValueError(f"{name}: mode must be None, 'train' or 'eval', got {mode!r}")
    modules = list(model.modules())
    modes = [(module, module.training) for module in modules]
    held = [(module._buffers, key, value) for module in modules for key, value in module._buffers.items()]
    buffers = list(model.buffers())
    values = [(buffer.array, buffer.array.copy()) for buffer in buffers]
    gradients = [(p, p.grad, None if p.grad is None else p.grad.array.copy()) for p in model.parameters()]
    drawn, numbers = default_generator.get_state(), python_random.getstate()
    numpy_numbers = np.random.get_state()  # noqa: NPY002 (a model may draw from it)
    try:
        if mode is not None:
            model.train(MODES[mode])
        yield
    finally:
        for module, training in modes:
            module.training = training
        for registry, key, value in held:
            if registry.get(key) is not value:
                registry[key] = value
        for buffer, (array, before) in zip(buffers, values, strict=True):
            if buffer.array is not array:
                buffer._set_array(array)
            if array.flags.writeable:
                np.copyto(array, before)
        for parameter, gradient, kept in gradients:
            if parameter.grad is not gradient:
                parameter.grad = gradient
            if gradient is not None and kept is not None:
                np.copyto(gradient.array, kept)
        default_generator.set_state(drawn)
        python_random.setstate(numbers)
        np.random.set_state(numpy_numbers)  # noqa: NPY002


def called(name: str, model: Module, given: Arguments) -> Any:
    """What a model gives; an error says with which input it came."""
    try:
        return model(*given.args, **given.kwargs)
    except Exception as error:
        shapes = ", ".join(f"{x.shape} of {x.dtype}" for x in given.tensors) or "no Tensors"
        error.add_note(f"{name}: this is what {type(model).__name__} raised when it was called with {shapes}")
        raise


def check_model(name: str, model: Any) -> Module:
    """A model that is a Module; TypeError for another."""
    if not isinstance(model, Module):
        raise TypeError(f"{name}: model must be a Module, got {type(model).__name__}")
    return model
