"""Compare fastnn with its peers: ``python -m benchmarks.peers [case ...] --threads 1,2 --json out.json``."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time
from pathlib import Path

from benchmarks.peers import cases
from benchmarks.peers.case import Case, StartCase
from benchmarks.peers.environment import interpreter, machine
from benchmarks.peers.harness import Comparison, PeerError, Plan, compare
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


def arguments(known: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("case", nargs="*", help=f"which ones (default: all): {', '.join(known)}")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, such as 1,2")
    parser.add_argument("--ours", default="fastnn", help="the side that counts as ours, such as numpy")
    parser.add_argument("--against", default="numpy,torch", help="peers, such as torch")
    parser.add_argument("--pairs", type=int, default=5, help="fresh pairs of processes")
    parser.add_argument("--blocks", type=int, default=10, help="timed blocks of each side in a pair")
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a block")
    parser.add_argument(
        "--patience", type=float, default=0, help="seconds a case may take to repeat what other processes disturbed"
    )
    parser.add_argument("--starts", type=int, default=20, help="starts of a program, where those are timed")
    parser.add_argument("--json", type=Path, help="file for all that was measured")
    chosen = parser.parse_args()
    for name in chosen.case:
        if name not in known:
            parser.error(f"no case is called {name!r}; there are {', '.join(known)}")
    try:
        chosen.threads = [int(part) for part in chosen.threads.split(",")]
    except ValueError:
        parser.error(f"--threads takes whole numbers with commas between them, got {chosen.threads!r}")
    if min(chosen.pairs, chosen.blocks, chosen.starts, *chosen.threads) < 1 or not chosen.seconds > 0:
        parser.error("--pairs, --blocks, --starts and --threads must be at least 1, --seconds above 0")
    return chosen


def main() -> int:
    """Measure, show and save; the status is 1 where a comparison could not be made or a bar was missed."""
    known = declared()
    chosen = arguments(list(known))
    plan = Plan(pairs=chosen.pairs, blocks=chosen.blocks, block_seconds=chosen.seconds, patience=chosen.patience)
    results: list[Comparison | Start] = []
    problems: list[str] = []
    before = machine()
    began = time.time()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    for name in chosen.case or known:
        module, case = known[name]
        try:
            if isinstance(case, StartCase):
                results.append(start_time(case, chosen.starts, patience=chosen.patience, say=say))
                continue
        except PeerError as error:
            problems.append(str(error))
            continue
        for threads in chosen.threads:
            for peer in chosen.against.split(","):
                if peer not in case.sides or peer == chosen.ours:
                    continue
                try:
                    results.append(compare(module, case, peer, threads, plan, ours=chosen.ours, peak=peak, say=say))
                except PeerError as error:
                    problems.append(f"{name} against {peer}, {threads} thread(s): {error}")
    show(results)
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
        }
        save(chosen.json, results, context)
    return int(bool(problems) or any(result.holds is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
