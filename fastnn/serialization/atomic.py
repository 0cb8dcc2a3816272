"""Files that appear whole or not at all.

What is written goes to a scratch file beside the target, is forced to the disk, and takes the target's name in one
step: whatever interrupts it leaves the old file or the new one. A scratch file is locked by its writer for as long as
the writer lives; the next save to the same target removes those that nobody holds any more.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # no locks on this system: scratch files of the dead stay until somebody removes them
    fcntl = None

SUFFIX = ".fastnn-part"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def write_whole(path: str | os.PathLike[str], *parts: bytes | memoryview) -> None:
    """Write `parts` one after the other as the file `path`; an existing one is replaced and keeps its permissions.

    Raises
    ------
    OSError : the folder cannot be written to, or the disk is full; the old file stays. It names `path` and says how
        many bytes were to be written.
    """
    try:
        _write_whole(Path(os.path.realpath(path)), parts)  # through links: what they lead to is replaced, not the link
    except OSError as error:
        size = sum(memoryview(part).nbytes for part in parts)
        text = f"{error.strerror or error}; {size:,} bytes cannot be saved here, and what was here is as before"
        raise OSError(error.errno, text, os.fspath(path)) from error


def _write_whole(target: Path, parts: Iterable[bytes | memoryview]) -> None:
    remove_stale(target)
    handle, scratch = _scratch(target)
    try:
        try:
            _write(handle, parts)
            if hasattr(os, "fchmod"):
                with contextlib.suppress(FileNotFoundError):
                    os.fchmod(handle, stat.S_IMODE(os.stat(target).st_mode))
            os.fsync(handle)
            if fcntl is not None:
                os.replace(scratch, target)  # while the lock is held
        finally:
            os.close(handle)
        if fcntl is None:
            os.replace(scratch, target)  # Windows moves no open file
    except BaseException:
        with contextlib.suppress(FileNotFoundError):  # Ctrl-C may come just after the file took its place
            os.unlink(scratch)
        raise
    _sync_folder(target.parent)


def _write(handle: int, parts: Iterable[bytes | memoryview]) -> None:
    for part in parts:
        left = memoryview(part).cast("B")
        while left.nbytes:
            left = left[os.write(handle, left[: 1 << 30]) :]


def _scratch(target: Path) -> tuple[int, Path]:
    """A new file beside `target`, open and locked. The name is kept short: file systems bound it."""
    while True:
        scratch = target.with_name(f".{target.name[:100]}-{secrets.token_hex(4)}{SUFFIX}")
        try:
            handle = os.open(scratch, _NEW, 0o666)
        except FileExistsError:
            continue
        try:
            if fcntl is None:
                return handle, scratch
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:  # else another save took it for stale before it was locked
                return handle, scratch
        except OSError:  # no locks on this file system
            return handle, scratch
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def remove_stale(target: Path) -> None:
    """Remove scratch files of saves to `target` whose process ended before its save did."""
    if fcntl is None:
        return
    start = f".{target.name[:100]}-"
    try:
        found = [n for n in os.listdir(target.parent) if n.startswith(start) and n.endswith(SUFFIX)]
    except OSError:
        return
    for name in found:
        if len(name) != len(start) + 8 + len(SUFFIX):
            continue
        with contextlib.suppress(OSError):  # held by a living writer, gone, or not ours to remove
            handle = os.open(target.with_name(name), os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(target.with_name(name))
            finally:
                os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


__all__ = ["write_whole"]
