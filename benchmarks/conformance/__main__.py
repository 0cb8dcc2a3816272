"""Compare fastnn with torch on torch's own sample calls: ``python -m benchmarks.conformance ops [name ...]``.

torch must be importable; it is only compared with. A name is one of the table's (``nn.functional.relu`` or ``relu``) or
a pattern (``'linalg.*'``); ``--claimed`` takes what fastnn is to have. The status is 1 where something failed or
something claimed is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.conformance.options import Options
from benchmarks.conformance.pool import Worker, run
from benchmarks.conformance.tables import TABLES, claimed, claims, select


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.conformance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", choices=TABLES, help="which of torch's tables")
    parser.add_argument("name", nargs="*", help="which of its names (default: all)")
    parser.add_argument("--claimed", action="store_true", help="only names that fastnn is to have")
    parser.add_argument("--dtype", default="float32", help="such as float32,float64,int64,bool")
    parser.add_argument("--noncontiguous", action="store_true", help="each sample with non-contiguous tensors too")
    parser.add_argument("--backward", action="store_true", help="first-order gradients too")
    parser.add_argument("--errors", action="store_true", help="bad calls too, which must raise")
    parser.add_argument("--reference", action="store_true", help="the operators' larger sets of samples")
    parser.add_argument("--samples", type=int, default=0, help="at most so many samples a dtype")
    parser.add_argument("--tolerance", type=float, default=1.0, help="factor on the tolerances")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--timeout", type=float, default=120, help="seconds a name may take")
    parser.add_argument("--verbose", action="store_true", help="all messages, and what was skipped and why")
    parser.add_argument("--missing", action="store_true", help="a line for each missing name too")
    parser.add_argument("--json", type=Path, help="file for all outcomes")
    return parser.parse_args()


def show(outcome: dict[str, Any], chosen: argparse.Namespace) -> None:
    """A line for one name, more with --verbose."""
    status, failures = outcome["status"], outcome["failures"]
    if status == "missing" and not (chosen.missing or chosen.verbose or chosen.name):
        return
    words = [f"{status:8s}{outcome['name']:44s}{outcome['passed']:5d}"]
    words.append(f"/{outcome['passed'] + outcome['failed']:<5d}")
    if failures:
        words.append(f" {failures[0]}")
    elif status == "skipped":
        words.append(f" {'; '.join(outcome['skips'])}")
    elif outcome["absent"]:
        words.append(f" {outcome['absent']}")
    if outcome["notes"]:
        words.append(f" [{', '.join(outcome['notes'])}]")
    print("".join(words), flush=True)
    if chosen.verbose:
        for failure in failures[1:]:
            print(f"{'':8s}{failure}")
        for reason, count in outcome["skips"].items():
            print(f"{'':8s}skipped {count}: {reason}")


def total(outcomes: list[dict[str, Any]], chosen: argparse.Namespace) -> int:
    """Print totals and what of the claims is missing; returns the exit status."""
    names = claims()
    of_table = names[chosen.table]
    counts = Counter(outcome["status"] for outcome in outcomes)
    calls = sum(outcome["passed"] for outcome in outcomes), sum(outcome["failed"] for outcome in outcomes)
    print(f"\n{chosen.table}: " + ", ".join(f"{counts[s]} {s}" for s in ("passed", "failed", "missing", "skipped")))
    print(f"calls: {calls[0]} passed, {calls[1]} failed")
    partly = [outcome for outcome in outcomes if outcome["notes"] and outcome["status"] != "missing"]
    print(f"names that lack a way to be called (in place, method, alias): {len(partly)}")
    own = [outcome for outcome in outcomes if claimed(outcome["name"], of_table)]
    of_claims = Counter(outcome["status"] for outcome in own)
    print("claimed: " + ", ".join(f"{of_claims[s]} {s}" for s in ("passed", "failed", "missing", "skipped")))
    missing = [outcome["name"] for outcome in own if outcome["status"] == "missing"]
    if not chosen.name:
        below = PLACES[chosen.table]
        missing += [n for n in absent(of_table, outcomes) if not importable(below + n)]
        missing += [name for name in names["name"] if not importable(name)]
    if missing:
        print(f"claimed and missing: {' '.join(missing)}")
    return int(bool(missing) or counts["failed"] > 0)


# Where names of a table lie that torch's table leaves out.
PLACES = {"ops": "", "modules": "nn.", "optimizers": "optim."}


def absent(of_table: list[str], outcomes: list[dict[str, Any]]) -> list[str]:
    """Claims that no outcome speaks of."""
    found = [outcome["name"] for outcome in outcomes]
    return [name for name in of_table if not any(claimed(other, [name]) for other in found)]


def importable(name: str) -> bool:
    """Whether fastnn has a dotted name."""
    import fastnn

    value: Any = fastnn
    for part in name.split("."):
        value = getattr(value, part, None)
        if value is None:
            return False
    return True


def main() -> int:
    """Run and report."""
    chosen = arguments()
    options = Options(
        dtypes=tuple(chosen.dtype.split(",")),
        noncontiguous=chosen.noncontiguous,
        backward=chosen.backward,
        errors=chosen.errors,
        reference=chosen.reference,
        samples=chosen.samples,
        tolerance=chosen.tolerance,
    )
    first = Worker(chosen.table)
    try:
        names = select(chosen.name, first.names)
    except ValueError as error:
        first.close()
        print(error, file=sys.stderr)
        return 2
    if chosen.claimed:
        of_table = claims()[chosen.table]
        names = [name for name in names if claimed(name, of_table)]
    outcomes = []
    for outcome in run(chosen.table, first, names, asdict(options), chosen.jobs, chosen.timeout):
        outcomes.append(outcome)
        show(outcome, chosen)
    status = total(outcomes, chosen)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({"options": asdict(options), "outcomes": outcomes}, indent=1))
    return status


if __name__ == "__main__":
    sys.exit(main())
