"""Weights in files: safetensors, and what torch saved."""

from __future__ import annotations

from typing import Any

from fastnn.errors import FormatError


def save(obj: Any, f: Any) -> None:
    """Save a state dict, or a checkpoint made of such, as a safetensors file.

    Parameters
    ----------
    obj : Tensors and arrays, numbers, strings and None in dicts, lists and tuples. The tensors of a plain state dict
        stand in the file under its own keys, for every tool that reads safetensors; in deeper dicts, under the keys
        joined by dots.
    f : a path, or a file opened for writing bytes. A path is written whole or not at all: a kill at any moment leaves
        the old file or the new one.

    Raises
    ------
    TypeError : something in `obj` is none of these. Nothing is pickled, ever.
    ValueError : more than about a million numbers and strings outside of arrays, or keys of 2**61 and more: files of
        such would not be read.
    OSError : the system refuses the file, which then is as before.
    """
    from fastnn.serialization import safetensors

    safetensors.save(obj, f)


def load(f: Any, map_location: Any = None, *, weights_only: bool | None = None, mmap: bool | None = None) -> Any:
    """Load what `save` saved, any other safetensors file, or the tensors of a file that torch saved.

    Parameters
    ----------
    f : a path, or a file opened for reading bytes. torch's files are those of ``torch.save`` since 1.6 (zip archives)
        of Tensors, Parameters, numbers, strings and None in dicts, lists and tuples.
    map_location : None or ``"cpu"``: tensors that were saved from another device arrive on the CPU.
    weights_only : must not be False; nothing in a file is ever executed.
    mmap : taken and ignored.

    Returns
    -------
    What was saved, with Tensors; bfloat16 arrives as float32, which holds its numbers exactly. A safetensors file of
    another tool gives a dict of names and Tensors.

    Raises
    ------
    fastnn.errors.FormatError : the file is damaged, or holds something else, or is a pipe or a device. It is a
        ValueError and a RuntimeError.
    """
    from fastnn.serialization import safetensors, torchfile
    from fastnn.serialization.source import Source

    if map_location is not None and not str(map_location).startswith("cpu"):
        raise ValueError(f"load: map_location must be None or 'cpu', the only device, got {map_location!r}")
    if weights_only is False:
        raise ValueError("load: weights_only must not be False: files are not unpickled")
    with Source(f) as source:
        return torchfile.load(source) if torchfile.recognises(source) else safetensors.load(source)


__all__ = ["FormatError", "load", "save"]
