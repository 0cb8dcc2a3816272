import numpy as np
import pytest

import fastnn

VERSION = tuple(map(int, np.__version__.split(".")[:2]))
# NumPy 2.0 knows only the protocol's first version, which cannot say what is read-only: all that arrives is.
says_read_only = pytest.mark.skipif(VERSION < (2, 1), reason="NumPy 2.0 takes all memory from elsewhere for read-only")

ARRAYS = {
    "contiguous": np.arange(6.0, dtype="float32").reshape(2, 3),
    "transposed": np.arange(6).reshape(2, 3).T,
    "every third": np.arange(10.0)[::3],
    "repeated": np.broadcast_to(np.arange(3.0), (2, 3)),
    "without axes": np.array(2.5),
    "empty": np.zeros((0, 3)),
    "bools": np.array([True, False]),
    "halves": np.arange(3, dtype="float16"),
    "complex": np.array([1 + 2j]),
    "bytes": np.arange(3, dtype="uint8"),
}
UNSAYABLE = {
    "backwards": np.arange(6.0).reshape(2, 3)[::-1],
    "columns backwards": np.arange(6.0).reshape(2, 3)[:, ::-1],
    "between elements": np.zeros(3, [("a", "f4"), ("b", "u1")])["a"],
    "swapped bytes": np.arange(4, dtype=">f4"),
}


class Exporter:
    """Another library's tensor: it knows the protocol and nothing else."""

    def __init__(self, array, device=(1, 0)):
        self.array, self.device = array, device

    def __dlpack__(self, **kwargs):
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.device


@says_read_only
@pytest.mark.parametrize("name", ARRAYS)
def test_memory_is_shared_both_ways(name):
    array = ARRAYS[name]
    tensor = fastnn.from_dlpack(Exporter(array if array.flags.writeable else array.copy(order="K")))
    np.testing.assert_array_equal(tensor.numpy(), array, strict=True)
    back = np.from_dlpack(tensor)
    np.testing.assert_array_equal(back, array, strict=True)
    if array.size and array.flags.writeable:
        assert np.shares_memory(tensor.array, array)
        assert np.shares_memory(back, array)
        assert tensor.array.strides == array.strides
    copied = fastnn.from_dlpack(Exporter(tensor), copy=True)
    assert not np.shares_memory(copied.array, tensor.array)
    np.testing.assert_array_equal(copied.numpy(), array, strict=True)


@pytest.mark.parametrize("name", UNSAYABLE)
def test_what_the_protocol_cannot_say_is_copied_unless_forbidden(name):
    tensor = fastnn.from_numpy(UNSAYABLE[name])
    copied = np.from_dlpack(tensor)
    np.testing.assert_array_equal(copied, UNSAYABLE[name])
    assert not np.shares_memory(copied, UNSAYABLE[name])
    with pytest.raises(BufferError, match="copy is False"):
        tensor.__dlpack__(copy=False)


@says_read_only
def test_read_only_memory_stays_read_only():
    array = np.arange(3.0)
    array.flags.writeable = False
    assert not fastnn.from_dlpack(fastnn.from_numpy(array)).array.flags.writeable


def test_versions_of_the_protocol():
    tensor = fastnn.tensor([1.0])
    assert tensor.__dlpack_device__() == (1, 0)
    assert '"dltensor"' in repr(tensor.__dlpack__())
    if VERSION >= (2, 1):
        assert '"dltensor_versioned"' in repr(tensor.__dlpack__(max_version=(1, 0)))


def test_errors():
    with pytest.raises(RuntimeError, match=r"detach\(\)"):
        fastnn.tensor([1.0], requires_grad=True).__dlpack__()
    with pytest.raises(TypeError, match="__dlpack__"):
        fastnn.from_dlpack(3)
    with pytest.raises(BufferError, match="on the CPU, got DLPack device type 2"):
        fastnn.from_dlpack(Exporter(np.ones(1), (2, 0)))
    with pytest.raises(ValueError, match="only device is cpu"):
        fastnn.from_dlpack(Exporter(np.ones(1)), device="cuda")
    assert fastnn.from_dlpack(Exporter(np.ones(1)), device="cpu").tolist() == [1.0]
