"""The FMA peak of one thread, as fastnn measures it, in a process of its own."""

from __future__ import annotations

import functools
import subprocess
import sys

_CODE = "from fastnn._kernels.measure import measured; print(measured(fresh=True).peak_float32 * 1e9)"


@functools.cache
def peak() -> float | None:
    """Return FLOP/s in float32; None where fastnn cannot tell."""
    done = subprocess.run([sys.executable, "-P", "-c", _CODE], capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else None
