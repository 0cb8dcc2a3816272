"""How many threads fastnn computes with.

The default is the number of physical cores that the process may use, capped by the CPU quota of its cgroups (rounded
down). ``FASTNN_NUM_THREADS`` overrides it at start, `set_num_threads` at any time, `threads` for a block of code, and
threadpoolctl's limits apply to fastnn too. The results do not depend on the number, to the bit. Threads are started by
the first work that is large enough to be shared, never by the import.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import threadpoolctl

from fastnn._runtime import _fastnn_team

__all__ = ["get_num_threads", "set_num_threads", "threads"]

VARIABLE = "FASTNN_NUM_THREADS"


def get_num_threads() -> int:
    """Return the number of threads that the calling thread's work may use."""
    return _fastnn_team.get_num_threads()


def set_num_threads(n: int) -> None:
    """Set the number of threads for the whole process.

    Code inside a `threads` block keeps the block's number. More threads than CPUs give the same results, more slowly.

    Raises
    ------
    ValueError
        If `n` is not between 1 and 1,024.
    TypeError
        If `n` is not an integer.
    """
    _fastnn_team.set_num_threads(_checked(n, "set_num_threads: n"))


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use `n` threads for what the calling thread does inside the ``with`` block; other Python threads keep theirs.

    Raises
    ------
    ValueError
        If `n` is not between 1 and 1,024.
    TypeError
        If `n` is not an integer.
    """
    before = _fastnn_team.get_own_threads()
    _fastnn_team.set_own_threads(_checked(n, "threads: n"))
    try:
        yield
    finally:
        _fastnn_team.set_own_threads(before)


def _checked(n: int, name: str) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"{name} must be an integer, got {n!r}")
    n = n.__index__()
    if not 1 <= n <= _fastnn_team.MAX_THREADS:
        raise ValueError(f"{name} must be between 1 and {_fastnn_team.MAX_THREADS}, got {n}")
    return n


def default_threads(
    cpus: frozenset[int], quota: float | None, environ: Mapping[str, str], root: str | os.PathLike[str] = "/"
) -> int:
    """Return the number of threads to start with: the environment's, else physical cores within the quota."""
    text = environ.get(VARIABLE, "").strip()
    if text:
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _fastnn_team.MAX_THREADS):
            raise ValueError(f"{VARIABLE} must be an integer from 1 to {_fastnn_team.MAX_THREADS}, got {text!r}")
        return int(text)
    cores = physical_cores(cpus, root)
    return min(cores if quota is None else max(1, min(cores, int(quota))), _fastnn_team.MAX_THREADS)


def usable_cpus() -> frozenset[int]:
    """Return the numbers of the logical CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))  # macOS and Windows: no affinity, or none that Python tells


def physical_cores(cpus: frozenset[int], root: str | os.PathLike[str] = "/") -> int:
    """Count the cores that `cpus` lie on; two hardware threads of a core share its arithmetic units."""
    cores = set()
    for cpu in cpus:
        siblings = _read(os.path.join(root, f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"))
        cores.add(siblings or str(cpu))
    return max(1, len(cores))


def cgroup_quota(root: str | os.PathLike[str] = "/") -> float | None:
    """Return the CPUs' worth of time that the process's cgroups (version 1 or 2) allow, or None without a limit.

    A limit of any enclosing group holds too. In a container the path in ``/proc/self/cgroup`` may be the host's: parts
    that do not exist are skipped, down to the mount point, which is then the container's own group.
    """
    mounts = os.path.join(root, "sys/fs/cgroup")
    quotas: list[float] = []
    for line in (_read(os.path.join(root, "proc/self/cgroup")) or "").splitlines():
        hierarchy, controllers, path = (*line.split(":", 2), "", "")[:3]
        names = controllers.split(",")
        if hierarchy == "0" and controllers == "":
            bases = [mounts, os.path.join(mounts, "unified")]
        elif "cpu" in names:
            bases = [os.path.join(mounts, controllers), os.path.join(mounts, "cpu")]
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for base in bases:
            for depth in range(len(parts) + 1):
                quotas += _group_quota(os.path.join(base, *parts[:depth]))
    return min(quotas, default=None)


def _group_quota(group: str) -> list[float]:
    """Return what one cgroup's files allow: one figure, or none."""
    version_2 = (_read(os.path.join(group, "cpu.max")) or "").split()
    version_1 = [_read(os.path.join(group, f"cpu.cfs_{name}_us")) or "" for name in ("quota", "period")]
    for quota, period in (version_2 if len(version_2) == 2 else ("", ""), version_1):
        if quota.isdigit() and period.isdigit() and int(period) > 0:  # neither "max" nor "-1"
            return [int(quota) / int(period)]
    return []


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


class TeamController(threadpoolctl.LibController):  # type: ignore[misc]
    """Lets ``threadpool_info`` see fastnn's threads and ``threadpool_limits`` limit them."""

    user_api = "fastnn"
    internal_api = "fastnn"
    filename_prefixes = ("_fastnn_team",)
    check_symbols = ("fastnn_team_get_num_threads", "fastnn_team_set_num_threads")

    def get_num_threads(self) -> int:
        """Return the process's number of threads."""
        return int(self.dynlib.fastnn_team_get_num_threads())

    def set_num_threads(self, num_threads: int) -> None:
        """Set the process's number of threads."""
        self.dynlib.fastnn_team_set_num_threads(num_threads)

    def get_version(self) -> str:
        """Return the version of the team's C interface."""
        version = self.dynlib.fastnn_team_version
        version.restype = ctypes.c_char_p
        return str(version().decode())


def _configure() -> None:
    cpus = usable_cpus()
    quota = cgroup_quota()
    # A thread that spins uses up a quota that its process may need a moment later.
    _fastnn_team.configure(cpus=len(cpus), may_spin=quota is None)
    _fastnn_team.set_num_threads(default_threads(cpus, quota, os.environ))


_configure()
threadpoolctl.register(TeamController)
