"""Draw the speed of matrix products over their size: ``python -m benchmarks.figures.matmul``.

Three panels of float32 products, each over sizes n from 8 to 4,096 in steps of half an octave (so every second size is
no power of two): square, n x n by n x n; tall, n x 64 by 64 x 64, as a large batch meets a small layer; flat, 64 x n by
n x n, as a small batch meets a large layer. All sides write into an array that is there. Sides take turns, block by
block, in processes of their own (`benchmarks.peers.harness`), so only one computes at a time. The numbers are written
beside the picture, and `--redraw` draws them again.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.figures.common import COLOURS, ROOF, lines, numbers_of, save, say
from benchmarks.peers.cases.matmul import Size, case
from benchmarks.peers.environment import machine, warn_of_few_cpus
from benchmarks.peers.harness import Crew, Plan, take_turns
from benchmarks.peers.peak import peak

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZES = [round(8 * 2 ** (i / 2)) for i in range(19)]
SHAPES = {
    "square": lambda n: Size(n, n, n),
    "tall": lambda n: Size(n, 64, 64),
    "flat": lambda n: Size(64, n, n),
}
TITLES = {"square": "n × n  by  n × n", "tall": "n × 64  by  64 × 64", "flat": "64 × n  by  n × n"}
CASES = [case(f"{shape}-{n}", size(n)) for shape, size in SHAPES.items() for n in SIZES]
LIBRARIES = {"fastnn": "fastnn", "numpy": "NumPy", "torch": "PyTorch"}
DEFAULT = Path(__file__).parents[2] / "docs" / "figures" / "matmul.svg"
MODULE = "benchmarks.figures.matmul"  # as the workers import it, whatever this one is called


def measure(libraries: Sequence[str], threads: Sequence[int], sizes: Iterable[int], plan: Plan) -> dict[str, Any]:
    """Measure all points; each of the plan's pairs is a sweep over all sizes with processes of its own."""
    wanted = [one for one in CASES if int(one.name.partition("-")[2]) in set(sizes)]
    warn_of_few_cpus(threads, say)
    before, roof = machine(), peak("float32")
    seconds: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    others: list[float] = []
    sides: dict[str, Any] = {}
    for sweep in range(plan.pairs):
        with Crew(keep=True) as crew:
            for one in wanted:
                for count in threads:
                    say(f"sweep {sweep + 1} of {plan.pairs}: {one.name}, {count} thread(s)")
                    found = take_turns(MODULE, one, libraries, count, replace(plan, pairs=1), crew=crew)
                    sides |= found.details["sides"]
                    others += [this.others for this in found.rounds if this.others is not None]
                    for library in libraries:
                        seconds[one.name, count, library] += found.seconds(library)
    points = []
    for one in wanted:
        shape, _, n = one.name.partition("-")
        for count in threads:
            for library in libraries:
                assert one.flops is not None
                speeds = one.flops / np.array(seconds[one.name, count, library]) / 1e9
                low, median, high = (round(float(q), 3) for q in np.percentile(speeds, [25, 50, 75]))
                points.append(
                    {
                        "shape": shape,
                        "n": int(n),
                        "threads": count,
                        "library": library,
                        "gflops": median,
                        "quartiles": [low, high],
                        "blocks": len(speeds),
                    }
                )
    return {
        "machine": before,
        "others": {"mean": float(np.mean(others)), "most": max(others)} if others else None,
        "versions": {name: {"python": side["python"], **side["versions"]} for name, side in sides.items()},
        "peak_of_one_thread": None if roof is None else round(roof / 1e9, 3),
        "points": points,
    }


def compose(numbers: dict[str, Any]) -> Figure:
    """A row of panels for each number of threads."""
    from matplotlib.figure import Figure

    points = numbers["points"]
    threads = sorted({point["threads"] for point in points})
    figure = Figure(figsize=(9, 0.9 + 2.3 * len(threads)), layout="constrained")
    panels = figure.subplots(len(threads), len(SHAPES), sharex=True, sharey="row", squeeze=False)
    for row, count in zip(panels, threads, strict=True):
        for axes, shape in zip(row, SHAPES, strict=True):
            own = [point for point in points if (point["shape"], point["threads"]) == (shape, count)]
            _panel(axes, own, count * (numbers["peak_of_one_thread"] or 0.0))
            if count == threads[0]:
                axes.set_title(f"{shape}:  {TITLES[shape]}", loc="left")
            if count == threads[-1]:
                axes.set_xlabel("n")
        row[0].set_ylabel(f"GFLOP/s, {count} thread{'' if count == 1 else 's'}")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper left", ncols=len(handles), frameon=False)
    return figure


def _panel(axes: Axes, points: Sequence[dict[str, Any]], roof: float) -> None:
    """Draw the roof, and a line for each library that was measured; ours last, so that it lies on top."""
    from matplotlib.ticker import FixedLocator, NullLocator

    if roof:
        axes.axhline(roof, label="FMA peak, measured", **ROOF)
    for library, label in reversed(LIBRARIES.items()):
        line = [(point["n"], point["gflops"]) for point in points if point["library"] == library]
        if line:
            width = 1.8 if library == "fastnn" else 1.2
            axes.plot(
                *zip(*line, strict=True),
                color=COLOURS[library],
                label=label,
                linewidth=width,
                marker="o",
                markersize=2.5,
            )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator([2**i for i in range(3, 13, 2)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    sizes = [point["n"] for point in points]
    axes.set_xlim(min(sizes) / 1.15, max(sizes) * 1.15)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="0.9", linewidth=0.8)


def main(given: Sequence[str] | None = None) -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=DEFAULT, help=f"the picture, svg or png ({DEFAULT})")
    parser.add_argument("--redraw", action="store_true", help="draw the numbers that lie beside the picture")
    parser.add_argument("--threads", type=numbers_of, default=[1, 2], help="numbers of threads (1,2)")
    parser.add_argument("--libraries", default=",".join(LIBRARIES), help=f"({','.join(LIBRARIES)})")
    parser.add_argument("--largest", type=int, default=SIZES[-1], help=f"leave out larger n ({SIZES[-1]})")
    parser.add_argument("--pairs", type=int, default=3, help="sweeps with fresh processes (3)")
    parser.add_argument("--blocks", type=int, default=3, help="timed blocks of each side in a sweep (3)")
    parser.add_argument("--seconds", type=float, default=0.05, help="length of a block (0.05)")
    parser.add_argument("--patience", type=float, default=0, help="seconds a point may take to repeat disturbed blocks")
    chosen = parser.parse_args(given)
    libraries = chosen.libraries.split(",")
    for library in libraries:
        if library not in LIBRARIES:
            parser.error(f"--libraries takes {', '.join(LIBRARIES)}, got {library!r}")
    sizes = [n for n in SIZES if n <= chosen.largest]
    if min(chosen.pairs, chosen.blocks, *chosen.threads) < 1 or chosen.seconds <= 0 or not sizes:
        parser.error(f"numbers must be positive, and --largest at least {SIZES[0]}")
    record = chosen.out.with_suffix(".json")
    if chosen.redraw:
        numbers = json.loads(record.read_text())
    else:
        plan = Plan(chosen.pairs, chosen.blocks, chosen.seconds, chosen.seconds / 5, patience=chosen.patience)
        numbers = measure(libraries, chosen.threads, sizes, plan)
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(lines(numbers))
    save(lambda: compose(numbers), chosen.out)


if __name__ == "__main__":
    main()
