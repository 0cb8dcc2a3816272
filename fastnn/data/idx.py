"""The idx format of the MNIST files: a big-endian header, then the elements in C order.

Source: http://yann.lecun.com/exdb/mnist/ ("The IDX file format"). Bytes 0 and 1 are zero, byte 2 names the element
type, byte 3 is the number of axes; one 32-bit length for each axis follows.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_AXES = 64  # NumPy's own limit
_PIECE = 1 << 20


class IdxError(ValueError):
    """A file is not the idx file it should be; the text names the file and what to do."""


def read_idx(
    path: str | os.PathLike[str],
    *,
    shape: tuple[int, ...] | None = None,
    sha256: str | None = None,
    remedy: str = "fetch the file again",
) -> NDArray[Any]:
    """Read one idx file, plain or compressed with gzip (told by its first bytes, not by its name).

    No more is read, and no more memory is taken, than the header promises and the file holds.

    Parameters
    ----------
    path : the file.
    shape : the shape it must have; checked before the elements are read.
    sha256 : the SHA-256 that header and elements must have once decompressed, as 64 hexadecimal digits.
    remedy : what the reader of an error should do, in a few words.

    Returns
    -------
    A writable array of native byte order.

    Raises
    ------
    FileNotFoundError : there is no such file.
    IdxError : truncated, not an idx file, of another shape than ``shape`` or another hash than ``sha256``.
    """
    path = Path(path)
    digest = hashlib.sha256()

    def fail(what: str) -> IdxError:
        return IdxError(f"{path}: {what}; {remedy}")

    def read(stream: IO[bytes] | gzip.GzipFile, count: int, part: str) -> bytearray:
        """Read exactly ``count`` bytes, by pieces: a header may promise far more than there is."""
        data = bytearray()
        while len(data) < count:
            piece = stream.read(min(_PIECE, count - len(data)))
            if not piece:
                raise fail(f"the file is truncated: its {part} should take {count} bytes, {len(data)} are there")
            data += piece
        digest.update(data)
        return data

    try:
        with _open(path) as stream:
            magic = read(stream, 4, "magic number")
            if magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] > _MAX_AXES:
                raise fail(f"the magic number 0x{magic.hex()} is not that of an idx file, such as 0x00000803")
            ndim = magic[3]
            found = struct.unpack(f">{ndim}I", read(stream, 4 * ndim, "header"))
            if shape is not None and found != shape:
                raise fail(f"the header must give the shape {shape}, it gives {found}")
            dtype = np.dtype(_DTYPES[magic[2]])
            data = read(stream, math.prod(found) * dtype.itemsize, "elements")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist; {remedy}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise fail(f"the compressed data is damaged or truncated ({error})") from None
    if sha256 is not None and digest.hexdigest() != sha256:
        raise fail(f"the decompressed data must have the SHA-256 {sha256}, it has {digest.hexdigest()}")
    array: NDArray[Any] = np.frombuffer(data, dtype).reshape(found)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _open(path: Path) -> IO[bytes] | gzip.GzipFile:
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if compressed else path.open("rb")
