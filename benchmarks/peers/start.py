"""Measures start-up times: from the start of a process to a line that it prints."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.peers.case import StartCase
from benchmarks.peers.environment import Watch, without_overrides
from benchmarks.peers.harness import DISTURBED, PeerError
from benchmarks.peers.statistics import Estimate, estimate


@dataclass
class Start:
    """A start-up time in seconds, what is taken off (if anything) already taken off.

    ``others`` is the mean number of CPUs that other processes took meanwhile; None where the system does not tell.
    """

    case: str
    seconds: Estimate
    bar: float
    others: float | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether the time stays under the bar: the interval's upper bound does."""
        return self.seconds.high < self.bar

    @property
    def margin(self) -> float:
        """What was reached of what was asked: 1 where the upper bound is as long as the bar."""
        return self.bar / self.seconds.high

    def record(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {**asdict(self), "holds": self.holds}


def start_time(
    case: StartCase, runs: int, *, patience: float = 0.0, say: Callable[[str], None] = lambda text: None
) -> Start:
    """Measure a start-up; a first run, not counted, warms the page cache and fills the folder that runs share.

    Runs that other processes disturbed are repeated for ``patience`` seconds at most.
    """
    environment, removed = without_overrides()
    taken: list[float] = []
    differences: list[list[float]] = []
    others: list[float | None] = []
    repeated = 0
    with ExitStack() as stack:
        kept = stack.enter_context(tempfile.TemporaryDirectory())

        def run(code: str) -> float:
            with tempfile.TemporaryDirectory() as fresh:
                own = {k: v.format(kept=kept, fresh=fresh) for k, v in case.environment.items()}
                return _seconds(case.name, code, {**environment, **own})

        say(f"{case.name}, {runs} starts")
        run(case.code)
        while len(taken) < runs:
            watch, began = Watch(_own_seconds), time.monotonic()
            less = run(case.minus) if case.minus is not None else 0.0
            whole = run(case.code)
            disturbed = watch.others()
            if disturbed is not None and disturbed > DISTURBED and patience > 0:
                patience -= time.monotonic() - began
                repeated += 1
                continue
            taken.append(whole)
            differences.append([whole - less])
            others.append(disturbed)
    details = {"environment_removed": removed, "seconds": taken, "python": sys.version.split()[0], "repeated": repeated}
    seen = [share for share in others if share is not None]
    mean = sum(seen) / len(seen) if seen else None
    return Start(case.name, estimate(differences), case.bar, mean, details)


def _own_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _seconds(name: str, code: str, environment: dict[str, str]) -> float:
    with tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, stderr=errors, env=environment
        )
        assert child.stdout is not None
        with child.stdout:
            line = child.stdout.readline()
            seconds = time.perf_counter() - start
            child.stdout.read()
        if child.wait() != 0 or not line:
            errors.seek(0)
            raise PeerError(f"{name}: the program ended with status {child.returncode}:\n{errors.read()[-2000:]}")
    return seconds
