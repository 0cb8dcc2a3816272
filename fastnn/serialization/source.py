"""Bytes of a file by offset, and element types of files."""

from __future__ import annotations

import io
import os
import stat
from typing import Any

import numpy as np

from fastnn._runtime.memory import empty
from fastnn.errors import FormatError

CHUNK = 1 << 20


def _open(path: str, flags: int) -> int:
    """Open without waiting for somebody to write, if that is what the path is."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class Source:
    """A file opened for reading at offsets, its size known; refuses what lies outside."""

    def __init__(self, file: Any) -> None:
        self.owned = isinstance(file, (str, os.PathLike))
        self.name = os.fspath(file) if self.owned else getattr(file, "name", type(file).__name__)
        if self.owned:
            stream: Any = open(file, "rb", buffering=0, opener=_open)  # noqa: SIM115
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                stream.close()
                raise self.fail("expected a regular file, got a device, a pipe or a socket")
        elif hasattr(file, "readinto") and hasattr(file, "seek"):
            stream = file
        else:
            raise TypeError(f"load: f must be a path or a file opened in binary mode, got {type(file).__name__}")
        self.stream = stream
        self.start = 0 if self.owned else stream.tell()
        self.size = stream.seek(0, io.SEEK_END) - self.start

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.owned:
            self.stream.close()

    def fail(self, what: str) -> FormatError:
        """The error to raise where the file is not what it should be."""
        short = what if len(what) <= 400 else f"{what[:200]} ... {what[-200:]}"  # names may be as long as the file
        return FormatError(f"load: {self.name}: {short}")

    def read_into(self, offset: int, array: np.ndarray) -> None:
        """Fill a C-contiguous array."""
        if not 0 <= offset <= self.size - array.nbytes:
            raise self.fail(f"{array.nbytes} bytes at {offset} lie outside the file of {self.size}")
        self.stream.seek(self.start + offset)
        left = memoryview(array.reshape(-1).view(np.uint8).data)
        while left.nbytes:
            count = self.stream.readinto(left[: 1 << 30])
            if not count:
                raise self.fail("the file ended while it was read")
            left = left[count:]

    def read(self, offset: int, count: int) -> bytes:
        """Some bytes."""
        if not 0 <= count <= self.size or not 0 <= offset <= self.size - count:
            raise self.fail(f"{count} bytes at {offset} lie outside the file of {self.size}")
        self.stream.seek(self.start + offset)
        parts = []
        while count:
            part = self.stream.read(count)
            if not part:
                raise self.fail("the file ended while it was read")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def array(self, offset: int, count: int, dtype: np.dtype[Any], little: bool = True) -> np.ndarray:
        """`count` elements in new memory, in native byte order."""
        result = empty((count,), dtype)
        self.read_into(offset, result)
        if not little and dtype.itemsize > 1:
            result.byteswap(inplace=True)
        return result

    def bfloat16(self, offset: int, count: int, little: bool = True) -> np.ndarray:
        """`count` bfloat16 numbers as float32, which holds each of them exactly."""
        result = empty((count,), np.uint32)
        for first in range(0, count, CHUNK):
            last = min(count, first + CHUNK)
            result[first:last] = self.array(offset + 2 * first, last - first, np.dtype(np.uint16), little)
        result <<= 16
        return result.view(np.float32)


__all__ = ["Source"]
