"""Sums over axes: the stated error, the same bits for every layout, chunk and way of cutting."""

import itertools

import numpy as np
import pytest

from fastnn._kernels.reduction import FOLDS
from fastnn.ops import reduction
from fastnn.ops.reduction import Plan, column_sum, reduce_axes, sum_axes, sum_to
from fastnn.testing.phases import Execution, lowering, run

DTYPES = ("float32", "float64")


def total(x, axes, divisor=1, chunk=0, backwards=False):
    low = lowering([x])
    kept = tuple(n for a, n in enumerate(x.shape) if a not in axes)
    y = sum_axes(low, low.inputs[0], axes, low.output(kept, str(x.dtype)), divisor)
    execution = Execution(low, [x])
    execution.run(chunk, backwards=backwards)
    return execution[y]


def bound(x, axes):
    """The error that fastnn._kernels.reduction states: (22 + log2 of the blocks) u sum|x|."""
    length = max(1, int(np.prod([x.shape[a] for a in axes])))
    additions = 22 + np.ceil(np.log2(max(1, length / 32)))
    return additions * np.finfo(x.dtype).eps / 2 * np.abs(x.astype(np.longdouble)).sum(axes)


SHAPES = [(n,) for n in (0, 1, 15, 16, 17, 63, 64, 65, 1023, 1024, 1025, 200_001)]
SHAPES += [(128, 10), (33, 700), (3000, 5), (20_000, 3), (4, 5, 6, 7), (2, 3, 40, 50), (3, 0, 4), (7, 1, 1), (1, 1), ()]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sum(shape, dtype):
    rng = np.random.default_rng(0)
    x = np.asarray(rng.standard_normal(shape)).astype(dtype)
    for count in range(len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            y = total(x, axes)
            exact = x.astype(np.longdouble).sum(axes)
            assert y.shape == exact.shape
            assert (np.abs(y - exact) <= bound(x, axes)).all()
            np.testing.assert_array_equal(total(x, axes, chunk=1, backwards=True), y)


@pytest.mark.parametrize("shape", [(37, 130), (3, 50, 21), (2, 3, 4, 300)], ids=str)
def test_layouts_give_the_same_bits(shape):
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape).astype("float32")
    wide = np.repeat(np.repeat(x, 2, 0), 3, -1)
    others = [
        np.asfortranarray(x),
        x[::-1, ..., ::-1].copy()[::-1, ..., ::-1],
        wide[::2, ..., ::3],
        np.moveaxis(np.moveaxis(x, 0, -1).copy(), -1, 0),
    ]
    for count in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            y = total(x, axes)
            for other in others:
                np.testing.assert_array_equal(other, x)
                np.testing.assert_array_equal(total(other, axes), y)


def reduced(x, axes, fold, center=None, chunk=0, backwards=False):
    """The result of a fold, and how its phases go about it."""
    arrays = [x] if center is None else [x, center]
    low = lowering(arrays)
    kept = tuple(n for a, n in enumerate(x.shape) if a not in axes)
    plan = Plan(fold, 3, "root" if fold == "deviations" else "", None if center is None else low.inputs[1])
    y = reduce_axes(low, low.inputs[0], axes, low.output(kept, str(x.dtype)), plan)
    execution = Execution(low, arrays)
    execution.run(chunk, backwards=backwards)
    return execution[y], {name for phase in low.phases for name, _ in phase.static} & {"lanes", "turn"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fold", ["sum", "deviations", "exponentials", "product", "max"])
@pytest.mark.parametrize(
    ("shape", "order", "axes", "way"),
    [
        ((9, 1130), (1, 0), (1,), "lanes"),  # a block and a part of one
        ((1030, 8), (1, 0), (1,), "lanes"),
        ((2, 7, 5, 66), (0, 3, 1, 2), (0, 2, 3), "lanes"),  # images whose channels lie side by side
        ((2, 70, 5, 9), (0, 3, 1, 2), (2, 3), "lanes"),
        ((70, 68), (1, 0), (0,), "turn"),
        ((1030, 9), (1, 0), (0,), "turn"),
        ((13, 5, 79), (1, 2, 0), (0, 1), "turn"),  # runs shorter and longer than a block of rows
        ((600, 1, 8), (1, 2, 0), (0, 1), "turn"),
    ],
    ids=str,
)
def test_what_lies_across_gives_the_bits_of_its_copy(shape, order, axes, way, fold, dtype):
    rng = np.random.default_rng(8)
    x = rng.standard_normal(shape).astype(dtype).transpose(order)
    x[rng.random(x.shape) < 0.01] = 0
    center = None
    if FOLDS[fold].centered:
        center = np.ascontiguousarray(x.max(axes) if "exp" in fold else x.mean(axes))
    expected, none = reduced(np.ascontiguousarray(x), axes, fold, center)
    assert not none
    for chunk, backwards in ((0, False), (1, True)):
        y, ways = reduced(x, axes, fold, center, chunk, backwards)
        assert ways == {way}
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("way", ["lanes", "turn"])
def test_what_lies_across_is_cut_without_changing_a_bit(way, monkeypatch):
    x = np.random.default_rng(9).standard_normal((40_000, 11) if way == "lanes" else (11, 40_000)).astype("float32").T
    axes = (1,) if way == "lanes" else (0,)
    monkeypatch.setattr(reduction, "SEGMENT", 1 << 40)
    whole = total(x, axes)
    np.testing.assert_array_equal(total(np.ascontiguousarray(x), axes), whole)
    for segment in (1, 1 << 13):
        monkeypatch.setattr(reduction, "SEGMENT", segment)
        np.testing.assert_array_equal(total(x, axes, chunk=1, backwards=True), whole)


@pytest.mark.parametrize("shape", [(5000,), (5000, 3), (300_000,), (100_000, 2)], ids=str)
def test_cutting_changes_no_bit(shape, monkeypatch):
    x = np.random.default_rng(2).standard_normal(shape).astype("float32")
    monkeypatch.setattr(reduction, "SEGMENT", 1 << 40)
    whole = total(x, (0,))
    for segment in (1, 1 << 12, 1 << 13, 1 << 16):
        monkeypatch.setattr(reduction, "SEGMENT", segment)
        np.testing.assert_array_equal(total(x, (0,)), whole)


def test_order_does_not_depend_on_the_batch():
    x = np.random.default_rng(3).standard_normal((50, 9, 333)).astype("float32")
    np.testing.assert_array_equal(total(x, (2,))[:1], total(x[:1], (2,)))
    np.testing.assert_array_equal(total(x, (1,))[:1], total(x[:1], (1,)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_mean_divides_once(dtype):
    x = np.random.default_rng(4).integers(-9, 9, (7, 50)).astype(dtype)
    np.testing.assert_array_equal(total(x, (0,), 7), x.sum(0) / x.dtype.type(7))
    np.testing.assert_array_equal(total(x, (0, 1), 350), x.sum() / x.dtype.type(350))
    assert np.isnan(total(np.zeros((2, 0), dtype), (1,), 0)).all()


@pytest.mark.parametrize("shape", [(128, 10), (1, 1), (37, 513), (1024, 1024), (0, 3), (5, 0)], ids=str)
def test_column_sum(shape):
    x = np.random.default_rng(5).integers(-9, 9, shape).astype("float32")
    for given in (x, np.asfortranarray(x)):
        low = lowering([given])
        y = column_sum(low, low.inputs[0], low.output(shape[1:], "float32"))
        np.testing.assert_array_equal(run(low, [given])[y], x.sum(0))


def test_sum_to_undoes_broadcasting():
    x = np.random.default_rng(6).integers(-9, 9, (3, 4, 5)).astype("float64")
    for shape, expected in (
        ((3, 4, 5), x),
        ((5,), x.sum((0, 1))),
        ((4, 1), x.sum((0, 2)).reshape(4, 1)),
        ((1, 4, 5), x.sum(0, keepdims=True)),
        ((), x.sum()),
    ):
        low = lowering([x])
        y = sum_to(low, low.inputs[0], shape)
        np.testing.assert_array_equal(run(low, [x])[y], expected)


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (2, 0, 3), (0, 0), (4, 3, 0, 2)], ids=str)
def test_empty_sums(shape):
    for x in (np.zeros(shape, "float32"), np.zeros([2 * n + 1 for n in shape], "float32")):
        x = x[tuple(slice(1, None, 2) for _ in shape)] if x.size else x
        for count in range(1, len(shape) + 1):
            for axes in itertools.combinations(range(len(shape)), count):
                np.testing.assert_array_equal(total(x, axes), x.sum(axes))


def test_special_values():
    nan, inf = np.nan, np.inf
    x = np.array([[1, inf, 2], [nan, 1, 1], [inf, -inf, 0]], "float32")
    np.testing.assert_array_equal(total(x, (1,)), [inf, nan, nan])
    np.testing.assert_array_equal(total(x, (0,)), [nan, nan, 3])
