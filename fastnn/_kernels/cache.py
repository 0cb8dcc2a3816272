"""Files that this user's processes share: object code of kernels, and what was measured of the CPU.

a. Trust. Object code is run as it is found, so a directory that anybody else can write to or owns is refused, parents
   included, and so is such a file. The superuser is trusted. A refused directory is replaced by a private temporary
   one, with one warning.
b. Damage. A file is a SHA-256 over its name and its content, then the content. What does not match is deleted and
   counts as missing: a bad file is compiled again.
c. Concurrency. A file appears whole, by renaming. Processes that miss the same file at the same time share the work
   by file locks; a lock ends with its process, and who waits too long compiles for himself.
d. Size. Beyond the limit the files that were not used for longest go.

Nothing here raises for the state of the disk: what cannot be kept is reported once, and done without.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: processes that start together do the same work twice
    fcntl = None  # type: ignore[assignment]

LIMIT_BYTES = 256 << 20
_MAGIC = b"fastnn cache 1\n"
_HEADER = len(_MAGIC) + hashlib.sha256().digest_size
_LARGEST_FILE = 64 << 20
_STALE_SECONDS = 3600
_TOUCH_SECONDS = 86_400
_SAVES_BETWEEN_SWEEPS = 64
# Owner of directories outside a container's user namespace: not a user that could come here.
_OVERFLOW_UID = 65_534


def default_directory() -> Path:
    """``$FASTNN_CACHE_DIR``, or the platform's place for a user's caches."""
    chosen = os.environ.get("FASTNN_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "fastnn" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fastnn"
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "fastnn"


def _owner_problem(path: str | Path, status: os.stat_result) -> str | None:
    """Why others could have written this file or directory; None if they could not."""
    if not hasattr(os, "geteuid"):
        return None
    if status.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to another user (uid {status.st_uid})"
    if status.st_mode & 0o022:
        return f"others can write to {path} (mode {stat.S_IMODE(status.st_mode):o})"
    return None


def _parent_problem(path: Path, status: os.stat_result) -> str | None:
    """Why others could replace what lies in a parent directory; None if they could not."""
    if not hasattr(os, "geteuid") or status.st_mode & stat.S_ISVTX:
        return None
    if status.st_uid not in (0, os.geteuid(), _OVERFLOW_UID):
        return f"its parent {path} belongs to another user (uid {status.st_uid})"
    # Many systems give each user a group of his own and a umask that lets it write.
    shared_group = status.st_mode & 0o020 and status.st_gid not in (0, os.getegid())
    if status.st_mode & 0o002 or shared_group:
        return f"others can write to its parent {path} (mode {stat.S_IMODE(status.st_mode):o})"
    return None


def refusal(directory: Path) -> str | None:
    """Why a directory cannot be trusted with code, or cannot be had; None if all is well. Creates it if need be."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = directory.resolve(strict=True)
        problem = _owner_problem(directory, directory.stat())
        for parent in directory.parents:
            problem = problem or _parent_problem(parent, parent.stat())
    except (OSError, RuntimeError) as error:
        return str(error)
    return problem


class Cache:
    """Named blobs in one directory; ``directory=None`` keeps nothing.

    Parameters
    ----------
    directory : where the files lie; must have passed `refusal`.
    limit : bytes that the files may occupy together.
    quiet : report nothing, not even once.
    """

    def __init__(self, directory: Path | None, limit: int = LIMIT_BYTES, quiet: bool = False) -> None:
        self.directory = directory
        self.limit = limit
        self._quiet = quiet
        self._saves = 0

    def load(self, name: str) -> bytes | None:
        """The content saved under a name; None if there is none, or none that can be trusted."""
        if self.directory is None:
            return None
        path = self.directory / name
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            handle = os.open(path, flags)
        except OSError:
            return None
        try:
            with open(handle, "rb") as file:
                status = os.fstat(handle)
                regular = stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST_FILE
                data = file.read() if regular and _owner_problem(path, status) is None else b""
        except OSError:
            return None
        content = data[_HEADER:]
        if data[:_HEADER] != _MAGIC + _digest(name, content):
            self._remove(path)
            return None
        if time.time() - status.st_mtime > _TOUCH_SECONDS:  # marks the file as in use; seldom, to spare the disk
            with contextlib.suppress(OSError):
                os.utime(path)
        return content

    def save(self, name: str, content: bytes) -> None:
        """Keep a content under a name. A disk that does not take it is reported once."""
        if self.directory is None:
            return
        import tempfile

        try:
            handle, temporary = tempfile.mkstemp(prefix="tmp-", dir=self.directory)
            try:
                with open(handle, "wb") as file:
                    file.write(_MAGIC + _digest(name, content) + content)
                os.replace(temporary, self.directory / name)
            except BaseException:
                self._remove(Path(temporary))
                raise
        except OSError as error:
            self._report(f"compiled kernels cannot be kept in {self.directory} ({error.strerror or error})")
            return
        if self._saves % _SAVES_BETWEEN_SWEEPS == 0:
            self._sweep()
        self._saves += 1

    @contextlib.contextmanager
    def claims(self, names: list[str], everything: bool = False) -> Iterator[list[str]]:
        """While the context lasts, the names yielded are ours to make; another process is making the others.

        `everything` is for who has waited long enough: all names are yielded.
        """
        held: dict[str, int | None] = {}
        try:
            for name in names:
                claimed, handle = self._claim(name)
                if claimed or everything:
                    held[name] = handle
            yield list(held)
        finally:
            for name, handle in held.items():
                if handle is not None and self.directory is not None:
                    self._remove(self.directory / (name + ".lock"))
                    os.close(handle)

    def _claim(self, name: str) -> tuple[bool, int | None]:
        if self.directory is None or fcntl is None:
            return True, None
        try:
            handle = os.open(self.directory / (name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError:
            return True, None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES), None
        return True, handle

    def _sweep(self) -> None:
        """Delete the files that were not used for longest until the rest fits, and what dead processes left."""
        assert self.directory is not None
        now = time.time()
        files: list[tuple[float, int, str]] = []
        try:
            with os.scandir(self.directory) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if not stat.S_ISREG(status.st_mode):
                        continue
                    if not entry.name.startswith("tmp-") and not entry.name.endswith(".lock"):
                        files.append((status.st_mtime, status.st_size, entry.path))
                    elif now - status.st_mtime > _STALE_SECONDS:
                        self._remove(Path(entry.path))
        except OSError:
            return
        excess = sum(size for _, size, _ in files) - self.limit
        if excess <= 0:
            return
        excess += self.limit // 5  # room for the next ones
        for _, size, path in sorted(files)[:-1]:
            if excess <= 0:
                return
            self._remove(Path(path))
            excess -= size

    @staticmethod
    def _remove(path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink()

    def _report(self, message: str) -> None:
        if not self._quiet:
            self._quiet = True
            warnings.warn(
                f"{message}; they are compiled again in every process. Set FASTNN_CACHE_DIR to a directory that only "
                "you can write to.",
                RuntimeWarning,
                stacklevel=2,
            )


def _digest(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\0" + content).digest()


def _open() -> tuple[Cache, str | None]:
    """The cache in the default directory or in a private temporary one, and why it is the latter."""
    import atexit
    import shutil
    import tempfile

    try:
        directory = default_directory()
        problem = refusal(directory)
    except RuntimeError as error:  # no home directory
        problem = str(error)
    if problem is None:
        return Cache(directory), None
    try:
        private = Path(tempfile.mkdtemp(prefix="fastnn-"))
    except OSError:
        return Cache(None), problem
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(private, ignore_errors=True)

    atexit.register(remove)
    return Cache(private, quiet=True), problem


_shared: Cache | None = None
_opening = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_opening.release)


def shared() -> Cache:
    """The cache of this process, opened at the first use; a refused directory is reported once."""
    global _shared
    with _opening:
        if _shared is not None:
            return _shared
        _shared, problem = _open()
        if problem is not None:
            warnings.warn(
                f"the kernel cache is refused: {problem}. Kernels are compiled for this process only; set "
                "FASTNN_CACHE_DIR to a directory that only you can write to.",
                RuntimeWarning,
                stacklevel=2,
            )
    return _shared
