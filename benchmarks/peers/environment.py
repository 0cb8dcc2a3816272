"""The environment a side runs in, and what is recorded of it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# A machine may carry settings that make a library pick other kernels or threads than its makers meant.
_OVERRIDES = re.compile(
    r"(OPENBLAS|GOTO|MKL|BLIS|NVPL_BLAS|VECLIB|OMP|GOMP|KMP|ATEN|DNNL|ONEDNN|TORCH|NPY|NUMBA|FASTNN)_.*"
)
_KEPT = re.compile(r"FASTNN_(PEER_PYTHON|CACHE_DIR)")


def without_overrides() -> tuple[dict[str, str], dict[str, str]]:
    """Return the environment without the settings of numeric libraries, and those that were left out."""
    removed = {k: v for k, v in os.environ.items() if _OVERRIDES.fullmatch(k) and not _KEPT.fullmatch(k)}
    kept = {k: v for k, v in os.environ.items() if k not in removed}
    # Nothing of the checkout but what the worker itself adds; in particular not the unbuilt package.
    kept.pop("PYTHONPATH", None)
    return kept, removed


def interpreter(peer: bool) -> str:
    """Return the Python that runs a side."""
    return (os.environ.get("FASTNN_PEER_PYTHON") if peer else None) or sys.executable


def machine() -> dict[str, Any]:
    """Describe the machine, and how busy it is."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "cpu": found[1] if found else platform.processor(),
        "cpus": os.cpu_count(),
        "affinity": affinity,
        "system": platform.platform(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def warn_of_few_cpus(threads: Iterable[int], say: Callable[[str], None]) -> None:
    """Say so where fewer CPUs may be used than threads are asked for: such times tell nothing."""
    cpus = machine()["affinity"]
    if cpus is not None and max(threads) > cpus:
        say(f"only {cpus} of the CPUs may be used here: what is measured with {max(threads)} threads tells nothing")


def processor_seconds(pid: int) -> float | None:
    """Return the CPU time that a process has used, in seconds; None where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family_seconds(pid: int) -> float | None:
    """Return the CPU time of a process and of those that it has started, in seconds; None where it is not told."""
    own = processor_seconds(pid)
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return own
    parts = [own, *(family_seconds(int(child)) or 0.0 for child in children)]
    return None if own is None else sum(part for part in parts if part is not None)


def machine_seconds() -> float | None:
    """Return the CPU time that all processes of the machine have used since it started, in seconds."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _idle, _wait, irq, soft_irq, steal = map(int, fields)
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")


_NEIGHBOUR = """
import os
parent = os.getppid()
print("busy", flush=True)
while os.getppid() == parent:
    for _ in range(100_000):
        pass
"""


@contextmanager
def neighbours(count: int) -> Iterator[list[int]]:
    """Have processes that each keep a CPU busy; gives their numbers."""
    children: list[subprocess.Popen[str]] = []
    try:
        for _ in range(count):
            child = subprocess.Popen([sys.executable, "-S", "-c", _NEIGHBOUR], stdout=subprocess.PIPE, text=True)
            children.append(child)
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        yield [child.pid for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()


class Watch:
    """Sees how much CPU time processes that are not ours take; None where the system does not tell.

    Parameters
    ----------
    own : CPU time of our process or processes so far, in seconds.
    """

    def __init__(self, own: Callable[[], float | None]) -> None:
        self._own = own
        self._before = self._now()

    def _now(self) -> tuple[float, float, float] | None:
        machine, own = machine_seconds(), self._own()
        return None if machine is None or own is None else (time.perf_counter(), machine, own)

    def others(self) -> float | None:
        """Return the mean number of CPUs that other processes have taken since the start of the watch."""
        now = self._now()
        if now is None or self._before is None:
            return None
        wall, machine, own = (after - before for after, before in zip(now, self._before, strict=True))
        return max(0.0, machine - own) / wall
