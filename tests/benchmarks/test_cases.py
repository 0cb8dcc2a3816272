"""The declared cases: what can be checked without a peer or a stopwatch."""

import numpy as np
import pytest

from benchmarks.peers.__main__ import declared
from benchmarks.peers.case import Case
from benchmarks.peers.cases.numpy_step import NumpyStep
from benchmarks.peers.cases.steps import problem

CASES = {name: case for name, (_, case) in declared().items() if isinstance(case, Case)}


def test_what_is_declared():
    assert {
        "matmul-1024",
        "step-784-128-10-b32",
        "step-4-64-64-2-b64",
        "import",
        "first-step-cached",
        "first-step-uncached",
    } <= declared().keys()
    assert {"fastnn", "torch", "numpy"} <= CASES["matmul-1024"].sides.keys()
    assert CASES["step-784-128-10-b32"].flops == 2 * 32 * (2 * 784 * 128 + 3 * 128 * 10)


def test_the_numpy_step_follows_finite_differences():
    weights, x, labels = problem((5, 4, 3), 6, 0)
    weights = [(w.astype(np.float64), b.astype(np.float64)) for w, b in weights]
    seen = []
    step = NumpyStep(weights, 0.0)
    step._update = seen.append
    loss = step(x.astype(np.float64), labels)
    at = (weights[0][0].copy(), 1e-6)
    at[0][2, 3] += at[1]
    moved = NumpyStep([(at[0], weights[0][1]), weights[1]], 0.0)(x.astype(np.float64), labels)
    assert (moved - loss) / at[1] == pytest.approx(seen[0][0][3, 2], rel=1e-4)


def test_the_numpy_step_learns():
    weights, x, labels = problem((4, 16, 2), 32, 0)
    step = NumpyStep(weights, 1e-2)
    losses = [step(x, labels) for _ in range(200)]
    assert losses[-1] < 0.2 * losses[0]
