"""The main process's side of the compile helpers: start them, share work among them, notice their death.

Helpers exist because LLVM's options are process-wide and Numba takes half a second to import. They start at the first
kernel that is not in the cache and stay for the next ones (until idle for a minute). A helper that dies is replaced
once for each batch; then the error says what it printed last.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastnn._kernels.errors import KernelError, KernelsUnavailable
from fastnn._kernels.worker import read_exactly, read_message, write_message

MAX_HELPERS = 4
_TAIL_BYTES = 2000


class HelperDied(Exception):
    """The helper ended or spoke nonsense; `ready` tells whether it had got as far as taking requests."""

    def __init__(self, ready: bool) -> None:
        super().__init__(ready)
        self.ready = ready


class Helper:
    """One helper process; used by one thread at a time."""

    def __init__(self, identity: str, environment: dict[str, str]) -> None:
        self._log: Any
        try:
            self._log = tempfile.TemporaryFile(prefix="fastnn-helper-")  # noqa: SIM115
        except OSError:
            self._log = None
        folder = Path(__file__).parent
        command = [sys.executable, "-P", "-W", "ignore", str(folder / "worker.py"), str(folder.parent)]
        # Ctrl-C in a terminal goes to a whole group or session: the helper has its own, so that it is spared while it
        # starts, too.
        group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        if not sys.executable:
            raise KernelsUnavailable("kernels are compiled in a helper process, but sys.executable is not set")
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log or subprocess.DEVNULL,
                cwd=folder,
                env=environment,
                start_new_session=True,
                creationflags=group,
            )
        except OSError as error:
            raise KernelsUnavailable(f"the compile helper cannot be started: {error}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._expected: str | None = identity
        with contextlib.suppress(OSError):  # a helper that ended already is noticed at its first request
            write_message(self._requests, {"path": [path for path in sys.path if isinstance(path, str) and path]})

    def alive(self) -> bool:
        """Whether the process still runs; collects it if not."""
        return self._process.poll() is None

    def compile(self, name: str, static: str) -> bytes:
        """Object code of a kernel; KernelError if it cannot be compiled, HelperDied if the helper ended."""
        try:
            if self._expected is not None:
                self._check(read_message(self._answers), self._expected)
                self._expected = None
            write_message(self._requests, {"name": name, "static": static})
            answer = read_message(self._answers)
            if "error" not in answer:
                return read_exactly(self._answers, answer["size"])
        except (OSError, EOFError, ValueError) as error:
            raise HelperDied(self._expected is None) from error
        failure = KernelError(f"compiling {name} with {static}: {answer['error']}")
        failure.add_note(answer["trace"])
        raise failure

    def _check(self, hello: dict[str, Any], expected: str) -> None:
        if "error" in hello:
            raise KernelsUnavailable(f"the compile helper cannot work:\n{hello['error']}")
        if hello["identity"] != expected:
            raise KernelError(
                "the sources of fastnn._kernels, FASTNN_CPU or Numba changed while this process ran: start it again"
            )

    def stop(self) -> str:
        """End and collect the process, whatever it is doing; returns how it ended and the end of what it printed."""
        self._process.kill()  # does nothing to a process that has ended
        status = self._process.wait()
        text = ""
        if self._log is not None:
            with contextlib.suppress(OSError, ValueError):
                size = self._log.seek(0, os.SEEK_END)
                self._log.seek(max(0, size - _TAIL_BYTES))
                text = self._log.read().decode("utf-8", "replace").strip()
        self.forget()
        return f"exit status {status}" + (f"; it printed:\n{text}" if text else "")

    def forget(self) -> None:
        """Close our ends of the pipes. A helper whose input ends does so too; in a forked child it is not ours."""
        for stream in (self._requests, self._answers, self._log):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class Batch:
    """Requests that several threads work off together, and what became of them."""

    def __init__(self, requests: Sequence[tuple[str, str]], done: Callable[[int, bytes], None]) -> None:
        self.waiting = dict(enumerate(requests))
        self.done = done
        self.errors: dict[int, Exception] = {}
        self.stopped = False
        self._started: set[str] = set()
        self._lock = threading.Lock()

    def next(self, familiar: set[str]) -> tuple[int, str, str] | None:
        """Take a request: index, name, static. Kernels of one module go to one helper where that keeps all at work.

        Half of the time of a module's first kernel goes into device functions that its others share.
        """
        with self._lock:
            if self.stopped or not self.waiting:
                return None

            def preference(index: int) -> int:
                module = self.waiting[index][0].rpartition(".")[0]
                return 0 if module in familiar else 1 if module not in self._started else 2

            index = min(self.waiting, key=preference)
            name, static = self.waiting.pop(index)
            module = name.rpartition(".")[0]
            familiar.add(module)
            self._started.add(module)
            return index, name, static


class Pool:
    """The helpers of this process.

    Parameters
    ----------
    identity : what kernels depend on (`jit.identity`); a helper must agree.
    environment : the helpers' environment.
    """

    def __init__(self, identity: str, environment: dict[str, str]) -> None:
        self._identity = identity
        self._environment = environment
        self._idle: list[Helper] = []
        self._busy: list[Helper] = []
        self._lock = threading.Lock()
        self._ended = False
        atexit.register(self._end)

    def compile(self, requests: Sequence[tuple[str, str]], done: Callable[[int, bytes], None]) -> dict[int, Exception]:
        """Compile (name, static) pairs on as many helpers as pay; calls `done(index, code)`, from several threads.

        Returns the errors of the requests that failed. If this thread is interrupted, the helpers are ended.
        """
        batch = Batch(requests, done)
        # A second helper pays from the second kernel on: it starts while the first does.
        count = min(min(MAX_HELPERS, _processors()) - len(self._busy), len(requests))
        threads = [
            threading.Thread(target=self._serve, args=(batch,), name="fastnn-compile", daemon=True)
            for _ in range(count - 1)
        ]
        for thread in threads:
            thread.start()
        try:
            self._serve(batch)
        except BaseException:
            batch.stopped = True
            self.close()
            raise
        finally:
            for thread in threads:
                thread.join()
        return batch.errors

    def _serve(self, batch: Batch) -> None:
        """Work off requests on one helper until none is left."""
        helper: Helper | None = None
        familiar: set[str] = set()
        while task := batch.next(familiar):
            index, name, static = task
            try:
                for attempt in (1, 2):
                    helper = helper or self._take()
                    try:
                        code = helper.compile(name, static)
                    except HelperDied as death:
                        last_words = self._drop(helper)
                        helper = None
                        if attempt == 2 and not death.ready:
                            raise KernelsUnavailable(f"the compile helper does not start ({last_words})") from death
                        if attempt == 2 or batch.stopped:
                            raise KernelError(
                                f"the compile helper died while it compiled {name} with {static} ({last_words})"
                            ) from death
                    else:
                        batch.done(index, code)
                        break
            except Exception as error:
                batch.errors[index] = error
        if helper is not None:
            with self._lock:
                self._busy.remove(helper)
                self._idle.append(helper)

    def _take(self) -> Helper:
        """An idle helper, or a new one."""
        with self._lock:
            if self._ended:
                raise KernelsUnavailable("the process is ending")
            while self._idle:
                helper = self._idle.pop()
                if helper.alive():
                    break
                helper.forget()
            else:
                helper = Helper(self._identity, self._environment)
            self._busy.append(helper)
        return helper

    def _drop(self, helper: Helper) -> str:
        """Give up a helper; returns its last words."""
        last_words = helper.stop()
        with self._lock:
            if helper in self._busy:
                self._busy.remove(helper)
        return last_words

    def close(self) -> None:
        """End all helpers, also in the middle of a request."""
        with self._lock:
            helpers, self._idle = self._idle + self._busy, []
        for helper in helpers:
            helper.stop()

    def _end(self) -> None:
        """At exit: end all helpers and start none for threads that still compile."""
        self._ended = True
        self.close()

    def abandon(self) -> None:
        """In a forked child: the helpers belong to the parent; let go of their pipes."""
        self._lock = threading.Lock()
        for helper in self._idle + self._busy:
            helper.forget()
        self._idle, self._busy = [], []


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
