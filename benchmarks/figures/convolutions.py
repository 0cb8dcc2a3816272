"""Write the table of convolutions' speed: ``python -m benchmarks.figures.convolutions``.

Measures the cases of `benchmarks.peers.cases.convolutions` as ``python -m benchmarks.peers`` does, keeps what it found
in ``docs/figures/convolutions.json`` and writes the table between the marks of ``docs/convolutions.md``. ``--redraw``
writes the table of the kept numbers.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.figures.common import say
from benchmarks.peers.__main__ import QUICK, THOROUGH
from benchmarks.peers.cases.convolutions import CASES, GROUPS, PASSES, Problem
from benchmarks.peers.environment import machine, warn_of_few_cpus
from benchmarks.peers.harness import Crew, compare
from benchmarks.peers.peak import peak

DOCS = Path(__file__).parents[2] / "docs"
NUMBERS, PAGE = DOCS / "figures" / "convolutions.json", DOCS / "convolutions.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
PEERS = ("torch", "torch-contiguous")

Found = dict[tuple[str, int], dict[str, Any]]  # by case and threads


def measure(threads: Iterable[int], quick: bool, only: str) -> dict[str, Any]:
    """Measure the cases whose names begin so; of torch's layouts the faster one is kept."""
    threads, plan, results = list(threads), QUICK if quick else THOROUGH, []
    warn_of_few_cpus(threads, say)
    before, roof = machine(), peak("float32")
    with Crew(keep=quick) as crew:
        for case in (c for c in CASES if c.name.startswith(only)):
            for count in threads:
                say(f"{case.name}, {count} thread(s)")
                pairs = [compare("benchmarks.peers.cases.convolutions", case, p, count, plan, crew=crew) for p in PEERS]
                best = min(pairs, key=lambda pair: pair.ratio.median)
                kept = {"case": case.name, "threads": count, "ours": best.ours, "theirs": best.theirs}
                kept |= {"ratio": best.ratio.median, "low": best.ratio.low, "high": best.ratio.high}
                results.append(kept | {"flops": case.flops, "others": best.others})
    return {"machine": before, "peak": roof, "quick": quick, "results": results}


def _cell(result: dict[str, Any] | None, roof: float | None) -> str:
    """Speeds of both in GFLOP/s, with their share of the peak, and the ratio."""
    if result is None:
        return ""
    speeds = [result["flops"] / result[side] for side in ("ours", "theirs")]
    shown = " / ".join(
        f"{s / 1e9:.0f}" + ("" if roof is None else f" ({s / roof / result['threads']:.0%})") for s in speeds
    )
    return f"{shown}: **{result['ratio']:.2f}**"


def _mean(problems: Iterable[Problem], which: str, threads: int, found: Found) -> float | None:
    ratios = [found.get((f"conv-{which}-{p.name}", threads)) for p in problems]
    known = [r["ratio"] for r in ratios if r is not None]
    return statistics.geometric_mean(known) if known else None


def table(numbers: dict[str, Any]) -> str:
    """The measured part of the page."""
    found: Found = {(r["case"], r["threads"]): r for r in numbers["results"]}
    lines = []
    for threads in sorted({t for _, t in found}):
        lines += [f"### {threads} thread{'s' if threads > 1 else ''}", ""]
        lines += ["| convolution | forward | input gradient | weight gradient |", "|---|---|---|---|"]
        for group in GROUPS:
            known = [p for p in group.problems if any((f"conv-{w}-{p.name}", threads) in found for w in PASSES)]
            for p in known:
                cells = [_cell(found.get((f"conv-{w}-{p.name}", threads)), numbers["peak"]) for w in PASSES]
                lines.append(f"| {p.name} | {' | '.join(cells)} |")
            if known:
                means = [_mean(known, w, threads, found) for w in PASSES]
                bars = ["" if bar is None else f" (bar {bar:g})" for bar in group.bars]
                cells = ["" if m is None else f"{m:.2f}{bar}" for m, bar in zip(means, bars, strict=True)]
                lines.append(f"| *{group.title}, geometric mean* | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def write(numbers: dict[str, Any], page: Path = PAGE) -> None:
    """Put the table into the page."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{table(numbers)}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Measure and write, or write alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", default="1,2", help="numbers of threads, such as 1,2")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter blocks")
    parser.add_argument("--only", default="conv-", help="how the names of the cases begin")
    parser.add_argument("--redraw", action="store_true", help="write the table of the numbers that are kept")
    chosen = parser.parse_args()
    if not chosen.redraw:
        numbers = measure(map(int, chosen.threads.split(",")), chosen.quick, chosen.only)
        NUMBERS.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    write(json.loads(NUMBERS.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
