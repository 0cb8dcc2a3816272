"""Optimizer kernels against their references and against torch's formulas, over tables of segments."""

import ctypes

import numpy as np
import pytest

from fastnn._kernels import jit
from fastnn.ops import update
from fastnn.testing.phases import KERNEL, aligned

DTYPES = ("float32", "float64")
LENGTHS = (1, 7, 8, 15, 16, 17, 33, 1000)


def step(kernel, static, segments, flags, cells, chunk=1 << 40):
    """Run an optimizer kernel once over all segments, each a list of arrays."""
    table = np.array([[*(a.ctypes.data for a in s), s[0].size] for s in segments], np.int64)
    chunks = np.array(
        [[i, k, min(k + chunk, s[0].size)] for i, s in enumerate(segments) for k in range(0, s[0].size, chunk)],
        np.int64,
    )
    values = np.array(cells, np.float64)
    addresses = [values.ctypes.data + 8 * k for k in range(len(cells))]
    args = np.array([table.ctypes.data, chunks.ctypes.data, *flags, *addresses], np.int64)
    scratch = aligned(jit.SCRATCH_BYTES)
    call = KERNEL(jit.address(kernel, **static))
    for k in range(len(chunks)):
        call(ctypes.c_void_p(args.ctypes.data), k, k + 1, scratch.ctypes.data)


def segments(rng, states, dtype):
    return [
        [rng.standard_normal(n).astype(dtype) for _ in range(2)] + [np.zeros(n, dtype) for _ in range(states)]
        for n in LENGTHS
    ]


def copies(rows):
    return [[a.copy() for a in row] for row in rows]


def assert_close(ours, theirs):
    for own, other in zip(ours, theirs, strict=True):
        for a, b in zip(own, other, strict=True):
            unit = np.finfo(a.dtype).eps
            np.testing.assert_allclose(a, b, rtol=8 * unit, atol=8 * unit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize(("decay", "maximize", "decoupled"), [(0.0, 0, 0), (0.1, 0, 0), (0.1, 1, 1)])
def test_adam(dtype, amsgrad, decay, maximize, decoupled):
    rng = np.random.default_rng(0)
    ours = segments(rng, 2 + amsgrad, dtype)
    theirs = copies(ours)
    cut = copies(ours)
    for t in range(1, 6):
        cells = (1e-2, 0.9, 0.999, 1e-8, decay, 1 - 0.9**t, 1 - 0.999**t)
        static = {"dtype": dtype, "amsgrad": amsgrad}
        step("optimizer.adam", static, ours, (maximize, decoupled), cells)
        step("optimizer.adam", static, cut, (maximize, decoupled), cells, chunk=13)
        for p, g, m, v, *rest in theirs:
            update.adam_reference(p, g, m, v, rest[0] if rest else None, maximize, decoupled, *cells)
        for rows in zip(ours, theirs, cut, strict=True):
            gradient = rng.standard_normal(rows[0][0].size).astype(dtype)
            for row in rows:
                row[1][:] = gradient
    assert_close(ours, theirs)
    for own, other in zip(ours, cut, strict=True):
        for a, b in zip(own, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("momentum", "dampening", "decay", "nesterov", "maximize"),
    [(0.0, 0.0, 0.0, False, 0), (0.0, 0.0, 0.1, False, 1), (0.9, 0.1, 0.1, False, 0), (0.9, 0.0, 0.0, True, 1)],
)
def test_sgd(dtype, momentum, dampening, decay, nesterov, maximize):
    rng = np.random.default_rng(1)
    ours = segments(rng, int(momentum > 0), dtype)
    theirs = copies(ours)
    for t in range(5):
        cells = (0.1, momentum, dampening, decay, float(t > 0))
        static = {"dtype": dtype, "momentum": momentum > 0, "nesterov": nesterov}
        step("optimizer.sgd", static, ours, (maximize,), cells, chunk=100)
        for p, g, *buffer in theirs:
            update.sgd_reference(p, g, buffer[0] if buffer else None, nesterov, maximize, *cells)
    assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", ["kernels", "numpy"])
def test_updates_by_either_backend(dtype, backend):
    import fastnn

    rng = np.random.default_rng(2)
    ours, theirs = segments(rng, 2, dtype), None
    theirs = copies(ours)
    cells = (1e-3, 0.9, 0.999, 1e-8, 0.0, 0.1, 0.001)
    with fastnn.use_backend(backend):
        update.adam([a for row in ours for a in row], (0, 0), cells, dtype=np.dtype(dtype), amsgrad=False)
    for p, g, m, v in theirs:
        update.adam_reference(p, g, m, v, None, 0, 0, *cells)
    assert_close(ours, theirs)


def test_first_step_by_hand():
    """The first step of Adam moves every parameter by lr against the gradient's sign; the reference is torch's text."""
    p, g = np.zeros(3, "float64"), np.array([1e-3, -2.0, 5.0])
    rows = [[p, g, np.zeros(3), np.zeros(3)]]
    step("optimizer.adam", {"dtype": "float64", "amsgrad": False}, rows, (0, 0), (0.1, 0.9, 0.999, 1e-8, 0, 0.1, 0.001))
    np.testing.assert_allclose(p, -0.1 * g / (np.abs(g) + 1e-8), rtol=1e-12)
