"""What is known of the CPU: the target that kernels are compiled for, cache sizes, measured peak and bandwidth.

``FASTNN_CPU`` chooses the target: ``native`` (the default), or a level that this CPU has, to test the kernels of
lesser machines: ``avx512``, ``avx2``, ``generic`` (the architecture's baseline).
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_X86 = ("x86_64", "amd64")
_ARM = ("aarch64", "arm64")
# LLVM prefers 256-bit vectors on CPUs whose clock fell under 512-bit ones. Our kernels choose their own width, and
# loops that LLVM vectorises gain from 512 bits: docs/decisions/vector-width.md
_TUNING = "-prefer-256-bit"


class _Level(NamedTuple):
    """A row of `_LEVELS`: LLVM's CPU and features beyond it, what the host must have, then as in `Target`."""

    name: str
    features: str
    needs: tuple[str, ...]
    vector_bytes: int
    registers: int
    fma: bool = True


# For each architecture the names of FASTNN_CPU, widest first.
_LEVELS = {
    "x86": {
        "avx512": _Level("x86-64-v4", _TUNING, ("avx512f", "avx512dq", "avx512bw", "avx512vl"), 64, 32),
        "avx2": _Level("x86-64-v3", "", ("avx2", "fma"), 32, 16),
        "generic": _Level("x86-64", "", (), 16, 16, fma=False),
    },
    "arm": {"generic": _Level("generic", "+neon", (), 16, 32)},
    "other": {"generic": _Level("generic", "", (), 16, 16)},
}
# Whose assembly the tests read, wherever they run.
_TRIPLES = {"x86": "x86_64-unknown-linux-gnu", "arm": "aarch64-unknown-linux-gnu"}


@dataclass(frozen=True, slots=True)
class Target:
    """What code is generated for.

    Attributes
    ----------
    level : ``"avx512"``, ``"avx2"`` or ``"generic"``: the widest vectors that the target has.
    name : LLVM's name of the CPU.
    features : LLVM's feature string, such as ``"+avx2,+fma,-avx512f"``.
    vector_bytes : bytes of a vector register.
    registers : number of vector registers.
    fma : whether a fused multiply-add is one instruction.
    triple : LLVM's name of the platform.
    """

    level: str
    name: str
    features: str
    vector_bytes: int
    registers: int
    fma: bool
    triple: str

    def lanes(self, dtype: str) -> int:
        """Elements of ``"float32"`` or ``"float64"`` in a vector register."""
        return self.vector_bytes // (8 if dtype == "float64" else 4)


def _architecture() -> str:
    import platform

    machine = platform.machine().lower()
    return "x86" if machine in _X86 else "arm" if machine in _ARM else "other"


def triple() -> str:
    """LLVM's name of this platform; MCJIT wants ELF objects on Windows."""
    import llvmlite.binding as llvm

    name: str = llvm.get_process_triple()
    return name + "-elf" if os.name == "nt" else name


_instead: ContextVar[Target | None] = ContextVar("target", default=None)


def target() -> Target:
    """What to plan and to compile for: the process's own target, except inside `targeting`."""
    return _instead.get() or own()


@contextmanager
def targeting(target: Target) -> Iterator[None]:
    """Plan and compile for another target, in this thread, while the context lasts.

    Phases that were planned for other vectors run here all the same, for their width is a parameter of their kernels
    (``dataclasses.replace(cpu.target(), vector_bytes=64, registers=32)``). Kernels for another machine do not:
    `jit.compile_for` makes them.
    """
    token = _instead.set(target)
    try:
        yield
    finally:
        _instead.reset(token)


def known(architecture: str, level: str) -> Target:
    """The target of a Linux machine, any: architecture ``"x86"`` or ``"arm"``, level as for ``FASTNN_CPU``."""
    name, features, _, vector_bytes, registers, fma = _LEVELS[architecture][level]
    return Target(level, name, features, vector_bytes, registers, fma, _TRIPLES[architecture])


@functools.cache
def own() -> Target:
    """The target of this process; ValueError if ``FASTNN_CPU`` names none that this CPU can run."""
    import llvmlite.binding as llvm

    architecture = _architecture()
    levels = _LEVELS[architecture]
    try:
        host = llvm.get_host_cpu_features()
    except RuntimeError:  # LLVM cannot tell on this platform
        host = {}
    able = [level for level, row in levels.items() if all(host.get(need) for need in row.needs)]
    wanted = os.environ.get("FASTNN_CPU", "").strip().lower() or "native"
    if wanted not in ("native", *able):
        problem = "this CPU cannot run it" if wanted in levels else "no such target"
        raise ValueError(f"FASTNN_CPU={wanted}: {problem}; it takes {', '.join(['native', *able])}")
    level = able[0] if wanted == "native" else wanted
    name, features, _, vector_bytes, registers, fma = levels[level]
    if wanted == "native":
        name = llvm.get_host_cpu_name()
        features = llvm.FeatureMap(host).flatten() + ("," + _TUNING if level == "avx512" else "")
    return Target(level, name, features, vector_bytes, registers, fma, triple())


@dataclass(frozen=True, slots=True)
class Caches:
    """Bytes of the data caches that one core sees: its own first and second level, the last level with all sharers."""

    l1: int
    l2: int
    l3: int


@functools.cache
def caches() -> Caches:
    """Data cache sizes as the system reports them; cautious guesses where it does not."""
    found = _macos_caches() if sys.platform == "darwin" else _linux_caches(Path("/sys/devices/system/cpu/cpu0/cache"))
    l1 = found.get(1) or 32 << 10
    l2 = found.get(2) or 512 << 10
    return Caches(l1, l2, max(found.get(3) or 8 << 20, l2))


def _linux_caches(root: Path) -> dict[int, int]:
    """Level to bytes from sysfs; what cannot be read is left out."""
    sizes: dict[int, int] = {}
    for index in sorted(root.glob("index*")):
        try:
            kind, level, size = ((index / part).read_text().strip() for part in ("type", "level", "size"))
        except OSError:
            continue
        match = re.fullmatch(r"(\d+)([KMG]?)", size)
        if kind != "Instruction" and match:
            sizes[int(level)] = int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]]
    return sizes


def _macos_caches() -> dict[int, int]:
    """Level to bytes from sysctl, for the fast cores."""
    import subprocess

    sizes: dict[int, int] = {}
    for level, key in ((1, "l1dcachesize"), (2, "l2cachesize")):
        for name in (f"hw.perflevel0.{key}", f"hw.{key}"):
            answer = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, check=False)
            if answer.stdout.strip().isdigit():
                sizes[level] = int(answer.stdout)
                break
    return sizes
