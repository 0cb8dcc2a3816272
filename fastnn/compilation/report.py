"""What a plan does, for people."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastnn._text import aligned, amount, duration
from fastnn.ops.lowering import Considered, Lowering

WIDTH = 100
_HEAD = ("", "op", "kernel", "chunks", "time", "FLOP", "read", "written")
_RIGHT = (0, 3, 4, 5, 6, 7)


@dataclass(frozen=True)
class Part:
    """An operand of a phase.

    Attributes
    ----------
    name : a parameter's or buffer's name in its module, ``"argument 0"``, ``"result 0"``, ``"0.weight.grad"``, a place
        in the arena such as ``"@4096"``, or ``"outside"`` for other memory that was there before the call.
    shape : extents; None where it stands for several arrays.
    mode : ``"r"`` read, ``"w"`` written without being read, ``"rw"`` both.
    nbytes : bytes of its elements.
    """

    name: str
    shape: tuple[int, ...] | None
    mode: str
    nbytes: int

    def __str__(self) -> str:
        return self.name if self.shape is None else f"{self.name} {self.shape}"


@dataclass(frozen=True)
class Row:
    """A phase of a plan, or what Python does between two of them.

    Attributes
    ----------
    op : the op that it belongs to, the optimizer's class, or what is done.
    kernel, static : the kernel and its compile-time parameters.
    chunks, work : number of chunks; estimated nanoseconds of one core.
    parts : operands.
    flops : None where they are not stated.
    lowering, number : what the phase came from, and which of its phases it is.
    """

    op: str
    kernel: str
    static: Mapping[str, Any] = field(default_factory=dict)
    chunks: int = 1
    work: int = 0
    parts: tuple[Part, ...] = ()
    flops: float | None = None
    lowering: Lowering | None = None
    number: int = 0

    @property
    def bytes_read(self) -> int:
        """Bytes of the operands that are read."""
        return sum(part.nbytes for part in self.parts if "r" in part.mode)

    @property
    def bytes_written(self) -> int:
        """Bytes of the operands that are written."""
        return sum(part.nbytes for part in self.parts if "w" in part.mode)

    @property
    def operands(self) -> str:
        """What is read, and what is written, with shapes."""
        read = ", ".join(str(part) for part in self.parts if "r" in part.mode)
        written = ", ".join(str(part) for part in self.parts if "w" in part.mode)
        return f"{read} -> {written}".strip()

    def cells(self, number: int) -> tuple[str, ...]:
        """The cells of the table."""
        flops = "" if self.flops is None else amount(self.flops, "")
        moved = (amount(n, "B") if n else "" for n in (self.bytes_read, self.bytes_written))
        return (str(number), self.op, self.kernel, str(self.chunks), duration(self.work), flops.strip(), *moved)


@dataclass(frozen=True)
class Report:
    """The phases of a plan and its memory; `str` gives it as text.

    Attributes
    ----------
    rows : in the order in which they run.
    arena_bytes : memory that the plan holds for what lives only within the call.
    buffer_bytes : what that would be if no two buffers shared a place.
    constant_bytes : memory of what holds the same in every call.
    result_bytes, gradient_bytes : memory that is made for what the call leaves.
    """

    rows: list[Row]
    arena_bytes: int
    buffer_bytes: int
    constant_bytes: int
    result_bytes: int
    gradient_bytes: int

    @property
    def peak_bytes(self) -> int:
        """Memory that a call needs beside its arguments and what was there before: known before the first replay."""
        return self.arena_bytes + self.constant_bytes + self.result_bytes + self.gradient_bytes

    @property
    def work(self) -> int:
        """Estimated nanoseconds of one core."""
        return sum(row.work for row in self.rows)

    @property
    def flops(self) -> float:
        """FLOPs of the phases that state theirs."""
        return sum(row.flops or 0.0 for row in self.rows)

    def choices(self) -> list[list[str]]:
        """For each phase, between what its planner chose and what decided.

        Nothing of that is kept while a call is recorded: the ops are lowered once more, and their planners asked.
        """
        known: dict[int, list[Any]] = {}
        made = []
        for row in self.rows:
            low = row.lowering
            if low is not None and id(low) not in known:
                again = None if low.again is None else low.again()
                phases = [] if again is None else [*again[0].checks, *again[0].phases]
                known[id(low)] = phases if len(phases) == len(low.checks) + len(low.phases) else []
            phases = [] if low is None else known[id(low)]
            made.append([_told(note) for note in phases[row.number].notes] if phases else [])
        return made

    def summary(self) -> list[str]:
        """Time and memory of all phases."""
        kept = [("results", self.result_bytes), ("gradients", self.gradient_bytes), ("constants", self.constant_bytes)]
        memory = [
            f"memory: {amount(self.peak_bytes, 'B')} beside arguments, parameters and the optimizer's state:",
            f"arena {amount(self.arena_bytes, 'B')} (for buffers of {amount(self.buffer_bytes, 'B')} in all)",
        ]
        rest = "".join(f", {name} {amount(nbytes, 'B')}" for name, nbytes in kept if nbytes)
        count = len(self.rows)
        return [
            f"{count} phase{'' if count == 1 else 's'}, estimated {duration(self.work)} of one core, "
            f"{amount(self.flops, 'FLOP')} stated",
            *_wrapped(" ".join(memory) + rest, "  ", first=""),
        ]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        yield from self.summary()
        if not self.rows:
            return
        cells = [_HEAD, *(row.cells(i) for i, row in enumerate(self.rows, 1))]
        short = [(number, _short(op, 24), _short(kernel, 27), *rest) for number, op, kernel, *rest in cells]
        head, *lines = aligned(short, "", right=_RIGHT)
        yield head
        indent = " " * (len(str(len(self.rows))) + 2)
        for row, line, choices in zip(self.rows, lines, self.choices(), strict=True):
            yield line
            yield from _wrapped(row.operands, indent)
            if row.static:
                yield from _wrapped("for " + " ".join(f"{k}={v}" for k, v in row.static.items()), indent)
            for choice in choices:
                yield from _wrapped(choice, indent)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{text}</th>" for text in (*_HEAD, "operands", "compiled for", "chosen"))
        body = []
        for i, (row, choices) in enumerate(zip(self.rows, self.choices(), strict=True), 1):
            static = " ".join(f"{k}={v}" for k, v in row.static.items())
            cells = [*row.cells(i), row.operands, static]
            texts = [html.escape(text) for text in cells] + ["<br>".join(map(html.escape, choices))]
            body.append("<tr>" + "".join(f"<td>{text}</td>" for text in texts) + "</tr>")
        summary = "<br>".join(map(html.escape, self.summary()))
        return f"<p>{summary}</p><table><tr>{head}</tr>{''.join(body)}</table>"


def _told(note: Considered | str) -> str:
    if isinstance(note, str):
        return note
    chosen = next(candidate for candidate in note.candidates if candidate.chosen)
    why = f": {chosen.why}" if chosen.why else ""
    count = len(note.candidates)
    return f"{note.what}: {chosen.name}" + (f", of {count}" if count > 1 else "") + why


def _wrapped(text: str, indent: str, first: str | None = None) -> list[str]:
    start = indent if first is None else first
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=indent if first is not None else start)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "~"


__all__ = ["Part", "Report", "Row"]
