"""Evenly spaced numbers as an op, into the shape of its input."""

from __future__ import annotations

import math

import numpy as np

from fastnn.ops.elementwise import cut
from fastnn.ops.lowering import Array, Lowering, writes
from fastnn.ops.op import Op
from fastnn.ops.philox import lies_in_order

CELLS = {"start": 0.0, "step": 1.0, "end": 0.0, "half": math.inf, "last": 0.0}
COST = 0.2  # nanoseconds an element


def _ramp(x: np.ndarray, *, start: float, step: float, end: float, half: float, last: float) -> np.ndarray:
    """``start + i * step`` for element i below `half`, ``end - (last - i) * step`` from there on.

    Only the shape and dtype of x count. Numbers are computed in float64; two halves that are counted from either end
    make both ends exact and the numbers symmetric.
    """
    place = np.arange(math.prod(x.shape))
    made = np.where(place < half, start + place * step, end + (place - last) * step)
    return made.astype(x.dtype).reshape(x.shape)


def _lower(low: Lowering, x: Array) -> Array:
    out = low.output(x.shape, x.dtype, into=lies_in_order)
    if out.size == 0:
        return out
    cost = COST * x.itemsize / 4
    block, chunks = cut(out.size, cost)
    low.phase(
        "ramp.ramp",
        [writes(out), out.size, block, *(low.cell(n) for n in CELLS)],
        chunks=chunks,
        work=out.size * cost + 50,
        block=0 if low.storages[out.storage].kind == "out" else block,
        flops=2 * out.size,
        dtype=x.dtype,
    )
    return out


ramp = Op(
    name="ramp",
    shapes="x:(*) -> y:(*)",
    reference=(_ramp, None),
    lower=(_lower, None),
    cells=CELLS,
    elementwise=True,
    cases=[
        {"*": shape, "start": -1.5, "step": 0.25, "end": 3.0, "half": half, "last": 40.0}
        for shape in [(), (1,), (7,), (15,), (33,), (3, 41), (0, 3), (5, 1000)]
        for half in (math.inf, 20.0)
    ],
    bench=[{"*": (10,)}, {"*": (1 << 20,)}],
)
