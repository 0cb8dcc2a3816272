"""``fastnn info``: what a report of a problem should contain."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from pathlib import Path

import fastnn
from fastnn.data.sources import cache_folder


def facts() -> dict[str, str]:
    """Return names and values, in the order in which they are shown."""
    return {
        "fastnn": f"{fastnn.__version__} in {Path(fastnn.__file__).parent}",
        "Python": f"{platform.python_version()} ({platform.system()}, {platform.machine()})",
        **{name: _version(name) for name in ("numpy", "numba", "llvmlite")},
        "CPU": _cpu(),
        "threads": str(fastnn.get_num_threads()),
        "backend": fastnn.backend(),
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
