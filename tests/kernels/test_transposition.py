"""Copies that transpose, against NumPy: edges of tiles, outer axes, steps, chunks."""

import numpy as np
import pytest

from fastnn.ops.elementwise import apply, transposes
from fastnn.testing.phases import lowering, run

DTYPES = ("float32", "float64")


def copied(x, order=None):
    low = lowering([x])
    out = low.output(x.shape, str(x.dtype), order)
    apply(low, "copy", out, low.inputs[0])
    return low, run(low, [x])[out]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [8, 9, 15, 16, 17, 31, 33, 70])
@pytest.mark.parametrize("columns", [8, 9, 15, 16, 17, 33])
def test_edges_of_tiles(rows, columns, dtype):
    x = np.random.default_rng(0).standard_normal((columns, rows)).astype(dtype).T
    low, found = copied(x)
    assert [phase.kernel for phase in low.phases] == ["transposition.copy"]
    np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_outer_axes_and_steps(dtype):
    rng = np.random.default_rng(1)
    big = rng.standard_normal((11, 40, 5, 37)).astype(dtype)
    for x in (
        big.transpose(0, 3, 2, 1),
        big.transpose(3, 0, 1, 2),
        big[:, ::2].transpose(0, 3, 2, 1),
        big[::-1, ::-1].transpose(0, 3, 1, 2),
        np.broadcast_to(big[:, :, :1], big.shape).transpose(2, 3, 0, 1),
        big[:, 1:, 1, 1:].transpose(2, 0, 1),
    ):
        low, found = copied(x)
        np.testing.assert_array_equal(found, x)
    low, found = copied(big, order=(3, 2, 1, 0))
    assert low.phases[0].kernel == "transposition.copy"
    np.testing.assert_array_equal(found, big)


def test_nothing_beside_the_result_is_written():
    x = np.random.default_rng(2).standard_normal((70, 33)).astype("float32").T
    wide = np.full((40, 100), -1, "float32")
    low = lowering([x, wide[3:36, 7:77]])
    apply(low, "copy", low.inputs[1], low.inputs[0])
    assert low.phases[0].kernel == "transposition.copy"
    run(low, [x, wide[3:36, 7:77]])
    np.testing.assert_array_equal(wide[3:36, 7:77], x)
    wide[3:36, 7:77] = -1
    assert (wide == -1).all()


def test_what_is_small_or_lies_alike_goes_the_other_way():
    assert transposes((16, 16), (16, 1), (1, 16))
    assert not transposes((16, 16), (16, 1), (32, 1))
    assert not transposes((4, 16), (16, 1), (1, 4))
    assert not transposes((16, 4), (4, 1), (1, 16))
    assert not transposes((16,), (1,), (2,))


def test_many_chunks_give_the_same():
    x = np.random.default_rng(3).standard_normal((700, 900)).T
    low, found = copied(x)
    assert low.phases[0].chunks > 10
    np.testing.assert_array_equal(found, x)
