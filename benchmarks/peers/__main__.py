"""Compare fastnn with its peers: ``python -m benchmarks.peers [case ...] --threads 1,2 --json out.json``.

A case is a name, the beginning of names (``matmul-f32``) or a pattern (``'matmul-*-1024'``).
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.peers import cases
from benchmarks.peers.case import Case, StartCase, Unavailable
from benchmarks.peers.environment import interpreter, machine, warn_of_few_cpus
from benchmarks.peers.harness import Comparison, Crew, PeerError, Plan, compare
from benchmarks.peers.peak import peak
from benchmarks.peers.report import save, show
from benchmarks.peers.start import Start, start_time


def declared() -> dict[str, tuple[str, Case | StartCase]]:
    """Return all cases by name, each with the module that declares it."""
    found = {}
    for info in pkgutil.iter_modules(cases.__path__, cases.__name__ + "."):
        for case in getattr(importlib.import_module(info.name), "CASES", ()):
            found[case.name] = (info.name, case)
    return found


def select(patterns: Sequence[str], known: Collection[str]) -> list[str]:
    """Return the names that a pattern stands for: itself, what it matches (``*?[]``), or what it begins.

    ValueError for a pattern that selects nothing.
    """
    chosen: dict[str, None] = {}
    for pattern in patterns or ["*"]:
        if pattern in known:
            names = [pattern]
        elif set(pattern) & set("*?["):
            names = [name for name in known if fnmatchcase(name, pattern)]
        else:
            names = [name for name in known if name.startswith(pattern)]
        if not names:
            raise ValueError(f"no case is called {pattern!r}, begins so or matches it; --list shows the names")
        chosen.update(dict.fromkeys(names))
    return list(chosen)


PEERS = "numpy,torch,torch-contiguous,onnxruntime,sklearn,one-thread"

# How thoroughly: pairs, blocks, seconds of a block; and for a first look.
THOROUGH = Plan()
QUICK = Plan(pairs=1, blocks=5, block_seconds=0.03, warm_up_seconds=0.01)


def arguments(known: Collection[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", nargs="*", help="which ones (default: all)")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and end")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, such as 1,2")
    parser.add_argument("--ours", default="fastnn", help="the side that counts as ours, such as numpy")
    parser.add_argument("--against", default=PEERS, help=f"peers, such as torch ({PEERS}; beside these: torch-compile)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a first look: processes serve one case after the other, once; fewer and shorter blocks",
    )
    parser.add_argument("--pairs", type=int, help=f"fresh pairs of processes ({THOROUGH.pairs})")
    parser.add_argument("--blocks", type=int, help=f"timed blocks of each side in a pair ({THOROUGH.blocks})")
    parser.add_argument("--seconds", type=float, help=f"length of a block ({THOROUGH.block_seconds})")
    parser.add_argument(
        "--patience", type=float, default=0, help="seconds a case may take to repeat what other processes disturbed"
    )
    parser.add_argument("--starts", type=int, help="starts of a program, where those are timed (20)")
    parser.add_argument("--json", type=Path, help="file for all that was measured")
    chosen = parser.parse_args()
    try:
        chosen.case = select(chosen.case, known)
    except ValueError as error:
        parser.error(str(error))
    try:
        chosen.threads = [int(part) for part in chosen.threads.split(",")]
    except ValueError:
        parser.error(f"--threads takes whole numbers with commas between them, got {chosen.threads!r}")
    plan = QUICK if chosen.quick else THOROUGH
    given = {"pairs": chosen.pairs, "blocks": chosen.blocks, "block_seconds": chosen.seconds}
    chosen.plan = replace(plan, patience=chosen.patience, **{k: v for k, v in given.items() if v is not None})
    if chosen.starts is None:
        chosen.starts = 5 if chosen.quick else 20
    if min(chosen.plan.pairs, chosen.plan.blocks, chosen.starts, *chosen.threads) < 1 or chosen.plan.block_seconds <= 0:
        parser.error("--pairs, --blocks, --starts and --threads must be at least 1, --seconds above 0")
    return chosen


def _measured(once: Callable[[], Comparison], retries: int) -> Comparison:
    """Measure, and again where a bar was missed and the case allows; the ratios of before stay in the details."""
    found = once()
    before: list[Any] = []
    while found.holds is False and len(before) < retries:
        before.append(found.details["ratios"])
        found = once()
    if before:
        found.details["before"] = before
    return found


def main() -> int:
    """Measure, show and save; the status is 1 where a comparison could not be made or a bar was missed."""
    known = declared()
    chosen = arguments(known)
    if chosen.list:
        print("\n".join(chosen.case))
        return 0
    results: list[Comparison | Start] = []
    problems: list[str] = []
    left_out: dict[str, str] = {}
    before = machine()
    began = time.time()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    warn_of_few_cpus(chosen.threads, say)
    with Crew(keep=chosen.quick) as crew:
        for name in chosen.case:
            module, case = known[name]
            if isinstance(case, StartCase):
                try:
                    results.append(start_time(case, chosen.starts, patience=chosen.patience, say=say))
                except PeerError as error:
                    problems.append(str(error))
                continue
            for threads, peer in product(chosen.threads, chosen.against.split(",")):
                if peer not in case.sides or peer == chosen.ours:
                    continue
                if case.threads is not None and threads not in case.threads:
                    continue
                settled = partial(
                    compare, module, case, peer, threads, chosen.plan, ours=chosen.ours, peak=peak, crew=crew, say=say
                )
                try:
                    results.append(_measured(settled, case.retries))
                except Unavailable as error:
                    left_out[f"{name} against {peer}"] = str(error)
                except PeerError as error:
                    problems.append(f"{name} against {peer}, {threads} thread(s): {error}")
    show(results)
    for name, reason in left_out.items():
        say(f"left out: {name}: {reason}")
    for problem in problems:
        say(f"not measured: {problem.rstrip()}")
    if chosen.json is not None:
        context = {
            "began": began,
            "seconds": time.time() - began,
            "machine": before,
            "machine_after": machine(),
            "ours": chosen.ours,
            "peer_python": interpreter(True),
            "problems": problems,
            "left_out": left_out,
        }
        save(chosen.json, results, context)
    return int(bool(problems) or any(result.holds is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
