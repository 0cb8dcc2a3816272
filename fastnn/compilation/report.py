"""What a plan does, for people."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """A phase of a plan: its kernel, what that was compiled for, chunks, estimated nanoseconds, FLOPs if stated."""

    kernel: str
    static: Any
    chunks: int
    work: int
    shape: tuple[int, ...] = ()
    flops: float | None = None


@dataclass(frozen=True)
class Report:
    """The phases of a plan, the bytes of its arena, and those of results and gradients, which are made outside it."""

    rows: list[Row]
    arena_bytes: int
    own_bytes: int

    def lines(self) -> list[tuple[str, str, str, str]]:
        """Kernel, what it was compiled for, chunks, estimated microseconds."""
        made = []
        for row in self.rows:
            static = row.static if isinstance(row.static, str) else ", ".join(f"{k}={v}" for k, v in row.static.items())
            made.append((row.kernel, static, str(row.chunks), f"{row.work / 1000:.1f}"))
        return made

    def __str__(self) -> str:
        head = ("kernel", "compiled for", "chunks", "est. us")
        rows = [head, *((k, s if len(s) <= 60 else s[:57] + "...", c, w) for k, s, c, w in self.lines())]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        text = [
            f"{k:<{widths[0]}}  {s:<{widths[1]}}  {c:>{widths[2]}}  {w:>{widths[3]}}".rstrip() for k, s, c, w in rows
        ]
        total = sum(row.work for row in self.rows) / 1000
        return "\n".join(
            [
                f"{len(self.rows)} phases, estimated {total:,.0f} us on one thread",
                f"memory: arena {self.arena_bytes:,} bytes, results and gradients {self.own_bytes:,} bytes",
                *text,
            ]
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = "".join(
            "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in line) + "</tr>" for line in self.lines()
        )
        head = "".join(f"<th>{text}</th>" for text in ("kernel", "compiled for", "chunks", "est. us"))
        summary = html.escape("\n".join(str(self).split("\n")[:2])).replace("\n", "<br>")
        return f"<p>{summary}</p><table><tr>{head}</tr>{cells}</table>"


__all__ = ["Report", "Row"]
