"""The FMA peak of one thread, as fastnn measures it, in a process of its own."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

_CODE = """
import json
from fastnn._kernels.measure import measured
found = measured(fresh=True)
print(json.dumps({"float32": found.peak_float32 * 1e9, "float64": found.peak_float64 * 1e9}))
"""


@functools.cache
def _peaks() -> dict[str, float]:
    done = subprocess.run([sys.executable, "-P", "-c", _CODE], capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def peak(dtype: str = "float32") -> float | None:
    """Return FLOP/s of an element type; None where fastnn cannot tell."""
    return _peaks().get(dtype)
