"""Softmax and cross-entropy kernels against float64 references, over widths around the lanes, strides and options."""

import itertools

import numpy as np
import pytest

from fastnn import ops
from fastnn.ops import activation
from fastnn.ops.op import Saved
from fastnn.ops.terms import REDUCTIONS
from fastnn.testing.phases import Execution, lowering, symbolic

DTYPES = ("float32", "float64")
WIDTHS = (1, 2, 8, 10, 16, 17, 63, 64, 65, 300)


def layouts(x):
    yield x
    yield np.asfortranarray(x)
    yield np.repeat(x, 2, -1)[:, ::2]
    yield x[::-1, ::-1].copy()[::-1, ::-1]
    yield np.pad(x, ((0, 0), (3, 5)))[:, 3:-5]


def softmax(x, dy, log_result, axis=-1, chunk=0):
    op = activation.log_softmax if log_result else activation.softmax
    low = lowering([x])
    low.attrs = {"axis": axis}
    y = op.lower[0](low, *low.inputs)
    first = Execution(low, [x])
    first.run(chunk)
    value = first[y]
    back = lowering([dy, value])
    back.attrs, back.saved, back.shapes = {"axis": axis}, {"y": back.inputs[1]}, {"x": x.shape}
    dx = op.lower[1](back, back.inputs[0])
    second = Execution(back, [dy, value])
    second.run(chunk)
    return value, second[dx]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("log_result", [False, True])
def test_softmax(dtype, log_result):
    rng = np.random.default_rng(0)
    op = activation.log_softmax if log_result else activation.softmax
    unit = np.finfo(dtype).eps
    for width in WIDTHS:
        x, dy = (3 * rng.standard_normal((70, width)).astype(dtype) for _ in range(2))
        y, dx = softmax(x, dy, log_result)
        exact = op.reference[0](x.astype(np.longdouble))
        context = Saved({"y": exact}, {}, {}, {"axis": -1}, {})
        np.testing.assert_allclose(y, exact, rtol=30 * unit, atol=20 * unit if log_result else 0)
        scale = np.abs(dy).sum(1).max()
        np.testing.assert_allclose(dx, op.reference[1](context, dy.astype(np.longdouble)), atol=4 * unit * scale)
        for given in layouts(x):
            for value, result in zip(softmax(given, dy, log_result, chunk=1), (y, dx), strict=True):
                np.testing.assert_array_equal(value, result)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_softmax_over_other_axes(axis):
    rng = np.random.default_rng(1)
    x, dy = (rng.standard_normal((3, 5, 7)).astype("float32") for _ in range(2))
    moved = [np.moveaxis(a, axis, -1).copy() for a in (x, dy)]
    expected = softmax(*moved, True)
    for value, result in zip(softmax(x, dy, True, axis), expected, strict=True):
        # the first axis goes by columns, whose sums have another order
        np.testing.assert_allclose(np.moveaxis(value, axis, -1), result, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("log_result", [False, True])
def test_columns_depend_neither_on_layouts_nor_on_the_batch(log_result):
    rng = np.random.default_rng(2)
    x, dy = (rng.standard_normal((6, 50, 5, 8)).astype("float32") for _ in range(2))
    whole = softmax(x, dy, log_result, 1)
    for value, result in zip(softmax(x[2:3], dy[2:3], log_result, 1), whole, strict=True):
        np.testing.assert_array_equal(value, result[2:3])
    last = np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)
    for given in (last, x[::-1].copy()[::-1], np.repeat(x, 2, -1)[..., ::2]):
        for value, result in zip(softmax(given, dy, log_result, 1, chunk=1), whole, strict=True):
            np.testing.assert_array_equal(value, result)


def test_softmax_of_large_and_special_values():
    nan, inf = np.nan, np.inf
    x = np.array(
        [[1e38, 0, -1e38], [nan, 0, 1], [-inf, 0, 0], [-inf] * 3, [inf, 0, 0], [-1000, -1000, -1000]], "float32"
    )
    y, _ = softmax(x, np.ones_like(x), False)
    np.testing.assert_array_equal(y[0], [1, 0, 0])
    assert np.isnan(y[[1, 3, 4]]).any(1).all()
    np.testing.assert_allclose(y[[2, 5]], [[0, 0.5, 0.5], [1 / 3] * 3], rtol=1e-6)


def cross_entropy(x, target, weight, attrs, dloss, chunk=0):
    low = lowering([x, target, weight])
    low.attrs = attrs
    outputs = ops.cross_entropy.lower[0](low, *low.inputs)
    first = Execution(low, [x, target, weight])
    first.run(chunk)
    value, stats, total = (first[o] for o in outputs)
    arrays = [dloss, x, target, weight, stats, total]
    back = lowering(arrays)
    back.attrs = attrs
    names = ("input", "target", "weight", "stats", "total")
    back.saved = {n: a for n, a in zip(names, back.inputs[1:], strict=True) if a is not None}
    dx = ops.cross_entropy.lower[1](back, back.inputs[0])[0]
    second = Execution(back, arrays)
    second.run(chunk)
    return value, second[dx]


OPTIONS = list(itertools.product(REDUCTIONS, (0.0, 0.1, 1.0), (False, True)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("reduction", "smoothing", "weighted"), OPTIONS)
def test_cross_entropy(dtype, reduction, smoothing, weighted):
    rng = np.random.default_rng(2)
    attrs = {"reduction": reduction, "ignore_index": -100, "label_smoothing": smoothing}
    unit = np.finfo(dtype).eps
    for (rows, width), labels in zip([(1, 1), (5, 3), (130, 10), (70, 17), (3, 1000)], ["int64", "int32"] * 3):  # noqa: B905
        x = (4 * rng.standard_normal((rows, width))).astype(dtype)
        target = rng.integers(0, width, rows).astype(labels)
        if rows > 1:
            target[::4] = -100
        weight = rng.uniform(0.5, 1.5, width).astype(dtype) if weighted else None
        dloss = np.asarray(rng.standard_normal(rows if reduction == "none" else ()).astype(dtype))
        value, dx = cross_entropy(x, target, weight, attrs, dloss)
        wide = None if weight is None else weight.astype(np.longdouble)
        exact, stats, total = ops.cross_entropy.reference[0](x.astype(np.longdouble), target, wide, **attrs)
        saved = {"input": x.astype(np.longdouble), "target": target, "weight": wide, "stats": stats, "total": total}
        exact_dx = ops.cross_entropy.reference[1](Saved(saved, {}, {}, attrs, {}), dloss.astype(np.longdouble))[0]
        np.testing.assert_allclose(value, exact, rtol=30 * unit, atol=30 * unit)
        np.testing.assert_allclose(dx, exact_dx, rtol=60 * unit, atol=30 * unit)
        for given in layouts(x):
            pieces = cross_entropy(given, np.repeat(target, 2)[::2], weight, attrs, dloss, chunk=1)
            np.testing.assert_array_equal(pieces[0], value)
            np.testing.assert_array_equal(pieces[1], dx)


def test_all_ignored():
    x, target = np.ones((4, 3), "float32"), np.full(4, -100)
    for reduction, expected in (("mean", np.nan), ("sum", 0.0)):
        attrs = {"reduction": reduction, "ignore_index": -100, "label_smoothing": 0.0}
        value, dx = cross_entropy(x, target, None, attrs, np.asarray(np.float32(1)))
        np.testing.assert_array_equal(value, expected)
        np.testing.assert_array_equal(dx, 0)


@pytest.mark.parametrize("labels", ["int32", "int64"])
@pytest.mark.parametrize("backend", ["kernels", "numpy"])
def test_labels_out_of_range(labels, backend):
    import fastnn

    x = np.zeros((5, 3), "float32")
    for bad in (3, -1, -99, 2**31 - 1):
        target = np.array([0, 2, bad, 1, bad], labels)
        with fastnn.use_backend(backend), pytest.raises(IndexError, match=f"labels from 0 to 2 .* got {bad} at 2"):
            ops.cross_entropy(x, target)


def test_results_of_the_op():
    x = np.array([[1.0, 2.0, 3.0]], "float32")
    assert ops.cross_entropy(x, np.array([2])).shape == ()
    assert ops.cross_entropy(x, np.array([2]), reduction="none").shape == (1,)
    assert symbolic(x, 0).rows().shape == (1, 3)
    with pytest.raises(ValueError, match="reduction must be one of"):
        ops.cross_entropy(x, np.array([2]), reduction="average")
