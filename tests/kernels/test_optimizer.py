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


def assert_close(ours, theirs, units=8):
    for own, other in zip(ours, theirs, strict=True):
        for a, b in zip(own, other, strict=True):
            unit = np.finfo(a.dtype).eps
            np.testing.assert_allclose(a, b, rtol=units * unit, atol=units * unit)


BETAS = (0.9, 0.99)
# update, static parameters, flags, and the cells at step t
RULES = [
    *(
        ("sgd", {"momentum": m > 0, "nesterov": n}, (k,), lambda t, m=m, d=d, w=w: (0.1, m, d, w, float(t > 1)))
        for m, d, w, n, k in [
            (0.0, 0.0, 0.0, False, 0), (0.0, 0.0, 0.1, False, 1), (0.9, 0.1, 0.1, False, 0), (0.9, 0.0, 0.0, True, 1)
        ]
    ),
    *(
        ("adam", {"amsgrad": a}, f, lambda t, w=w: (1e-2, 0.9, 0.999, 1e-8, w, 1 - 0.9**t, 1 - 0.999**t))
        for a in (False, True)
        for w, f in [(0.0, (0, 0)), (0.1, (0, 0)), (0.1, (1, 1))]
    ),
    *(
        ("nadam", {}, f, lambda t: (1e-2, *BETAS, 1e-8, 0.1, 1 - 0.99**t, 0.5, 0.55, 0.5**t))
        for f in [(0, 0), (1, 1)]
    ),
    *(
        ("radam", {}, f, lambda t, r=r: (1e-2, *BETAS, 1e-8, 0.1, 1 - 0.9**t, 1 - 0.99**t, r))
        for f, r in [((0, 0), 0.0), ((1, 1), 0.3)]
    ),
    *(("adamax", {}, (k,), lambda t: (1e-2, *BETAS, 1e-8, 0.1, 1 - 0.9**t)) for k in (0, 1)),
    *(
        ("rmsprop", {"momentum": m > 0, "centered": c}, (k,), lambda t, m=m: (1e-2, 0.9, 1e-8, 0.1, m))
        for m, c, k in [(0.0, False, 0), (0.9, False, 1), (0.0, True, 1), (0.5, True, 0)]
    ),
    *(("adagrad", {}, (k,), lambda t: (1e-2, 0.1, 1e-10, 0.1, float(t))) for k in (0, 1)),
    *(("adadelta", {}, (k,), lambda t: (1.0, 0.9, 1e-6, 0.1)) for k in (0, 1)),
    *(("rprop", {}, (k,), lambda t: (0.5, 1.2, 1e-6, 50.0)) for k in (0, 1)),
    *(("asgd", {}, (k,), lambda t: (0.1 / t, 1.0 if t < 3 else 0.5, 1e-2, 0.1)) for k in (0, 1)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r[0]}-{r[1]}-{r[2]}")
def test_against_the_reference(rule, dtype):
    name, static, flags, cells = rule
    declared = getattr(update, name)
    rng = np.random.default_rng(0)
    ours = segments(rng, len(declared.columns_for(static)) - 2, dtype)
    if name == "rprop":
        for row in ours:
            row[3][:] = 0.01
    theirs, cut = copies(ours), copies(ours)
    for t in range(1, 6):
        step(declared.kernel, {"dtype": dtype, **static}, ours, flags, cells(t))
        step(declared.kernel, {"dtype": dtype, **static}, cut, flags, cells(t), chunk=13)
        for row in theirs:
            declared.reference(*row, *flags, *cells(t), **static)
        for rows in zip(ours, theirs, cut, strict=True):
            gradient = rng.standard_normal(rows[0][0].size).astype(dtype)
            for row in rows:
                row[1][:] = gradient
    assert_close(ours, theirs, 64 if name in ("adadelta", "rmsprop") else 16)
    for own, other in zip(ours, cut, strict=True):
        for a, b in zip(own, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", ["kernels", "numpy"])
def test_updates_by_either_backend(dtype, backend):
    import fastnn

    rng = np.random.default_rng(2)
    ours = segments(rng, 2, dtype)
    theirs = copies(ours)
    cells = (1e-3, 0.9, 0.999, 1e-8, 0.0, 0.1, 0.001)
    with fastnn.use_backend(backend):
        update.adam([a for row in ours for a in row], (0, 0), cells, dtype=np.dtype(dtype), amsgrad=False)
    for row in theirs:
        update.adam.reference(*row, 0, 0, *cells, amsgrad=False)
    assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight", [0.0, 1e-3, 0.49, 0.5, 0.9, 1.0])
def test_average(dtype, weight):
    rng = np.random.default_rng(3)
    ours = [row[:2] for row in segments(rng, 0, dtype)]
    theirs = copies(ours)
    step("optimizer.average", {"dtype": dtype}, ours, (), (weight,))
    for mean, p in theirs:
        update.average.reference(mean, p, weight)
    assert_close(ours, theirs)
    if weight in (0.0, 1.0):
        for (mean, p), (before, _) in zip(ours, segments(np.random.default_rng(3), 0, dtype), strict=True):
            np.testing.assert_array_equal(mean, p if weight else before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_centred_rmsprop_survives_a_variance_that_rounds_below_zero(dtype):
    rows = [[np.zeros(64, dtype), np.full(64, 0.1, dtype), np.zeros(64, dtype), np.zeros(64, dtype)]]
    theirs = copies(rows)
    for _ in range(400):
        flags, cells = (0,), (1e-6, 0.5, 1e-2, 0.0, 0.0)
        step("optimizer.rmsprop", {"dtype": dtype, "momentum": False, "centered": True}, rows, flags, cells)
        update.rmsprop.reference(*theirs[0], *flags, *cells, momentum=False, centered=True)
    for row in (*rows, *theirs):
        assert all(np.isfinite(a).all() for a in row)


def test_rprop_keeps_nan_apart():
    rows = [[np.zeros(3), np.array([np.nan, 1.0, -1.0]), np.array([1.0, 1.0, 1.0]), np.full(3, 0.1)]]
    step("optimizer.rprop", {"dtype": "float64"}, rows, (0,), (0.5, 1.2, 1e-6, 50.0))
    p, _, before, size = rows[0]
    np.testing.assert_allclose(p, [np.nan, -0.12, 0.0])
    np.testing.assert_allclose(before, [np.nan, 1.0, 0.0])
    np.testing.assert_allclose(size, [np.nan, 0.12, 0.05])


def test_first_step_by_hand():
    """The first step of Adam moves every parameter by lr against the gradient's sign; the reference is torch's text."""
    p, g = np.zeros(3, "float64"), np.array([1e-3, -2.0, 5.0])
    rows = [[p, g, np.zeros(3), np.zeros(3)]]
    step("optimizer.adam", {"dtype": "float64", "amsgrad": False}, rows, (0, 0), (0.1, 0.9, 0.999, 1e-8, 0, 0.1, 0.001))
    np.testing.assert_allclose(p, -0.1 * g / (np.abs(g) + 1e-8), rtol=1e-12)
