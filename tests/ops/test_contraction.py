"""How contractions become batches of products: every way gives the same bits, and none copies without need."""

import importlib
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from fastnn.ops import matrices
from fastnn.ops.contraction import contract
from fastnn.ops.matrices import batched
from fastnn.testing.phases import lowering, run
from fastnn.testing.samples import relaid

CASES = [
    ("bik", "bkj", "bij"),
    ("ijk", "lkj", "il"),
    ("kji", "kjl", "li"),
    ("aibj", "jci", "cab"),
    ("bijc", "cijd", "bd"),
    ("abk", "kcd", "acbd"),
    ("bik", "kj", "ijb"),
    ("kij", "bkj", ""),
    ("bijk", "kij", "b"),
    ("ij", "jk", "ik"),
]
SIZES = {"a": 3, "b": 4, "c": 5, "d": 2, "i": 6, "j": 7, "k": 3, "l": 17}


def operands(case, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal([SIZES[n] for n in labels]).astype(dtype) for labels in case[:2]]


def result(case, arrays, **options):
    """The contraction of arrays and the kernels that it took."""
    low = lowering(arrays)
    z = contract(low, (low.inputs[0], case[0]), (low.inputs[1], case[1]), case[2], **options)
    return run(low, arrays)[z].copy(), [phase.kernel for phase in low.phases]


def copies(kernels):
    return kernels.count("elementwise.map")


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_every_way_gives_the_same_bits(case, monkeypatch):
    arrays = operands(case)
    exact = np.einsum(f"{case[0]},{case[1]}->{case[2]}", *(x.astype("float64") for x in arrays))
    expected, _ = result(case, arrays)
    np.testing.assert_allclose(expected, exact, rtol=1e-4, atol=1e-4)
    rng = np.random.default_rng(1)
    layouts = [arrays, *([relaid(x, rng) for x in arrays] for _ in range(6))]
    taken = set()
    # copies for nothing; steps for nothing; a result in whatever order is cheapest
    for costs in ({}, {"COPY_NS": 0, "GATHER_NS": 0, "MOST_STEPS": 0}, {"COPY_NS": 1e9, "GATHER_NS": 1e9}):
        for free in (False, True):
            with monkeypatch.context() as patch:
                for name, value in costs.items():
                    patch.setattr(matrices, name, value)
                for own in layouts:
                    got, kernels = result(case, own, free=free)
                    np.testing.assert_array_equal(got, expected)
                    taken.add((copies(kernels) > 0, kernels.count("matmul.product.product") > 1))
    if len((set(case[0]) & set(case[1])) - set(case[2])) > 1 and len(case[2]) > 1:
        assert {(True, False), (False, True)} <= taken


def test_outer_contracted_axes_become_steps_where_copies_are_dear(monkeypatch):
    monkeypatch.setattr(matrices, "GATHER_NS", 1e9)
    monkeypatch.setattr(matrices, "COPY_NS", 1e9)
    case = ("ijk", "lkj", "il")
    _, kernels = result(case, operands(case))
    assert copies(kernels) == 0
    assert kernels.count("matmul.product.product") == SIZES["j"]


def test_one_column_never_takes_steps():
    case = ("bijk", "kij", "b")
    _, kernels = result(case, operands(case))
    assert kernels.count("matmul.product.product") == 1


@pytest.mark.parametrize(
    ("shape", "way"),
    [
        ((6, 5, 4), lambda x: x.transpose(1, 0, 2)),
        ((6, 5, 4), lambda x: x[:, ::-1]),
        ((6, 10, 4), lambda x: x[:, ::2]),
        ((6, 5, 1), partial(np.broadcast_to, shape=(6, 5, 4))),
    ],
)
def test_linear_copies_no_operand_whose_rows_do_not_fold(shape, way):
    x = way(np.random.default_rng(0).standard_normal(shape).astype("float32"))
    w = np.random.default_rng(1).standard_normal((3, x.shape[-1])).astype("float32")
    op = importlib.import_module("fastnn.ops.linear").linear
    low = lowering([x, w, None])
    y = op.lower[0](low, *low.inputs)
    assert copies([phase.kernel for phase in low.phases]) == 0
    np.testing.assert_allclose(run(low, [x, w, None])[y], x @ w.T, rtol=1e-4, atol=1e-5)


def test_a_batch_of_y_that_x_lacks_is_no_copy_and_its_gradient_is_no_batch():
    op = importlib.import_module("fastnn.ops.matmul").matmul
    x, y, dz = (np.ones(s, "float32") for s in ((64, 128), (5, 128, 96), (5, 64, 96)))
    low = lowering([x, y])
    op.lower[0](low, *low.inputs)
    assert copies([phase.kernel for phase in low.phases]) == 0
    back = lowering([dz, x, y])
    back.saved, back.needs = {"x": back.inputs[1], "y": back.inputs[2]}, {"x": True, "y": False}
    dx, _ = op.lower[1](back, back.inputs[0])
    assert dx.shape == (64, 128)
    assert max(s.nbytes for s in back.storages) < 2 * dx.size * 4  # a batch of gradients would take 5 times theirs
    np.testing.assert_array_equal(run(back, [dz, x, y])[dx], np.full((64, 128), 480))


def test_rows_of_a_folded_batch_are_one_product():
    x, y = np.ones((6, 5, 4), "float32"), np.ones((4, 3), "float32")
    op = importlib.import_module("fastnn.ops.matmul").matmul
    low = lowering([x, y])
    op.lower[0](low, *low.inputs)
    assert [phase.kernel for phase in low.phases] == ["matmul.product.product"]


@pytest.mark.parametrize("extra", ["bias", "scale", "accumulate"])
def test_batches_that_are_summed(extra):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 2, 5, 4)), rng.standard_normal((3, 2, 4, 6))
    bias, start = rng.standard_normal(6), rng.standard_normal((3, 5, 6))
    low = lowering([a, b, bias, start])
    c = low.output((3, 5, 6), "float64") if extra != "accumulate" else low.inputs[3]
    summed = replace(c, shape=(3, 2, 5, 6), strides=(30, 0, 6, 1))
    given = {"bias": low.inputs[2]} if extra == "bias" else {"scale": low.cell("alpha")} if extra == "scale" else {}
    batched(low, *low.inputs[:2], summed, accumulate=extra == "accumulate", **given)
    got = run(low, [a, b, bias, start.copy()], {"alpha": -1.5})[c]
    total = (a @ b).sum(axis=1)
    expected = {"bias": total + bias, "scale": -1.5 * total, "accumulate": total + start}[extra]
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
