"""Worker processes that check one name at a time; one that hangs or dies is replaced."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.conformance.tables import MODULES

WORKER = Path(__file__).with_name("worker.py")
START_SECONDS = 180.0


class Worker:
    """One process; `names` are those of the table."""

    def __init__(self, which: str) -> None:
        self._child = subprocess.Popen(
            # -P: the folder the run was started from must not be searched before installed packages
            [sys.executable, "-P", str(WORKER), MODULES[which]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        first = self._answer(START_SECONDS)
        if first is None or "names" not in first:
            self.close()
            raise RuntimeError("the worker did not start: torch and fastnn must both be importable")
        self.names: list[str] = first["names"]

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            return {"late": True}
        return None if line is None else json.loads(line)

    def check(self, name: str, options: dict[str, Any], seconds: float) -> tuple[dict[str, Any], bool]:
        """The outcome of one name, and whether the worker can go on."""
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({"name": name, "options": options}) + "\n")
        self._child.stdin.flush()
        deadline, at = time.monotonic() + seconds, "its start"
        while True:
            answer = self._answer(max(0.1, deadline - time.monotonic()))
            if answer is not None and "done" in answer:
                return answer["done"], True
            if answer is not None and "at" in answer and time.monotonic() < deadline:
                at = answer["at"]
                continue
            if answer is None:
                said = f"the process ended with status {self._child.wait()} in {at}"
            else:
                said = f"not done after {seconds:.0f} s, in {at}"
            record = {"name": name, "status": "failed", "passed": 0, "failed": 1, "failures": [said]}
            return {**record, "skips": {}, "notes": [], "absent": ""}, False

    def close(self) -> None:
        """End the process."""
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


def run(
    which: str, first: Worker, names: Sequence[str], options: dict[str, Any], jobs: int, seconds: float
) -> Iterator[dict[str, Any]]:
    """The outcomes of the names, as they come; `first` serves as one of the workers."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    outcomes: queue.SimpleQueue[dict[str, Any] | BaseException] = queue.SimpleQueue()
    for name in names:
        waiting.put(name)

    def serve(worker: Worker | None) -> None:
        try:
            while True:
                try:
                    name = waiting.get_nowait()
                except queue.Empty:
                    return
                worker = worker or Worker(which)
                record, alive = worker.check(name, options, seconds)
                if not alive:
                    worker.close()
                    worker = None
                outcomes.put(record)
        except BaseException as error:
            outcomes.put(error)
        finally:
            if worker is not None:
                worker.close()

    for number in range(min(jobs, max(1, len(names)))):
        threading.Thread(target=serve, args=(first if number == 0 else None,), daemon=True).start()
    for _ in names:
        outcome = outcomes.get()
        if isinstance(outcome, BaseException):
            raise outcome
        yield outcome
