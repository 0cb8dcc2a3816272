import gzip
import hashlib
import struct
import tracemalloc

import numpy as np
import pytest

from fastnn.data.idx import IdxError, read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array, lengths=None):
    code = CODES[array.dtype.str[1:]]
    lengths = array.shape if lengths is None else lengths
    return (
        struct.pack(f">BBBB{len(lengths)}I", 0, 0, code, len(lengths), *lengths)
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


@pytest.fixture
def digits():
    return np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", CODES)
def test_reads_every_type(tmp_path, dtype, compress):
    array = (np.arange(24) - 3).astype(dtype).reshape(2, 3, 4)
    data = idx(array)
    path = tmp_path / "any-name"
    path.write_bytes(gzip.compress(data) if compress else data)
    found = read_idx(path, shape=(2, 3, 4), sha256=hashlib.sha256(data).hexdigest())
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    assert found.flags.writeable


@pytest.mark.parametrize("shape", [(), (0,), (0, 28, 28)])
def test_reads_scalars_and_empty_arrays(tmp_path, shape):
    (tmp_path / "f").write_bytes(idx(np.zeros(shape, np.uint8)))
    assert read_idx(tmp_path / "f").shape == shape


def test_reads_no_more_than_the_header_promises(tmp_path, digits):
    (tmp_path / "f").write_bytes(idx(digits) + b"what follows is not ours")
    np.testing.assert_array_equal(read_idx(tmp_path / "f"), digits)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; buy it"):
        read_idx(tmp_path / "nowhere", remedy="buy it")


@pytest.mark.parametrize("length", [0, 3, 9, 16, 39])
@pytest.mark.parametrize("compress", [False, True])
def test_truncated(tmp_path, digits, length, compress):
    data = idx(digits)[:length]
    (tmp_path / "short").write_bytes(gzip.compress(data) if compress else data)
    with pytest.raises(IdxError, match=r"short: the file is truncated: .*; fetch the file again"):
        read_idx(tmp_path / "short")


def test_truncated_inside_the_compression(tmp_path, digits):
    (tmp_path / "short.gz").write_bytes(gzip.compress(idx(digits))[:-12])
    with pytest.raises(IdxError, match=r"short.gz: the compressed data is damaged or truncated"):
        read_idx(tmp_path / "short.gz")


def test_damaged_compression(tmp_path):
    data = bytearray(gzip.compress(idx(np.random.default_rng(0).integers(0, 255, (50, 50)).astype(np.uint8))))
    data[20:1000] = bytes(980)
    (tmp_path / "bad.gz").write_bytes(data)
    with pytest.raises(IdxError, match=r"bad\.gz: .*(damaged|SHA)"):
        read_idx(tmp_path / "bad.gz", sha256="0" * 64)


@pytest.mark.parametrize("magic", [b"\1\0\x08\1", b"\0\0\x07\1", b"\0\0\x08\xff", b"PK\3\4"])
def test_wrong_magic_number(tmp_path, magic):
    (tmp_path / "f").write_bytes(magic + bytes(2000))
    with pytest.raises(IdxError, match=rf"f: the magic number 0x{magic.hex()} is not that of an idx file"):
        read_idx(tmp_path / "f")


def test_wrong_shape_is_found_before_the_elements_are_read(tmp_path, digits):
    (tmp_path / "f").write_bytes(idx(digits)[:16])
    with pytest.raises(IdxError, match=r"must give the shape \(2, 3\), it gives \(2, 3, 4\)"):
        read_idx(tmp_path / "f", shape=(2, 3))


def test_wrong_hash(tmp_path, digits):
    (tmp_path / "f").write_bytes(idx(digits))
    with pytest.raises(IdxError, match=r"f: the decompressed data must have the SHA-256 0{64}, it has "):
        read_idx(tmp_path / "f", sha256="0" * 64)


@pytest.mark.parametrize("lengths", [(2**32 - 1,) * 8, (2**31, 2**31), (2**33 - 2**31 - 1 - 2**32,)])
def test_a_header_that_promises_too_much_takes_no_memory(tmp_path, digits, lengths):
    (tmp_path / "f").write_bytes(idx(digits, [min(n, 2**32 - 1) for n in lengths]))
    tracemalloc.start()
    try:
        with pytest.raises(IdxError, match="truncated"):
            read_idx(tmp_path / "f")
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
