"""The table of a measurement, and its file."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from benchmarks.peers.harness import Comparison
from benchmarks.peers.start import Start
from benchmarks.peers.statistics import Estimate

_BUSY = 0.1  # CPUs
_HEAD = ("case", "against", "threads", "ours", "theirs", "theirs / ours [95%]", "bar", "", "GFLOP/s", "of peak")


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.0f} us" if seconds >= 1e-4 else f"{seconds * 1e6:.3g} us"


def _bytes(count: float) -> str:
    return f"{count / 1e6:.3g} MB"


def _interval(value: Estimate) -> str:
    return f"{value.median:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _verdict(holds: bool | None) -> str:
    return "" if holds is None else "holds" if holds else "MISSED"


def _share(result: Comparison) -> str:
    """Our share of the peak, and what was asked of it."""
    if result.peak is None:
        return ""
    return f"{result.peak:.0%}" + ("" if result.share is None else f" (bar {result.share:.0%})")


def worst_first(results: list[Comparison | Start]) -> list[Comparison | Start]:
    """Order by what was reached of what was asked; what has no bar comes last."""
    return sorted(results, key=lambda result: math.inf if result.margin is None else result.margin)


def row(result: Comparison | Start) -> tuple[str, ...]:
    """Return the cells of a result."""
    if isinstance(result, Start):
        ours = f"{_interval(result.seconds)} s"
        return (result.case, "", "", ours, "", "", f"< {result.bar:g} s", _verdict(result.holds), "", "")
    shown = _bytes if result.quantity == "bytes" else _time
    return (
        result.case,
        result.peer,
        str(result.threads),
        shown(result.ours),
        shown(result.theirs),
        _interval(result.ratio) + ("" if result.quiet else " *"),
        "" if result.bar is None else f"{result.bar:g}",
        _verdict(result.holds),
        "" if result.gflops is None else f"{result.gflops:.1f}",
        _share(result),
    )


def show(results: list[Comparison | Start]) -> None:
    """Print the table, worst rows first, with rich where it is installed."""
    rows = [row(result) for result in worst_first(results)]
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
        for cells in (_HEAD, *rows):
            print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    else:
        table = Table(*_HEAD)
        for cells in rows:
            table.add_row(*cells, style="red" if "MISSED" in cells else None)
        Console(width=None if os.isatty(1) else 160).print(table)
    asked = [result.holds for result in results if result.holds is not None]
    if asked:
        print(f"{sum(asked)} of {len(asked)} bars hold")
    busy = [result.others for result in results if result.others is not None]
    if busy and max(busy) > _BUSY:
        print(f"a noisy machine: other processes took {min(busy):.1f} to {max(busy):.1f} CPUs while this was measured")
    if any(isinstance(result, Comparison) and not result.quiet for result in results):
        print("* the other side was seen computing during a block, or could not be watched")


def save(path: Path, results: list[Comparison | Start], context: dict[str, Any]) -> None:
    """Save everything that was measured as JSON."""
    record = {"version": 1, **context, "results": [result.record() for result in results]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
