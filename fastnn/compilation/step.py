"""Functions that are recorded once for each signature of their arguments, and repeated from then on."""

from __future__ import annotations

import functools
import html
import os
import random
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from fastnn._runtime.capture import active, address_of, extent_of, listen, restore
from fastnn._runtime.dispatch import get_backend, get_precision_now
from fastnn._runtime.plan import BUSY, STALE, Plan, Replayer, note_written
from fastnn._runtime.tensor import TensorBase, is_grad_enabled
from fastnn.autograd import no_grad
from fastnn.compilation.building import Builder
from fastnn.compilation.guards import unchanged
from fastnn.compilation.recording import Recording
from fastnn.errors import CompileError
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter
from fastnn.ops.op import NUMPY_BACKEND
from fastnn.random import Generator, using
from fastnn.tensor import from_numpy

MAX_PLANS = 16
MAX_MODES = 4  # plans of one signature


_bookkeeping = threading.Lock()


def _after_fork() -> None:
    """In a forked child, whoever held the lock is not there."""
    global _bookkeeping
    _bookkeeping = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Leaf:
    """Stands for an array in the form of a call's arguments or results."""

    def __repr__(self) -> str:
        return "*"


_ARRAY, _TENSOR = _Leaf(), _Leaf()


def flatten(value: Any, leaves: list[Any]) -> Any:
    """The form of a value, hashable; its arrays and Tensors are appended to `leaves`."""
    if isinstance(value, TensorBase):
        leaves.append(value)
        return _TENSOR
    if isinstance(value, np.ndarray):
        leaves.append(value)
        return _ARRAY
    if isinstance(value, tuple):
        return (type(value), *(flatten(own, leaves) for own in value))
    if isinstance(value, list):
        return (list, *(flatten(own, leaves) for own in value))
    if isinstance(value, dict):
        return (dict, *((key, flatten(own, leaves)) for key, own in value.items()))
    if isinstance(value, slice):
        return (slice, *(flatten(own, leaves) for own in (value.start, value.stop, value.step)))
    if isinstance(value, (float, complex, np.inexact)):
        return type(value), value, str(value)  # 0.0 and -0.0 are equal
    return type(value), value


def unflatten(form: Any, leaves: Any) -> Any:
    """The value of a form, with the next of `leaves` (an iterator) for each of its arrays."""
    if isinstance(form, _Leaf):
        return next(leaves)
    kind, *rest = form
    if kind is list:
        return [unflatten(own, leaves) for own in rest]
    if kind is slice:
        return slice(*(unflatten(own, leaves) for own in rest))
    if kind is dict:
        return {key: unflatten(own, leaves) for key, own in rest}
    if isinstance(kind, type) and issubclass(kind, tuple):
        made = [unflatten(own, leaves) for own in rest]
        return kind(*made) if hasattr(kind, "_fields") else kind(made)
    return rest[0]


def _host_randomness() -> tuple[Any, Any]:
    """The state of Python's and NumPy's global generators."""
    numpy = np.random.get_state(legacy=False)["state"]  # noqa: NPY002 - the user's, who may draw from it
    return random.getstate(), (numpy["pos"], numpy["key"].tobytes()) if "pos" in numpy else str(numpy)


def _layout(arrays: list[np.ndarray], leaves: list[Any]) -> tuple[Any, ...]:
    """What of arrays a plan depends on: dtypes, shapes, strides, gradients, and how they overlap.

    Of a call's arguments that are no more than some arrays and Tensors, `Replayer` writes down the same, faster.
    """
    made: list[Any] = [
        (a.dtype, a.shape, a.strides, isinstance(own, TensorBase) and own.requires_grad)
        for a, own in zip(arrays, leaves, strict=True)
    ]
    if len(arrays) > 1:
        extents = [extent_of(a) for a in arrays]
        made.extend(
            (i, address_of(arrays[i]) - other[0])
            for i, (low, high) in enumerate(extents)
            for other in extents[:i]
            if low < other[1] and other[0] < high
        )
    return tuple(made)


def _make_native(leaves: list[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Replace arrays that kernels cannot read where they lie by copies; gives these, each with its origin."""
    copies = []
    for i, leaf in enumerate(leaves):
        array = leaf.array if isinstance(leaf, TensorBase) else leaf
        size = array.dtype.itemsize
        whole = size and all(stride % size == 0 for stride in array.strides)
        if (array.flags.aligned and array.dtype.isnative and whole) or getattr(leaf, "requires_grad", False):
            continue
        leaves[i] = array.astype(array.dtype.newbyteorder("="), order="C")
        leaves[i].flags.writeable = array.flags.writeable
        copies.append((array, leaves[i]))
    return copies


def _apart(value: Any) -> Any:
    """An argument as a recorded call gets it: a Tensor and an array that nothing else holds, of the same memory.

    So an op that gets it can be told from one that gets the caller's Tensor by another way. One that takes part in
    differentiation stays itself.
    """
    if isinstance(value, TensorBase):
        return value if value.requires_grad else from_numpy(value.array.view())
    return from_numpy(value.view())


class Compiled(Replayer):
    """A function that is recorded once for each signature of its arguments, and then repeated without Python.

    Made by `fastnn.compile`.

    Attributes
    ----------
    plan : what the latest call repeated, or recorded; None before. Its `report` prints as a table.
    plans : all plans that are kept, by signature; several where modules were in several modes.
    """

    def __init__(
        self, function: Callable[..., Any], strict: bool, gradients: bool, generator: Generator | None = None
    ) -> None:
        functools.update_wrapper(self, function)
        self.function, self.strict, self.gradients, self.generator = function, strict, gradients, generator
        self.seen: OrderedDict[Any, None] = OrderedDict()
        self.failure: str | None = None

    def __repr__(self) -> str:
        return f"{self._title()}\n{self.plan!r}" if self.plan is not None else self._title()

    def _repr_html_(self) -> str:
        title = f"<p>{html.escape(self._title())}</p>"
        return title if self.plan is None else title + self.plan._repr_html_()

    def _title(self) -> str:
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        if self.failure is not None:
            return f"{name}, not compiled: {self.failure}"
        count = sum(map(len, self.plans.values()))
        if count == 0:
            return f"{name}, compiled when it is called"
        return f"{name}, {count} plan{'' if count == 1 else 's'}, the latest:"

    def _miss(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # the NumPy backend is there to look at what is computed, call by call
        if active() is not None or self.failure is not None or get_backend() == NUMPY_BACKEND:
            return self._eager(args, kwargs)
        leaves: list[Any] = []
        form = flatten((args, kwargs), leaves)
        copies = _make_native(leaves)
        if not copies:
            return self._found(args, kwargs, leaves, form)
        args, kwargs = unflatten(form, iter(leaves))
        try:
            return self._found(args, kwargs, leaves, flatten((args, kwargs), []))
        finally:
            for array, copy in copies:
                if array.flags.writeable:
                    np.copyto(array, copy)

    def _found(self, args: tuple[Any, ...], kwargs: dict[str, Any], leaves: list[Any], form: Any) -> Any:
        """Replay the plan for arguments, or record one."""
        arrays = [leaf.array if isinstance(leaf, TensorBase) else leaf for leaf in leaves]
        key = self._key(args, kwargs) or (form, _layout(arrays, leaves), is_grad_enabled(), get_precision_now())
        try:
            plans = self.plans.get(key, [])
        except TypeError as error:
            why = f"an argument cannot be told from others: {error}"
            if self.strict:
                raise CompileError(why) from None
            self._give_up(why, 2)
            return self._eager(args, kwargs)
        for plan in reversed(plans.copy()):
            found = plan.replay(arrays)
            if found is BUSY:
                return self._eager(args, kwargs)
            if found is not STALE:
                self.plan = plan
                with _bookkeeping:
                    if plan in plans and plan is not plans[-1]:
                        plans.append(plan)  # where it was until now, it is found first
                        plans.remove(plan)
                note_written(plan, leaves)
                return self._shape(plan.form, found)
        if len(plans) == MAX_MODES and all(plan.is_bound for plan in plans):
            return self._eager(args, kwargs)  # arguments that reach into what the function holds, ever elsewhere
        return self._record(args, kwargs, key, leaves, form)

    def _give_up(self, why: str, depth: int) -> None:
        """Run eagerly from now on."""
        self.failure = why
        warnings.warn(f"the step is not compiled, it runs eagerly: {why}", RuntimeWarning, stacklevel=depth + 1)

    def _shape(self, form: Any, results: list[Any]) -> Any:
        return results[0] if form is None else unflatten(form, iter(results))

    def _eager(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        leaves: list[Any] = []
        form = flatten((args, kwargs), leaves)
        args, kwargs = unflatten(form, iter([x if isinstance(x, TensorBase) else from_numpy(x) for x in leaves]))
        return self._called(args, kwargs)

    def _called(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with nullcontext() if self.generator is None else using(self.generator):
            if self.gradients:
                return self.function(*args, **kwargs)
            with no_grad():
                return self.function(*args, **kwargs)

    def _record(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], key: Any, leaves: list[Any], form: Any
    ) -> Any:  # fmt: skip
        tensors = [_apart(x) for x in leaves]
        args, kwargs = unflatten(form, iter(tensors))
        # a size that is met once, such as that of a last batch, is not worth a plan
        if self.plans and key not in self.plans and key not in self.seen:
            self.seen[key] = None
            while len(self.seen) > 4 * MAX_PLANS:
                self.seen.popitem(last=False)
            return self._called(args, kwargs)
        recording = Recording(tensors, self.strict)
        drawn = _host_randomness()
        token = listen(recording)
        try:
            returned = self._called(args, kwargs)
        finally:
            restore(token)
            for own, leaf in zip(tensors, leaves, strict=True):
                if own is not leaf and isinstance(leaf, TensorBase) and own._version_value:
                    leaf._touch()
        if recording.fresh:
            return returned  # an optimizer's first step begins its state, which no later one does
        given: list[Any] = []
        result_form = flatten(returned, given)
        try:
            if drawn != _host_randomness():
                recording.refuse(
                    "numbers were drawn from the generators of Python or NumPy, which a replay would not do: use "
                    "fastnn.rand, fastnn.randn and their kin"
                )
            for leaf in given:
                if isinstance(leaf, TensorBase) and leaf.requires_grad and not leaf.is_leaf and leaf.can_go_back:
                    recording.refuse(
                        "a result could still be differentiated, which that of a replay cannot: call backward() within "
                        "the compiled function, return result.detach(), or call it under no_grad()"
                    )
            recording.conclude()
            if recording.failure is None:
                arrays = recording.arguments
                bound = recording.held_arguments() | {i for i, x in enumerate(tensors) if isinstance(x, Parameter)}
                for known in self.plans.get(key, ()):
                    bound.update(known.reaching(arrays))
                builder = Builder(
                    recording,
                    [x.array if isinstance(x, TensorBase) else x for x in given],
                    unchanged(recording.modules.values()),
                    self.generator,
                    bound,
                )
                plan = builder.build()
        except CompileError:
            if self.strict:
                raise
        if recording.failure is not None:
            self._give_up(recording.failure, 3)
            return returned
        plan.form = None if result_form is _TENSOR else result_form
        with _bookkeeping:
            self.plan = plan
            self.plans.setdefault(key, []).append(plan)
            if len(self.plans[key]) > MAX_MODES:
                self._drop(self.plans[key])
            if sum(map(len, self.plans.values())) > MAX_PLANS:
                self._drop([own for plans in self.plans.values() for own in plans])
        return returned

    def __reduce__(self) -> tuple[Any, ...]:
        # plans hold addresses: a copy records its own
        return Compiled, (self.function, self.strict, self.gradients, self.generator)

    def _drop(self, among: list[Plan]) -> None:
        """Forget the plan that was used longest ago."""
        oldest = min(among, key=lambda plan: plan.used)
        for key, plans in list(self.plans.items()):
            if oldest in plans:
                plans.remove(oldest)
                if not plans:
                    del self.plans[key]


def compile(function: Any, *, strict: bool = True, generator: Generator | None = None) -> Compiled:
    """Record what a function does with fastnn when it is first called, and repeat that afterwards without Python.

    Parameters
    ----------
    function : of arrays, Tensors and plain values (in tuples, lists and dicts, too). Arrays arrive as Tensors. It may
        do all of a training step: forward, loss, backward, clipping, the optimizer's and the schedule's step. Or a
        `fastnn.nn.Module`, whose forward pass is then compiled for inference: its results carry no gradients.
    strict : raise CompileError where something cannot be recorded. Otherwise warn once and go on without plans.
    generator : what the function draws random numbers from, in place of the default generator.

    Returns
    -------
    A function with the same arguments. For each signature (shapes, dtypes, strides, plain values, which modules train)
    the first call records a plan; `plan` shows it. Plans are dropped where what they were recorded with has changed.

    Python other than fastnn's runs when the call is recorded, and not again: ``print``, a counter, numbers computed in
    Python or NumPy. Reading a value in between (``item()``, ``if loss > 1``) raises CompileError.
    """
    if isinstance(function, Module):
        module = function
        return Compiled(module.__call__, strict, False, generator)
    if not callable(function):
        raise TypeError(f"compile: expected a function or a Module, got {type(function).__name__}")
    return Compiled(function, strict, True, generator)


__all__ = ["Compiled", "compile"]
