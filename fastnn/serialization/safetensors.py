"""Weights as safetensors files.

Such a file is eight bytes with the length of a header, the header (JSON: for every tensor its dtype, shape and bytes),
and the bytes. The `safetensors` library writes and checks them; what it lets pass is checked here: names that occur
twice, overlaps, holes, and bytes that the header does not account for.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any, NoReturn

import numpy as np

from fastnn.errors import DTypeError
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
    metadata, entries = header(source)
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
    if _KEY not in metadata:
        return {name: from_numpy(array) for name, array in arrays.items()}
    try:
        return rebuilt(metadata[_KEY], arrays)
    except ValueError as error:
        raise source.fail(str(error)) from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def header(source: Source) -> tuple[dict[str, str], dict[str, tuple[str, tuple[int, ...], int]]]:
    """Metadata, and for every tensor its dtype, shape and offset in the file; all of it checked."""
    if source.size < 8:
        raise source.fail(f"a file of {source.size} bytes is no safetensors file, nor one of torch's")
    length = int.from_bytes(source.read(0, 8), "little")
    if length > min(_MOST, source.size - 8):
        raise source.fail(f"no safetensors file: a header of {length} bytes does not fit in {source.size}")
    words = source.read(8, length)
    if words[:1] != b"{":
        raise source.fail("no safetensors file: the header is no JSON object")
    try:
        table = json.loads(words.decode(), object_pairs_hook=_pairs, parse_constant=_constant)
    except RecursionError:
        raise source.fail("no safetensors file: the header is nested too deep") from None
    except ValueError as error:
        raise source.fail(f"no safetensors file: the header is no JSON ({error})") from None
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise source.fail("no safetensors file: the metadata must be strings")
    start = 8 + length
    entries = {}
    spans = []
    for name, entry in table.items():
        dtype, shape, begin, end = _entry(source, name, entry)
        size = 2 if dtype == "BF16" else _DTYPES[dtype].itemsize
        if end - begin != math.prod(shape) * size:
            raise source.fail(f"{name} of shape {shape} and dtype {dtype} cannot lie in {end - begin} bytes")
        entries[name] = (dtype, shape, start + begin)
        spans.append((begin, end, name))
    place = 0
    for begin, end, name in sorted(spans):
        if begin != place:
            raise source.fail(f"{name} must lie at {place}, behind what comes before it, got {begin}")
        place = end
    if start + place != source.size:
        raise source.fail(f"the tensors end at {start + place}, the file at {source.size}")
    return metadata, entries


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
