"""Watching the layers of a model and the ops that each of them runs."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter as Bag
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

from fastnn._runtime.recipe import Recipe
from fastnn._runtime.tensor import Node
from fastnn.inspection.counting import Observer, backward_cost, forward_cost
from fastnn.inspection.running import tensors_in
from fastnn.nn.hooks import register_module_forward_hook, register_module_forward_pre_hook
from fastnn.nn.module import Module
from fastnn.ops.op import Op, Shape


@dataclass(eq=False)
class Figures:
    """What a module ran itself, apart from what its submodules ran.

    Attributes
    ----------
    calls : how often it was called.
    outputs : shapes that its last call gave.
    forward_flops, backward_flops : of the ops that its own code called.
    ops : names of those, with how often.
    saved : bytes that they keep for backward.
    """

    calls: int = 0
    outputs: tuple[Shape, ...] = ()
    forward_flops: float = 0.0
    backward_flops: float = 0.0
    ops: Bag[str] = field(default_factory=Bag)
    saved: int = 0


class ModuleObserver(Observer):
    """An observer that knows which of a model's modules is running.

    Attributes
    ----------
    stack : the modules that have been entered and not left, the model first.
    """

    def __init__(self, model: Module) -> None:
        super().__init__()
        self.model = model
        self.stack: list[Module] = []
        self._own = {id(module) for module in model.modules()}
        self._hooks = ExitStack()

    def __enter__(self) -> Any:
        super().__enter__()
        self._hooks.enter_context(register_module_forward_pre_hook(self._enter))
        self._hooks.enter_context(register_module_forward_hook(self._leave, always_call=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.close()
        super().__exit__(kind, error, trace)

    def _enter(self, module: Module, args: Any) -> None:
        if id(module) in self._own and threading.get_ident() == self._thread:
            self.stack.append(module)
            self.on_enter(module, args)

    def _leave(self, module: Module, args: Any, result: Any) -> Any:
        if id(module) in self._own and threading.get_ident() == self._thread:
            # where forward raised, modules that were entered within it may not have been left
            while self.stack and self.stack.pop() is not module:
                pass
            return self.on_leave(module, args, result)
        return None

    def on_enter(self, module: Module, args: Any) -> None:
        """See a module begin."""

    def on_leave(self, module: Module, args: Any, result: Any) -> Any:
        """See a module end (with None where it raised); what is returned replaces the result, if it is not None."""


class Extents:
    """Stretches of memory, each byte of which counts once."""

    def __init__(self) -> None:
        self._low: list[int] = []
        self._high: list[int] = []

    def add(self, array: np.ndarray) -> int:
        """Add the stretch that an array lies in; gives how many of its bytes are new."""
        if array.size == 0:
            return 0
        low, high = np.lib.array_utils.byte_bounds(array)
        first = bisect_left(self._high, low)
        last = first
        known = 0
        start, end = low, high
        while last < len(self._low) and self._low[last] < high:
            known += min(high, self._high[last]) - max(low, self._low[last])
            start, end = min(start, self._low[last]), max(end, self._high[last])
            last += 1
        self._low[first:last], self._high[first:last] = [start], [end]
        return high - low - max(0, known)


class Measurement(ModuleObserver):
    """Counts what each module of a model runs.

    Attributes
    ----------
    figures : by ``id`` of the module.
    unknown : ops that do not say their FLOPs.
    """

    def __init__(self, model: Module) -> None:
        super().__init__(model)
        self.figures: dict[int, Figures] = {id(module): Figures() for module in model.modules()}
        self.unknown: set[str] = set()
        self._makers: dict[Node, Figures] = {}

    def _running(self) -> Figures:
        return self.figures[id(self.stack[-1] if self.stack else self.model)]

    def on_leave(self, module: Module, args: Any, result: Any) -> None:
        """Note the call and its shapes."""
        own = self.figures[id(module)]
        own.calls += 1
        own.outputs = tuple(tensor.shape for tensor in tensors_in(result))

    def on_forward(self, op: Op, recipe: Recipe, given: Sequence[Any], result: Any) -> None:
        """Count a call for the module that runs, or for the backward pass of the whole."""
        own, flops = self._running(), forward_cost(op, recipe).flops
        if flops is None:
            self.unknown.add(op.name)
        elif self.walking:
            own.backward_flops += flops
        else:
            own.forward_flops += flops
        if not self.walking:
            own.ops[op.name] += 1
        for tensor in tensors_in(result):
            if tensor.grad_fn is not None:
                self._makers.setdefault(tensor.grad_fn, own)

    def on_backward(self, op: Op, node: Node, recipe: Recipe, found: Recipe, needs: tuple[bool, ...]) -> None:
        """Count a call's gradients for the module that made the call."""
        flops = backward_cost(op, recipe, found, needs).flops
        if flops is None:
            self.unknown.add(op.name)
        else:
            self._makers.get(node, self._running()).backward_flops += flops

    def measure_saved(self, apart: Sequence[np.ndarray]) -> None:
        """Measure what the calls keep for backward, without the memory of the arrays `apart`."""
        known = Extents()
        for array in apart:
            known.add(array)
        for node, own in self._makers.items():
            for array in node.saved_arrays:
                own.saved += known.add(array)
