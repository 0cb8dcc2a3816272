"""The memory that a training step needs beyond its inputs, the parameters and the optimizer's state.

The peak of the process's resident memory over ten steps, less what was resident when the model and its inputs were
there, less the bytes of the state. Before the model is made, steps of a small one load libraries and kernels and start
threads. So gradients, activations, the arena, and whatever a library keeps for itself count.
"""

from __future__ import annotations

import ctypes
import gc
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from benchmarks.peers.case import Case, Side, Unavailable, Work
from benchmarks.peers.cases.steps import TOLERANCES, WIDE, compiled_side, eager_torch_side

BATCH, STEPS = 256, 10


def _status(name: str) -> int:
    """Bytes in a line of the process's status."""
    found = re.search(rf"^{name}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


def _peak(work: Work) -> float:
    """Peak of the resident memory over some calls, beyond what was resident before."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed must not serve for what is measured
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    except (OSError, AttributeError) as error:
        raise Unavailable(f"the system does not let a process forget its peak memory ({error})") from None
    resident = _status("VmRSS")
    for _ in range(STEPS):
        work.run()
    return float(_status("VmHWM") - resident)


def weighing(small: Side, side: Side, state: int) -> Side:
    """The side, whose memory can be compared."""

    def setup(seed: int) -> Work:
        before = small.setup(seed)
        for _ in range(STEPS):
            before.run()
        work = side.setup(seed)
        return replace(work, weigh=lambda: _peak(work) - state)

    return replace(side, setup=setup)


def _case(sizes: tuple[int, ...], batch: int, bar: float) -> Case:
    state = 2 * sum(4 * (inputs + 1) * outputs for inputs, outputs in pairwise(sizes))
    small = (8, 16, 10)
    return Case(
        name=f"memory-{'-'.join(map(str, sizes))}-b{batch}",
        sides={
            "fastnn": weighing(compiled_side(small, 8), compiled_side(sizes, batch), state),
            "torch": weighing(eager_torch_side(small, 8), eager_torch_side(sizes, batch), state),
        },
        bar=bar,
        quantity="bytes",
        note="peak memory of the compiled step beyond inputs, parameters and the optimizer's state",
        **TOLERANCES,
    )


CASES = [_case(WIDE, BATCH, 1.3)]
