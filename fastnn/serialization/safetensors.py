"""Weights as safetensors files.

Such a file is eight bytes with the length of a header, the header (JSON: for every tensor its dtype, shape and bytes),
and the bytes. The `safetensors` library writes and checks them; what it lets pass is checked here: names that occur
twice, overlaps, holes, and bytes that the header does not account for.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastnn.errors import DTypeError, FormatError
from fastnn.serialization.atomic import write_whole
from fastnn.serialization.source import Source
from fastnn.serialization.tree import flattened, rebuilt
from fastnn.tensor import from_numpy

_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    **{f"{letter}{bits}": np.dtype(f"{letter.lower()}{bits // 8}") for letter in "IU" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": np.dtype(f"f{bits // 8}") for bits in (16, 32, 64)},
    "C64": np.dtype(np.complex64),
}
_SAVED = {*_DTYPES.values()}
_KEY = "fastnn"  # of the metadata, under which the structure stands
_MOST = 100_000_000  # bytes of a header, as the format has it
_MOST_NAMES = 1 << 17
_LONGEST_NAME = 1 << 16

_SPACES = b" \t\n\r"
_OPEN = re.compile(rb"\{\s*+")
_CLOSE = re.compile(rb"\}\s*+")
_COLON = re.compile(rb"\s*+:\s*+")
_NEXT = re.compile(rb"\s*+(?:,\s*+(?=\")|\}\s*+)")
_STRING = re.compile(rb'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_ENTRY = re.compile(rb"\{[^{}]{0,4096}+\}")  # nothing in an entry has braces, and 64 axes take less


def _library() -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "safetensors":
            raise
        raise ModuleNotFoundError(
            "safetensors missing, which keeps weights; run: pip install 'fastnn-cpu[files]'", name="safetensors"
        ) from None
    return safetensors


def encoded(tree: Any) -> bytes:
    """The file's content for `tree`; see `fastnn.save`."""
    library = _library()
    arrays, structure = flattened(tree)
    ready = {}
    for name, array in arrays.items():
        if array.dtype.newbyteorder("=") not in _SAVED:
            raise DTypeError(f"save: {name} must have a dtype that safetensors knows, got {array.dtype}")
        # the library writes an array's memory as it lies, and a Linear weight lies transposed
        ready[name] = np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
    content: bytes = library.numpy.save(ready, metadata={_KEY: structure})
    return content


def save(tree: Any, f: Any) -> None:
    """Write `tree` to a path (whole or not at all) or into an open file."""
    content = encoded(tree)
    if isinstance(f, (str, os.PathLike)):
        write_whole(f, content)
    else:
        f.write(content)


def load(source: Source) -> Any:
    """Read a file; FormatError where it is none."""
    structure, entries = header(source)
    if source.owned:
        library = _library()
        try:
            with library.safe_open(source.name, framework="np"):
                pass
        except library.SafetensorError as error:
            raise source.fail(f"no safetensors file: {error}") from None
    arrays = {}
    for name, (dtype, shape, offset) in entries.items():
        count = math.prod(shape)
        flat = source.bfloat16(offset, count) if dtype == "BF16" else source.array(offset, count, _DTYPES[dtype])
        arrays[name] = flat.reshape(shape)
    if structure is None:
        return {name: from_numpy(array) for name, array in arrays.items()}
    try:
        return rebuilt(structure, arrays)
    except ValueError as error:
        raise source.fail(str(error)) from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs)


class _Header:
    """A header's JSON, read member by member.

    Whatever is no tensor's entry and no text is refused before it becomes objects, which would take many times its
    length; strings that nobody asks for stay bytes.
    """

    def __init__(self, source: Source, words: bytes) -> None:
        self.source, self.words, self.place, self.count = source, words, 0, 0

    def members(self) -> Iterator[str]:
        """The names in the object that begins here; who iterates takes each one's value."""
        self.take(_OPEN)
        seen: set[str] = set()
        end = self.take(_CLOSE, needed=False)
        while not end:
            start, stop = self.string(_LONGEST_NAME)
            name: str = self.parsed(start, stop)
            if name in seen:
                raise self.fail("a name occurs twice")
            seen.add(name)
            self.count += 1
            if self.count > _MOST_NAMES:
                raise self.source.fail(f"more than {_MOST_NAMES:,} names in its header")
            self.take(_COLON)
            yield name
            end = self.take(_NEXT)[0].strip() == b"}"

    def take(self, kind: re.Pattern[bytes], needed: bool = True) -> Any:
        """The match of a pattern here, behind which reading goes on."""
        found = kind.match(self.words, self.place)
        if found is not None:
            self.place = found.end()
        elif needed:
            raise self.fail(f"unexpected {self.words[self.place : self.place + 20]!r} at byte {self.place}")
        return found

    def string(self, most: int = _MOST) -> tuple[int, int]:
        """Where the string that begins here starts and stops, its quotes included."""
        start, stop = self.take(_STRING).span()
        if stop - start > most:
            raise self.fail(f"a name of {stop - start:,} bytes at byte {start}; at most {most:,} are read")
        return start, stop

    def parsed(self, start: int, stop: int) -> Any:
        """A short piece of JSON."""
        try:
            return _DECODER.decode(str(self.words[start:stop], "utf-8"))
        except (ValueError, RecursionError) as error:
            raise self.fail(str(error)) from None

    def fail(self, what: str) -> FormatError:
        return self.source.fail(f"no safetensors file: the header is no JSON ({what})")


def header(source: Source) -> tuple[str | None, dict[str, tuple[str, tuple[int, ...], int]]]:
    """What stands under fastnn's key, and for every tensor its dtype, shape and offset in the file; all checked."""
    if source.size < 8:
        raise source.fail(f"a file of {source.size} bytes is no safetensors file, nor one of torch's")
    length = int.from_bytes(source.read(0, 8), "little")
    if length > min(_MOST, source.size - 8):
        raise source.fail(f"no safetensors file: a header of {length} bytes does not fit in {source.size}")
    if source.read(8, min(length, 1)) != b"{":
        raise source.fail("no safetensors file: the header is no JSON object")
    words = source.read(8, length)
    reader = _Header(source, words)
    start = 8 + length
    structure: tuple[int, int] | None = None
    entries = {}
    spans = []
    for name in reader.members():
        if name == "__metadata__":
            for key in reader.members():
                value = reader.string()
                structure = value if key == _KEY else structure
            continue
        found = reader.take(_ENTRY, needed=False)
        if not found:
            raise source.fail(f"{name} must be given by dtype, shape and data_offsets")
        dtype, shape, begin, end = _entry(source, name, reader.parsed(*found.span()))
        size = 2 if dtype == "BF16" else _DTYPES[dtype].itemsize
        if end - begin != math.prod(shape) * size:
            raise source.fail(f"{name} of shape {shape} and dtype {dtype} cannot lie in {end - begin} bytes")
        entries[name] = (dtype, shape, start + begin)
        spans.append((begin, end, name))
    if reader.words[reader.place :].strip(_SPACES):
        raise reader.fail(f"something follows its end at byte {reader.place}")
    place = 0
    for begin, end, name in sorted(spans):
        if begin != place:
            raise source.fail(f"{name} must lie at {place}, behind what comes before it, got {begin}")
        place = end
    if start + place != source.size:
        raise source.fail(f"the tensors end at {start + place}, the file at {source.size}")
    if structure is None:
        return None, entries
    try:
        quoted = str(memoryview(words)[slice(*structure)], "ascii")
        del words, reader
        return json.loads(quoted), entries
    except ValueError:
        raise source.fail(f"the text under {_KEY!r} is no JSON string in ASCII") from None


def _entry(source: Source, name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise source.fail(f"{name} must be given by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype != "BF16" and (not isinstance(dtype, str) or dtype not in _DTYPES):
        raise source.fail(f"{name} has dtype {dtype!r}, which NumPy does not know")
    for what, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 1 << 63 for n in numbers):
            raise source.fail(f"{name}: {what} must be a list of numbers below 2**63")
    if len(offsets) != 2 or not offsets[0] <= offsets[1] <= source.size:
        raise source.fail(f"{name}: data_offsets must be a begin and an end within the file, got {offsets[:3]}")
    if len(shape) > 64:
        raise source.fail(f"{name}: at most 64 axes, got {len(shape)}")
    return dtype, tuple(shape), offsets[0], offsets[1]


__all__ = ["load", "save"]
