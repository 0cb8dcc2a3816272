"""The data flow of a model: boxes for layers and ops, edges for the Tensors between them."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fastnn._runtime.recipe import Recipe
from fastnn._runtime.tensor import derived
from fastnn.autograd import enable_grad
from fastnn.inspection import running
from fastnn.inspection.running import tensors_in
from fastnn.inspection.tracing import ModuleObserver
from fastnn.nn.module import Module
from fastnn.ops.op import Op, Shape

CHANGES = ("overwrite", "setitem")  # what comes from others beside the values that were there before


@dataclass(eq=False)
class Box:
    """A layer that was called, an op that was called outside of layers, an input or the output.

    Attributes
    ----------
    number : in the order of the calls.
    kind : ``"layer"``, ``"op"``, ``"input"`` or ``"output"``.
    name : dotted, of a layer; of an input that of the argument where it has one.
    type : the layer's class, or the op.
    outputs : shapes of what it gave.
    parameters : elements that it holds and no earlier box does.
    """

    number: int
    kind: str
    name: str
    type: str
    outputs: tuple[Shape, ...] = ()
    parameters: int = 0

    @property
    def title(self) -> str:
        """What the box is called."""
        if self.kind in ("input", "output"):
            return self.name or self.kind
        return f"{self.name}: {self.type}" if self.name else self.type

    @property
    def details(self) -> str:
        """Shapes and parameters."""
        words = [", ".join(map(str, self.outputs)), f"{self.parameters:,} parameters" if self.parameters else ""]
        return ", ".join(word for word in words if word)


@dataclass
class Graph:
    """Boxes in the order of their calls, and edges from one to another."""

    name: str
    boxes: list[Box] = field(default_factory=list)
    edges: list[tuple[Box, Box]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = []
        for box in self.boxes:
            to = [other.number for start, other in self.edges if start is box]
            line = f"{box.number}  {box.title}  {box.details}".rstrip()
            lines.append(f"{line}  -> {', '.join(map(str, to))}" if to else line)
        return "\n".join(lines)


class GraphObserver(ModuleObserver):
    """Draws an edge wherever an op takes what another box gave.

    A layer is a box of its own where it has no sublayers or lies at the greatest depth; the ops within it belong to it.
    A model of one's own is none.
    Views have no boxes: what they give comes from where their source does.
    """

    def __init__(self, model: Module, depth: int | None) -> None:
        super().__init__(model)
        self.graph = Graph(type(model).__name__)
        self.depth = depth
        self._names = {id(module): name for name, module in reversed(list(model.named_modules()))}
        self._numbers = itertools.count()
        self._makers: dict[int, frozenset[Box]] = {}  # of a Tensor, by its id
        self._kept: list[Any] = []  # the Tensors of those ids, which no other object shall have
        self._open: list[Box | None] = []  # beside the stack: the box of each module, None for one that has none
        self._edges: set[tuple[int, int]] = set()
        self._counted: set[int] = set()

    # -- boxes and edges

    def box(self, kind: str, name: str, type_name: str, outputs: Iterable[Any] = ()) -> Box:
        """A new box that gave `outputs`."""
        made = Box(next(self._numbers), kind, name, type_name)
        self.graph.boxes.append(made)
        self._gave(made, outputs)
        return made

    def _gave(self, box: Box, outputs: Iterable[Any]) -> None:
        outputs = list(outputs)
        box.outputs = tuple(tensor.shape for tensor in outputs)
        for tensor in outputs:
            self._set(tensor, frozenset([box]))

    def _set(self, tensor: Any, makers: frozenset[Box]) -> None:
        self._kept.append(tensor)
        self._makers[id(tensor)] = makers

    def _sources(self, tensors: Iterable[Any]) -> frozenset[Box]:
        nothing: frozenset[Box] = frozenset()
        return nothing.union(*(self._makers.get(id(tensor), nothing) for tensor in tensors))

    def connect(self, sources: Iterable[Box], box: Box) -> None:
        """Edges to a box, each once."""
        for source in sorted(sources, key=lambda one: one.number):
            if source is not box and (source.number, box.number) not in self._edges:
                self._edges.add((source.number, box.number))
                self.graph.edges.append((source, box))

    def _within(self) -> Box | None:
        """The box that ops belong to now."""
        return next((box for box in self._open if box is not None), None)

    # -- what is seen

    def on_enter(self, module: Module, args: Any) -> None:
        """Open a box for a layer that is to have one."""
        level = len(self.stack) - 1
        leaf = not any(child is not None for child in module._modules.values())
        if level == 0 and not type(module).__module__.startswith("fastnn.nn."):
            leaf = False  # a model of functional code alone: what it does is of interest
        if self._within() is not None or not (leaf or (self.depth is not None and level >= self.depth)):
            self._open.append(None)
            return
        box = self.box("layer", self._names[id(module)], type(module).__name__)
        held = {id(p): p.array.size for p in module.parameters()}
        box.parameters = sum(size for key, size in held.items() if key not in self._counted)
        self._counted |= held.keys()
        self._open.append(box)

    def on_leave(self, module: Module, args: Any, result: Any) -> Any:
        """Close the box: what the layer gave comes from it."""
        box = self._open[len(self.stack)]
        del self._open[len(self.stack) :]
        if box is None or result is None:
            return None
        came = {id(tensor) for tensor in tensors_in(args)}
        outputs = tensors_in(result)
        if any(id(tensor) in came for tensor in outputs) and isinstance(result, type(outputs[0])):
            # a layer that hands its input on: another Tensor, so that what else takes the input has no edge from here
            result = derived(result, result.array, "view", lambda gradient: gradient)
            outputs = [result]
        before = self._sources(outputs)
        # what NumPy computed has no source that was seen: it came from the arguments
        self.connect(before - {box} or (() if before else self._sources(tensors_in(args))), box)
        self._gave(box, outputs)
        return result

    def on_forward(self, op: Op, recipe: Recipe, given: Sequence[Any], result: Any) -> None:
        """Connect the box that runs, or make one for an op outside of layers."""
        sources, outputs, box = self._sources(given), tensors_in(result), self._within()
        if op.views or (box is None and (op.name == "copy" or not sources)):
            # the same values; or what comes from nothing that was seen, which is no part of the data flow
            for tensor in outputs:
                self._set(tensor, sources)
            return
        if box is None:
            box = self.box("op", "", op.name, outputs)
        else:
            for tensor in outputs:
                self._set(tensor, frozenset([box]))
        self.connect(sources, box)

    def on_derived(self, name: str, sources: Sequence[Any], results: Sequence[Any]) -> None:
        """What came from others comes from where they do; a function that no op was seen in has a box."""
        makers = self._sources(sources)
        if name not in CHANGES and len(sources) > len(results):
            # a function of one's own: its arguments, then what it made of them
            made = self._sources(sources[-len(results) :])
            if not made and makers and self._within() is None:
                self.connect(makers, self.box("op", "", name, results))
                return
            makers = made or makers
        for tensor in results:
            self._set(tensor, makers)


def _named(model: Module, given: running.Arguments) -> list[tuple[str, Any]]:
    """The Tensors of a call, with the names that forward gives to the arguments."""
    try:
        bound = inspect.signature(model.forward).bind(*given.args, **given.kwargs).arguments
    except (TypeError, ValueError):  # what forward does not take it will say itself
        bound = {f"input {i}": value for i, value in enumerate((*given.args, *given.kwargs.values()))}
    return [(name, tensor) for name, value in bound.items() for tensor in tensors_in(value)]


def _recorded(tensor: Any) -> Any:
    """A copy from which on changes in place are recorded, so that they are seen."""
    return tensor.detach().requires_grad_().clone() if tensor.dtype.kind == "f" else tensor


def trace_graph(
    model: Module, input: Any, *, dtypes: Any = None, mode: str | None = None, depth: int | None = None
) -> Graph:
    """Run a model once, and give its data flow; arguments as for `fastnn.plot_model`."""
    running.check_model("plot_model", model)
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
        raise ValueError(f"plot_model: depth must be None or an int from 0 on, got {depth!r}")
    given = running.arguments("plot_model", model, input, dtypes)
    model = running.without_lazy("plot_model", model, given)
    observer = GraphObserver(model, depth)
    trace("plot_model", observer, given, mode)
    return observer.graph


def trace(name: str, observer: GraphObserver, given: running.Arguments, mode: str | None) -> None:
    """Run an observer's model once, which is not lazy, and let it draw the graph; `name` as errors call the caller."""
    model = observer.model
    given = replace(
        given,
        args=tuple(map(_recorded, given.args)),
        kwargs={name: _recorded(value) for name, value in given.kwargs.items()},
    )
    with running.unchanged(model, name, mode), enable_grad():
        for argument, tensor in _named(model, given):
            observer.box("input", argument, "", [tensor])
        with observer:
            output = running.called(name, model, given)
        outputs = tensors_in(output)
        last = observer.box("output", "", "")
        last.outputs = tuple(tensor.shape for tensor in outputs)
        observer.connect(observer._sources(outputs), last)
