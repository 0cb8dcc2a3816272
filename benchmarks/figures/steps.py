"""Draw the time of training steps over width and batch: ``python -m benchmarks.figures.steps``.

Two panels, float32, Adam: three layers n - n - n - 10 at batch 64, for widths n from 8 to 4,096; and 784-128-10, for
batches of 1 to 4,096. fastnn's steps are compiled, torch's eager. The limit is the arithmetic of the products alone, at
the FMA peak. Sides take turns, block by block, in processes of their own (`benchmarks.peers.harness`). The numbers are
written beside the picture, and `--redraw` draws them again. Where the time per FLOP of one thread rises by more than a
tenth while the work grows, that size is named.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.figures.common import COLOURS, ROOF, lines, numbers_of, save, say
from benchmarks.peers.cases.steps import DIGITS, compiled_case
from benchmarks.peers.environment import machine, warn_of_few_cpus
from benchmarks.peers.harness import Crew, Plan, take_turns
from benchmarks.peers.peak import peak

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = {"width": [2**i for i in range(3, 13)], "batch": [2**i for i in range(13)]}
TITLES = {"width": "n – n – n – 10, batch 64", "batch": "784 – 128 – 10"}
LABELS = {"width": "n", "batch": "batch"}
# Among so many sizes some weight belongs to a unit whose input is zero but for rounding, and Adam moves it like any:
# 1e-2 apart after the five verified steps. Losses, of 2 and more, are then compared to 1e-2 too.
CASES = [
    *(compiled_case(f"width-{n}", (n, n, n, 10), 64, atol=1e-2) for n in SIZES["width"]),
    *(compiled_case(f"batch-{n}", DIGITS, n, atol=1e-2) for n in SIZES["batch"]),
]
LIBRARIES = {"fastnn": "fastnn, compiled", "torch": "PyTorch"}
DEFAULT = Path(__file__).parents[2] / "docs" / "figures" / "steps.svg"
MODULE = "benchmarks.figures.steps"  # as the workers import it, whatever this one is called
BUMP = 1.1


def measure(threads: Sequence[int], largest: int, plan: Plan) -> dict[str, Any]:
    """Measure all points; each of the plan's pairs is a sweep over all sizes with processes of its own."""
    wanted = [one for one in CASES if int(one.name.partition("-")[2]) <= largest]
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
                    found = take_turns(MODULE, one, list(LIBRARIES), count, replace(plan, pairs=1), crew=crew)
                    sides |= found.details["sides"]
                    others += [this.others for this in found.rounds if this.others is not None]
                    for library in LIBRARIES:
                        seconds[one.name, count, library] += found.seconds(library)
    points = []
    for one in wanted:
        panel, _, n = one.name.partition("-")
        for count in threads:
            for library in LIBRARIES:
                values = seconds[one.name, count, library]
                low, median, high = (float(f"{q * 1e6:.5g}") for q in np.percentile(values, [25, 50, 75]))
                points.append(
                    {
                        "panel": panel,
                        "n": int(n),
                        "threads": count,
                        "library": library,
                        "microseconds": median,
                        "quartiles": [low, high],
                        "blocks": len(values),
                        "flops": one.flops,
                    }
                )
    return {
        "machine": before,
        "others": {"mean": float(np.mean(others)), "most": max(others)} if others else None,
        "versions": {name: {"python": side["python"], **side["versions"]} for name, side in sides.items()},
        "peak_of_one_thread": None if roof is None else round(roof / 1e9, 3),
        "points": points,
    }


def bumps(points: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Sizes at which a FLOP takes one thread of ours clearly longer than at a smaller size."""
    for panel in SIZES:
        least, where = float("inf"), 0
        for point in sorted(points, key=lambda p: p["n"]):
            if (point["panel"], point["threads"], point["library"]) != (panel, 1, "fastnn"):
                continue
            each = point["microseconds"] * 1e6 / point["flops"]
            if each > BUMP * least:
                yield f"{panel} {point['n']}: {each:.3g} ps a FLOP, {least:.3g} at {where}"
            if each < least:
                least, where = each, point["n"]


def compose(numbers: dict[str, Any]) -> Figure:
    """A row of panels for each number of threads."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    points = numbers["points"]
    threads = sorted({point["threads"] for point in points})
    figure = Figure(figsize=(9, 0.9 + 2.6 * len(threads)), layout="constrained")
    panels = figure.subplots(len(threads), len(SIZES), sharey="row", squeeze=False)
    for row, count in zip(panels, threads, strict=True):
        for axes, panel in zip(row, SIZES, strict=True):
            own = [point for point in points if (point["panel"], point["threads"]) == (panel, count)]
            limit = sorted({(point["n"], point["flops"]) for point in own})
            if numbers["peak_of_one_thread"]:
                roof = count * numbers["peak_of_one_thread"] * 1e3  # FLOP a microsecond
                times = [flops / roof for _, flops in limit]
                axes.plot([n for n, _ in limit], times, label="arithmetic at the FMA peak", **ROOF)
            for library, label in reversed(LIBRARIES.items()):
                line = sorted((point["n"], point["microseconds"]) for point in own if point["library"] == library)
                width = 1.8 if library == "fastnn" else 1.2
                axes.plot(
                    *zip(*line, strict=True), color=COLOURS[library], label=label, linewidth=width, marker="o",
                    markersize=2.5,
                )  # fmt: skip
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.xaxis.set_major_locator(FixedLocator([2**i for i in range(0, 13, 2)]))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.set_xlim(limit[0][0] / 1.15, limit[-1][0] * 1.15)
            axes.grid(axis="y", color="0.9", linewidth=0.8)
            if count == threads[0]:
                axes.set_title(TITLES[panel], loc="left")
            if count == threads[-1]:
                axes.set_xlabel(LABELS[panel])
        row[0].set_ylabel(f"microseconds, {count} thread{'' if count == 1 else 's'}")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper left", ncols=len(handles), frameon=False)
    return figure


def main(given: Sequence[str] | None = None) -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=DEFAULT, help=f"the picture, svg or png ({DEFAULT})")
    parser.add_argument("--redraw", action="store_true", help="draw the numbers that lie beside the picture")
    parser.add_argument("--threads", type=numbers_of, default=[1, 2], help="numbers of threads (1,2)")
    parser.add_argument("--largest", type=int, default=4096, help="leave out larger sizes (4096)")
    parser.add_argument("--pairs", type=int, default=3, help="sweeps with fresh processes (3)")
    parser.add_argument("--blocks", type=int, default=3, help="timed blocks of each side in a sweep (3)")
    parser.add_argument("--seconds", type=float, default=0.05, help="length of a block (0.05)")
    parser.add_argument("--patience", type=float, default=0, help="seconds a point may take to repeat disturbed blocks")
    chosen = parser.parse_args(given)
    if min(chosen.pairs, chosen.blocks, *chosen.threads) < 1 or chosen.seconds <= 0 or chosen.largest < 8:
        parser.error("numbers must be positive, and --largest at least 8")
    record = chosen.out.with_suffix(".json")
    if chosen.redraw:
        numbers = json.loads(record.read_text())
    else:
        plan = Plan(chosen.pairs, chosen.blocks, chosen.seconds, chosen.seconds / 5, patience=chosen.patience)
        numbers = measure(chosen.threads, chosen.largest, plan)
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(lines(numbers))
    save(lambda: compose(numbers), chosen.out)
    for bump in bumps(numbers["points"]):
        say(f"the time of a FLOP rises at {bump}")


if __name__ == "__main__":
    main()
