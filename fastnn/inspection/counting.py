"""What calls of ops cost, by their declarations; and watching the ops that some code runs.

FLOPs are those that an op declares. Where it declares none, those that its phases state count: arithmetic operations on
elements, an exponential or a division as one. A multiply-add counts as two; copies, views and comparisons of indices
count nothing. The same count holds for every dtype and for the NumPy backend: where no kernels serve, the phases that
would serve float32 are asked.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from fastnn._runtime.recipe import Recipe
from fastnn._runtime.tensor import Node, observe, unobserve
from fastnn.ops.lowering import Array, Lowering, Phase, dense_strides
from fastnn.ops.op import Op, Shape

O = TypeVar("O", bound="Observer")


class Cost(NamedTuple):
    """What a call costs.

    Attributes
    ----------
    flops : None where neither the declaration nor the phases say.
    nbytes : that the phases' operands name, read and written; None where a NumPy reference served.
    """

    flops: float | None
    nbytes: int | None


def forward_cost(op: Op, recipe: Recipe) -> Cost:
    """What a call of `op` costs that ran `recipe`."""
    flops = op.count_flops(recipe.shapes, recipe.attrs)
    return _cost(op, recipe, recipe, None, flops)


def backward_cost(op: Op, recipe: Recipe, backward: Recipe, needs: tuple[bool, ...]) -> Cost:
    """What the gradients of a call cost; `recipe` ran it, `backward` is theirs, `needs` says which are wanted."""
    flops = op.count_backward_flops(recipe.shapes, recipe.attrs, needs)
    return _cost(op, recipe, backward, needs, flops)


def _cost(op: Op, recipe: Recipe, ran: Recipe, needs: tuple[bool, ...] | None, flops: float | None) -> Cost:
    phases = None if ran.lowering is None else (*ran.lowering.checks, *ran.lowering.phases)
    if flops is None and ran.lowering is not None:
        flops = _stated(ran.lowering.phases)
    if flops is None:
        flops = _would_state(op, tuple(recipe.shapes[n] for n in op.input_names), recipe.attrs, needs)
    return Cost(flops, None if phases is None else sum(phase.nbytes for phase in phases))


def _stated(phases: Iterable[Phase]) -> float | None:
    flops = [phase.flops for phase in phases]
    return None if None in flops else math.fsum(f for f in flops if f is not None)


@lru_cache(maxsize=4096)
def _would_state(
    op: Op, shapes: tuple[Shape | None, ...], attributes: tuple[Any, ...], needs: tuple[bool, ...] | None
) -> float | None:
    """What the phases of a call on contiguous float32 arrays state, or those of its gradients."""
    if op.lower is None:
        return None
    arrays = [
        None if shape is None else Array(i, shape, dense_strides(shape), op.dtype_of(name, "float32"))
        for i, (name, shape) in enumerate(zip(op.input_names, shapes, strict=True))
    ]
    own = dict(zip(op.input_names, shapes, strict=True))
    low = Lowering(tuple(arrays), dict(zip(op.attribute_names, attributes, strict=True)), shapes=own)
    made = op.lower[0](low, *low.inputs)
    outputs = made if isinstance(made, tuple) else (made,)
    if outputs[0] is NotImplemented:
        return None
    if needs is None:
        return _stated(low.phases)
    lowered = op.lower_gradients(arrays, outputs, attributes, own, needs)
    return None if lowered is None else _stated(lowered[0].phases)


class Observer:
    """Watches the ops that its thread runs while it is entered; a subclass says what it makes of them.

    Attributes
    ----------
    walking : whether a backward pass is under way.
    """

    def __init__(self) -> None:
        self._thread: int | None = None
        self._walks = 0

    def __enter__(self: O) -> O:
        self._thread = threading.get_ident()
        observe(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unobserve(self)

    @property
    def walking(self) -> bool:
        """Whether a backward pass is under way."""
        return self._walks > 0

    def _mine(self) -> bool:
        return threading.get_ident() == self._thread

    # -- what the runtime calls, in whatever thread an op runs

    def forward(self, op: Op, recipe: Recipe, given: Sequence[Any], result: Any) -> None:
        """A call of an op was run."""
        if self._mine():
            self.on_forward(op, recipe, given, result)

    def backward(self, op: Op, node: Node, recipe: Recipe, found: Recipe, needs: tuple[bool, ...]) -> None:
        """The gradients of a recorded call were computed."""
        if self._mine():
            self.on_backward(op, node, recipe, found, needs)

    def derived(self, name: str, sources: Sequence[Any], results: Sequence[Any]) -> None:
        """Tensors came from others without a call."""
        if self._mine():
            self.on_derived(name, sources, results)

    def walk(self, begins: bool) -> None:
        """A backward pass begins or ends."""
        if self._mine():
            self._walks += 1 if begins else -1

    # -- what subclasses define

    def on_forward(self, op: Op, recipe: Recipe, given: Sequence[Any], result: Any) -> None:
        """See a call: the inputs as they came (None for one left out) and what it gave."""

    def on_backward(self, op: Op, node: Node, recipe: Recipe, found: Recipe, needs: tuple[bool, ...]) -> None:
        """See the gradients of a call: its node, its recipe, theirs, and which were wanted."""

    def on_derived(self, name: str, sources: Sequence[Any], results: Sequence[Any]) -> None:
        """See views, conversions, changes in place and functions of one's own."""


class Counter(Observer):
    """Counts the FLOPs of the ops that run while it is entered; optimizers' updates are no ops and do not count.

    Attributes
    ----------
    forward_flops, backward_flops : so far; sums of gradients that meet belong to the backward pass.
    unknown : names of ops that do not say.
    """

    def __init__(self) -> None:
        super().__init__()
        self.forward_flops = 0.0
        self.backward_flops = 0.0
        self.unknown: set[str] = set()

    @property
    def flops(self) -> float:
        """Of both passes."""
        return self.forward_flops + self.backward_flops

    def on_forward(self, op: Op, recipe: Recipe, given: Sequence[Any], result: Any) -> None:
        """Add a call's FLOPs."""
        self._add(op, forward_cost(op, recipe), self.walking)

    def on_backward(self, op: Op, node: Node, recipe: Recipe, found: Recipe, needs: tuple[bool, ...]) -> None:
        """Add those of its gradients."""
        self._add(op, backward_cost(op, recipe, found, needs), True)

    def _add(self, op: Op, cost: Cost, backward: bool) -> None:
        if cost.flops is None:
            self.unknown.add(op.name)
        elif backward:
            self.backward_flops += cost.flops
        else:
            self.forward_flops += cost.flops
