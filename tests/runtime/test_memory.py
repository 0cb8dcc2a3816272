import gc

import numpy as np
import pytest

from fastnn._runtime import memory


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (17,), (5, 33), (1000, 1000)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_empty_has_the_shape_and_starts_at_a_cache_line(shape, dtype):
    array = memory.empty(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.ctypes.data % 64 == 0
    array.fill(1)
    assert (array == 1).all()


def test_blocks_never_overlap():
    arrays = [memory.empty((n,), "uint8") for n in range(1, 2000, 7)]
    for i, array in enumerate(arrays):
        array.fill(i % 251)
    for i, array in enumerate(arrays):
        assert (array == i % 251).all()


def test_a_steady_loop_takes_nothing_from_the_system():
    for _ in range(3):
        [memory.empty((n, 10)) for n in range(50)]
    before = memory.stats()["system_allocations"]
    for _ in range(20):
        [memory.empty((n, 10)) for n in range(50)]
    assert memory.stats()["system_allocations"] == before


def test_memory_is_not_reused_while_a_view_lives():
    array = memory.empty((4096,), "float64")
    array.fill(7)
    view = array[10:20][::2].T
    del array
    gc.collect()
    others = [memory.empty((4096,), "float64") for _ in range(8)]
    for other in others:
        other.fill(0)
    assert (view == 7).all()


def test_trim_gives_back_what_waits():
    memory.empty((100_000,))
    assert memory.stats()["held"] > 0
    memory.trim()
    assert memory.stats()["held"] == 0


@pytest.mark.parametrize(
    ("shape", "dtype", "error"),
    [
        ((2**62,), "float64", MemoryError),
        ((2**31, 2**31), "float32", MemoryError),
        ((2**46,), "float64", MemoryError),
        ((-1,), "float32", ValueError),
        ((1,) * 65, "float32", ValueError),
        ((1,), "object", TypeError),
        ((1,), "U5", TypeError),
    ],
)
def test_impossible_requests_raise(shape, dtype, error):
    with pytest.raises(error):
        memory.empty(shape, dtype)


def test_stats_count_what_is_in_use():
    before = memory.stats()["in_use"]
    array = memory.empty((1 << 20,), "float32")
    assert memory.stats()["in_use"] - before >= array.nbytes
    del array
    assert memory.stats()["in_use"] == before


def test_zero_extents_beside_huge_ones_work():
    assert memory.empty((2**40, 0), "float64").nbytes == 0
    assert np.empty((0,)).size == memory.empty((0,)).size
