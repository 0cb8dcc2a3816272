"""``fastnn info``: what a report of a problem should contain."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from pathlib import Path

import fastnn
from fastnn._kernels import cpu
from fastnn._kernels.cache import default_directory
from fastnn.data.sources import cache_folder


def facts() -> dict[str, str]:
    """Return names and values, in the order in which they are shown."""
    target, caches = cpu.target(), cpu.caches()
    return {
        "fastnn": f"{fastnn.__version__} in {Path(fastnn.__file__).parent}",
        "Python": f"{platform.python_version()} ({platform.system()}, {platform.machine()})",
        **{name: _version(name) for name in ("numpy", "numba", "llvmlite")},
        "CPU": _cpu(),
        "vectors": f"{8 * target.vector_bytes} bits ({target.level}, compiled for {target.name})",
        "caches": f"L1 {caches.l1 >> 10} KiB, L2 {caches.l2 >> 10} KiB, L3 {caches.l3 >> 10} KiB",
        "threads": str(fastnn.get_num_threads()),
        "backend": fastnn.backend(),
        "kernels": str(default_directory()),
        "datasets": str(cache_folder()),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()
