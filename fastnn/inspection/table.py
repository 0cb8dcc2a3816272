"""A table of a model's layers: shapes, parameters, FLOPs, memory."""

from __future__ import annotations

from collections import Counter as Bag
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._runtime.tape import run_backward
from fastnn._text import aligned, amount
from fastnn.autograd import enable_grad
from fastnn.inspection import running
from fastnn.inspection.tracing import Figures, Measurement
from fastnn.nn.module import Module
from fastnn.nn.parameter import is_lazy
from fastnn.ops.op import Shape

if TYPE_CHECKING:
    from fastnn.tensor import Tensor

FUNCTIONAL = "(functional)"
MOST_OPS = 4  # that a row of functional code names


@dataclass(frozen=True)
class Row:
    """A layer, or the ops that a layer with sublayers calls itself.

    Attributes
    ----------
    name : dotted, as in ``named_modules``; of functional code that of the module whose it is.
    kind : the module's class, or ``"(functional)"``.
    depth : of nesting; the model itself has 0.
    calls : how often it was called.
    outputs : the shapes of what its last call gave.
    parameters, trainable : elements here and below, of which to be trained; what an earlier row holds too is left out.
    own : elements of the parameters that it holds itself.
    shared : elements here and below that an earlier row holds too.
    lazy : whether parameters take their shapes from an input that has not come.
    forward_flops, backward_flops : here and below, of all calls; None without an input, or without a backward pass.
    saved : bytes kept for backward, here and below, without parameters, buffers and the model's input.
    ops : of functional code and leaves: the ops that were called, with how often.
    repeats : whether the module stands in an earlier row under another name; its figures stand there.
    expanded : whether rows below have the figures; the text shows only parameters of its own here then.
    """

    name: str
    kind: str
    depth: int
    calls: int = 0
    outputs: tuple[Shape, ...] = ()
    parameters: int = 0
    trainable: int = 0
    own: int = 0
    shared: int = 0
    lazy: bool = False
    forward_flops: float | None = None
    backward_flops: float | None = None
    saved: int | None = None
    ops: dict[str, int] = field(default_factory=dict)
    repeats: bool = False
    expanded: bool = False

    @property
    def label(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Summary:
    """What `fastnn.inspection.summary` found; ``str`` gives it as a table of plain text.

    Attributes
    ----------
    model : the model's class.
    rows : the layers, in the order of ``named_modules``, functional code after the layers beside it.
    inputs : shapes and dtypes of the Tensors that the model was called with; None where it was not.
    training : whether it ran in training mode.
    parameters, trainable : elements, each counted once.
    parameter_bytes, gradient_bytes, buffer_bytes : what parameters, their gradients and buffers take.
    input_bytes, saved_bytes : what the inputs take, and what is kept for backward beside them and the parameters.
    forward_flops, backward_flops : of one pass; None without an input, or where nothing requires grad.
    unknown : ops that ran and do not say their FLOPs.
    lazy : whether the model takes shapes from its first input; what was measured is a copy then.
    """

    model: str
    rows: tuple[Row, ...]
    inputs: tuple[tuple[Shape, str], ...] | None
    training: bool
    parameters: int
    trainable: int
    parameter_bytes: int
    gradient_bytes: int
    buffer_bytes: int
    input_bytes: int = 0
    saved_bytes: int = 0
    forward_flops: float | None = None
    backward_flops: float | None = None
    unknown: tuple[str, ...] = ()
    lazy: bool = False

    # -- the text

    def _columns(self) -> list[str]:
        words = ["Layer", "Type"]
        if self.inputs is None:
            return [*words, "Parameters"]
        words += ["Output", "Parameters", "Forward FLOP"]
        return words if self.backward_flops is None else [*words, "Backward FLOP", "Saved"]

    def _cells(self, row: Row) -> list[str]:
        calls = f" ×{row.calls}" if row.calls > 1 else ""
        ops = list(row.ops)
        if row.kind == FUNCTIONAL:
            kind = ", ".join(ops[:MOST_OPS]) + (", ..." if len(ops) > MOST_OPS else "")
            cells = ["  " * row.depth + FUNCTIONAL, kind]
        else:
            cells = ["  " * row.depth + (row.label or self.model), row.kind + calls]
        count = row.own if row.expanded else row.parameters
        if row.lazy:
            parameters = "lazy"
        elif row.shared and not row.expanded:
            parameters = f"{count:,} + shared" if count else "shared"
        else:
            parameters = f"{count:,}" if count else ""
        figures = [parameters]
        if self.inputs is None:
            return cells + figures
        cells.append(", ".join(map(str, row.outputs)))
        if row.repeats or row.expanded:
            figures += ["", "", ""]
        elif row.kind != FUNCTIONAL and not row.calls:
            figures += ["not run", "", ""]
        else:
            figures += [_plain(row.forward_flops), _plain(row.backward_flops), _plain(row.saved, "B")]
        return (cells + figures)[: len(self._columns())]

    def _table(self) -> tuple[list[str], list[list[str]]]:
        return self._columns(), [self._cells(row) for row in self.rows]

    def _facts(self) -> Iterator[tuple[str, str]]:
        frozen = self.parameters - self.trainable
        many = f"{self.parameters:,}" + (f", {self.trainable:,} of them trainable" if frozen else "")
        yield "parameters", f"{many}  ({amount(self.parameter_bytes, 'B')})"
        if self.buffer_bytes:
            yield "buffers", amount(self.buffer_bytes, "B")
        if self.inputs is not None:
            yield "input", f"{', '.join(f'{s} {d}' for s, d in self.inputs)}  ({amount(self.input_bytes, 'B')})"
            yield "mode", "training" if self.training else "evaluation"
            yield "forward", amount(self.forward_flops or 0, "FLOP")
            if self.backward_flops is None:
                yield "backward", "none: nothing that is computed requires grad"
            else:
                yield "backward", amount(self.backward_flops, "FLOP")
                yield "gradients", amount(self.gradient_bytes, "B")
                yield "saved", f"{amount(self.saved_bytes, 'B')} for backward, beside parameters and input"
        if self.unknown:
            yield "not counted", ", ".join(self.unknown)
        if self.lazy and self.inputs is not None:
            yield "lazy", "shapes follow from this input; the model itself still waits for its first one"
        elif self.lazy:
            yield "lazy", "shapes follow from the first input: give one here to see them"

    def __str__(self) -> str:
        head, rows = self._table()
        lines = list(aligned([head, *rows], "", right=range(3 if self.inputs is not None else 2, len(head))))
        rule = "-" * max(map(len, lines))
        facts = aligned([list(fact) for fact in self._facts()], "")
        return "\n".join([lines[0], rule, *lines[1:], rule, *facts])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, rows = self._table()
        right = 3 if self.inputs is not None else 2

        def line(cells: list[str], tag: str) -> str:
            words = []
            for i, cell in enumerate(cells):
                text = cell.lstrip(" ")
                indent = f"padding-left:{0.5 + 0.6 * (len(cell) - len(text)):.1f}em" if i == 0 else ""
                style = f"text-align:{'right' if i >= right else 'left'};{indent}"
                words.append(f'<{tag} style="{style}">{escape(text)}</{tag}>')
            return f"<tr>{''.join(words)}</tr>"

        facts = "".join(f"<tr><th>{escape(n)}</th><td>{escape(v)}</td></tr>" for n, v in self._facts())
        body = "".join(line(row, "td") for row in rows)
        return (
            f"<table><thead>{line(head, 'th')}</thead><tbody>{body}</tbody></table>"
            f'<table style="text-align:left"><tbody>{facts}</tbody></table>'
        )

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        head, rows = self._table()
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        right = 3 if self.inputs is not None else 2
        for i, name in enumerate(head):
            # where there is little room, types give way: a name or number that is broken is hard to read
            justify: Any = "right" if i >= right else "left"
            table.add_column(name.replace(" ", "\n"), justify=justify, no_wrap=name != "Type", overflow="ellipsis")
        for row, cells in zip(self.rows, rows, strict=True):
            style = "bold" if not row.depth else "dim" if row.kind == FUNCTIONAL or row.repeats else ""
            table.add_row(*map(Text, cells), style=style)
        yield table
        grid = Table.grid(padding=(0, 2))
        for name, fact in self._facts():
            grid.add_row(Text(name, "bold"), Text(fact))
        yield grid


def _plain(value: float | None, unit: str = "") -> str:
    return "" if not value else amount(value, unit).rstrip()


def summary(
    model: Module,
    input: Any = None,
    *,
    dtypes: Any = None,
    mode: str | None = None,
    depth: int | None = None,
    backward: bool = True,
) -> Summary:
    """Run a model once and list its layers: output shapes, parameters, FLOPs, memory.

    FLOPs are counted by watching the ops that forward, and the backward pass from the output on, run; so they hold for
    any module, and for functional code between layers. `fastnn.inspection.counting` says what counts. The model is left
    as it was: modes, buffers, gradients, hooks, random numbers (what forward does to other attributes stays). A model
    with lazy parameters is run as a copy, and stays lazy.

    Parameters
    ----------
    model : the model.
    input : the shape of the input, batch axis included, such as ``(32, 784)``; a sequence of shapes for a model of
        several inputs; or the inputs themselves: a Tensor, an array, a sequence of them, or a dict for arguments by
        name. Without it nothing is run, and only parameters are listed.
    dtypes : of the inputs made from shapes, one for all or one for each; default: that of the parameters.
    mode : ``"train"`` or ``"eval"``; default: the modes that the modules are in.
    depth : the deepest level of nesting that has rows of its own; the figures of deeper ones stand in theirs.
    backward : whether to run the backward pass.

    Raises
    ------
    TypeError, ValueError : for an argument that is of no use; what forward raises passes on, with a note.
    """
    running.check_model("summary", model)
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
        raise ValueError(f"summary: depth must be None or an int from 0 on, got {depth!r}")
    if mode is not None and mode not in running.MODES:
        raise ValueError(f"summary: mode must be None, 'train' or 'eval', got {mode!r}")
    lazy = running.lazy(model)
    if input is None:
        return _summed(model, None, None, lazy, model.training, depth)
    given = running.arguments("summary", model, input, dtypes)
    model = running.without_lazy("summary", model, given)
    with running.unchanged(model, "summary", mode), enable_grad():
        training = model.training
        found = Measurement(model)
        with found:
            output = running.called("summary", model, given)
            buffers = [*model.parameters(), *model.buffers(), *given.tensors]
            found.measure_saved([tensor.array for tensor in buffers])
            ran = backward and _run_backward(model, given, output)
    return _summed(model, found, given, lazy, training, depth, ran)


def _run_backward(model: Module, given: running.Arguments, output: Any) -> bool:
    """Walk back from all outputs; False where nothing requires grad. No leaf's gradient changes."""
    roots = [tensor for tensor in running.tensors_in(output) if tensor.requires_grad]
    targets = [t for t in (*model.parameters(), *given.tensors) if t.requires_grad]
    if not roots or not targets:
        return False
    run_backward(roots, [np.ones(root.shape, root.dtype) for root in roots], False, targets)
    return True


def _nbytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.array.nbytes for tensor in tensors)


def _summed(
    model: Module,
    found: Measurement | None,
    given: running.Arguments | None,
    lazy: bool,
    training: bool,
    depth: int | None,
    ran: bool = False,
) -> Summary:
    rows = tuple(_Rows(model, found, ran, depth).of("", model, 0))
    parameters = list(model.parameters())
    trained = [p for p in parameters if p.requires_grad]
    inputs = None if given is None else tuple((x.shape, str(x.dtype)) for x in given.tensors)
    return Summary(
        type(model).__name__,
        rows,
        inputs,
        training,
        _elements(parameters),
        _elements(trained),
        _nbytes(parameters),
        _nbytes(trained),
        _nbytes(list(model.buffers())),
        0 if given is None else _nbytes(given.tensors),
        sum(own.saved for own in found.figures.values()) if found else 0,
        sum(own.forward_flops for own in found.figures.values()) if found else None,
        sum(own.backward_flops for own in found.figures.values()) if found and ran else None,
        tuple(sorted(found.unknown)) if found else (),
        lazy,
    )


class _Rows:
    """Makes the rows of a model and all below it."""

    def __init__(self, model: Module, found: Measurement | None, ran: bool, depth: int | None) -> None:
        self.found, self.ran, self.depth = found, ran, depth
        self.seen: set[int] = set()  # modules and parameters that stand in a row

    def of(self, name: str, module: Module, level: int) -> Iterator[Row]:
        """The row of a module, then those of its submodules."""
        repeats = id(module) in self.seen
        children = [(n, child) for n, child in module._modules.items() if child is not None]
        expanded = bool(children) and not repeats and (self.depth is None or level < self.depth)
        parameters, own = list(module.parameters()), list(module.parameters(recurse=False))
        new = [p for p in parameters if id(p) not in self.seen]
        yield Row(
            name,
            type(module).__name__,
            level,
            parameters=_elements(new),
            trainable=_elements(p for p in new if p.requires_grad),
            own=_elements(p for p in own if id(p) not in self.seen),
            shared=_elements(parameters) - _elements(new),
            lazy=any(is_lazy(p) for p in (own if expanded else parameters)),
            repeats=repeats,
            expanded=expanded,
            **({} if repeats else self._measured(module, expanded)),
        )
        here = [module] if expanded else list(module.modules())
        self.seen.update(map(id, [*here, *(own if expanded else parameters)]))
        if expanded:
            for child, below in children:
                yield from self.of(f"{name}.{child}" if name else child, below, level + 1)
            if self.found is not None and self.found.figures[id(module)].ops:
                yield Row(name, FUNCTIONAL, level + 1, **self._figures(self.found.figures[id(module)]))

    def _measured(self, module: Module, expanded: bool) -> dict[str, Any]:
        """What a module and all below it ran."""
        if self.found is None:
            return {}
        own = self.found.figures[id(module)]
        parts = [self.found.figures[id(below)] for below in module.modules()]
        ops: Bag[str] = Bag()
        for part in parts:
            ops += part.ops
        whole = Figures(
            own.calls,
            own.outputs,
            sum(part.forward_flops for part in parts),
            sum(part.backward_flops for part in parts),
            Bag() if expanded else ops,
            sum(part.saved for part in parts),
        )
        return self._figures(whole) | {"outputs": own.outputs}

    def _figures(self, figures: Figures) -> dict[str, Any]:
        return {
            "calls": figures.calls,
            "forward_flops": figures.forward_flops,
            "backward_flops": figures.backward_flops if self.ran else None,
            "saved": figures.saved,
            "ops": dict(figures.ops),
        }


def _elements(parameters: Iterable[Tensor]) -> int:
    return sum(p.array.size for p in parameters)
