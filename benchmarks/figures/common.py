"""What the figures share: how they look, and how they and their numbers are written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# M. Okabe, K. Ito, "Color Universal Design", 2008.
COLOURS = {"fastnn": "#0072B2", "numpy": "#E69F00", "torch": "#009E73"}
ROOF: dict[str, Any] = {"color": "0.25", "linewidth": 1, "linestyle": (0, (4, 3))}
# Of matplotlib's settings; the salt makes the same numbers give the same file.
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.4",
    "axes.titlesize": 9,
    "axes.axisbelow": True,
    "xtick.color": "0.2",
    "ytick.color": "0.2",
    "svg.hashsalt": "fastnn",
}


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, file=sys.stderr, flush=True)


def numbers_of(text: str) -> list[int]:
    """The numbers of an option such as ``1,2``."""
    return [int(part) for part in text.split(",")]


def lines(numbers: dict[str, Any]) -> str:
    """JSON with a line a point."""
    points = ",\n".join("  " + json.dumps(point) for point in numbers["points"])
    head = json.dumps({**numbers, "points": []}, indent=1)
    return head.replace('"points": []', f'"points": [\n{points}\n ]') + "\n"


def save(compose: Callable[[], Figure], path: Path) -> None:
    """Save a picture in the format that the path's suffix names."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        path.parent.mkdir(parents=True, exist_ok=True)
        compose().savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)
