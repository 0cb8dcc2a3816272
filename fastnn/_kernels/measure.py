"""What one core of this machine reaches: its multiply-add peak and its memory bandwidth, measured by kernels.

Measured at the first question, in less than a second, and kept in the cache. A busy machine measures low: ask again
with ``fresh=True``; the better figure is kept.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fastnn._kernels import cache, cpu, jit

_CHUNKS = 500_000  # of the peak kernel: a few milliseconds
_CHAINS = 12  # as in `probe`, which only the compile helper imports


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of one thread.

    Attributes
    ----------
    peak_float32, peak_float64 : multiply-add peak, in GFLOP/s.
    bandwidth : of ``y += a * x`` over arrays larger than the second-level cache, in GB/s, two reads and one write
        counted for each element.
    stream_bytes : size of the two arrays together; where the last cache is larger, this is that cache's bandwidth.
    """

    peak_float32: float
    peak_float64: float
    bandwidth: float
    stream_bytes: int


_Kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


def _best_seconds(run: Callable[[], None], rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def _peak(dtype: str) -> float:
    function = _Kernel(jit.address("probe.peak", dtype=dtype))
    out = np.zeros(64, dtype)
    args = np.array([out.ctypes.data])
    seconds = _best_seconds(lambda: function(args.ctypes.data, 0, _CHUNKS, None), 12)
    return 2 * _CHAINS * cpu.target().lanes(dtype) * _CHUNKS / seconds / 1e9


def _bandwidth(nbytes: int) -> float:
    function = _Kernel(jit.address("probe.axpy", dtype="float32"))
    x, y = np.ones((2, nbytes // 8), np.float32)
    alpha = np.array(0.5)
    args = np.array([x.ctypes.data, y.ctypes.data, x.size, alpha.ctypes.data])
    seconds = _best_seconds(lambda: function(args.ctypes.data, 0, 1, None), 4)
    return 3 * x.nbytes / seconds / 1e9


def _machine() -> str:
    """What tells one machine from another that shares the cache directory."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        model = next((line for line in text.splitlines() if line.startswith("model name")), "")
    except OSError:
        model = ""
    return f"{cpu.target()} {cpu.caches()} {model} {os.cpu_count()}"


_known: Measured | None = None


def measured(fresh: bool = False) -> Measured:
    """The figures of this machine; `fresh` measures again and keeps the better of old and new."""
    global _known
    name = "measured-" + hashlib.sha256(_machine().encode()).hexdigest()[:32]
    if _known is None:
        saved = cache.shared().load(name)
        _known = Measured(**json.loads(saved)) if saved is not None else None
    if _known is None or fresh:
        kernels = (("probe.peak", "float32"), ("probe.peak", "float64"), ("probe.axpy", "float32"))
        jit.prepare([(name, {"dtype": dtype}) for name, dtype in kernels])
        stream = min(max(4 * cpu.caches().l3, 64 << 20), 128 << 20)
        new = Measured(_peak("float32"), _peak("float64"), _bandwidth(stream), stream)
        if _known is not None:
            best = {figure: max(value, asdict(_known)[figure]) for figure, value in asdict(new).items()}
            new = Measured(**best)
        _known = new
        cache.shared().save(name, json.dumps(asdict(new)).encode())
    return _known
