"""Fits in several Python threads whose updates are made together: side by side, one fit a core, in a single call.

Each thread brings the updates of an epoch. Once all fits are there, the one that came last makes the updates of all,
and everybody goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fastnn.sklearn._engine import Updates, make


class _Place:
    """A fit that waits."""

    def __init__(self, updates: Updates) -> None:
        self.updates = updates
        self.done = threading.Event()
        self.error: BaseException | None = None


class Meeting:
    """Where fits meet."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.members = 0
        self.waiting: list[_Place] = []

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Take part, as a fit that may bring updates."""
        with self.lock:
            self.members += 1
        try:
            yield
        finally:
            with self.lock:
                self.members -= 1
                complete = self._complete()
            self._serve(complete)

    def make(self, updates: Updates) -> None:
        """Have updates made, together with those of the other fits."""
        place = _Place(updates)
        with self.lock:
            self.waiting.append(place)
            complete = self._complete()
        self._serve(complete)
        place.done.wait()
        if place.error is not None:
            raise place.error

    def _complete(self) -> list[_Place]:
        """All that wait, if nobody is missing."""
        if len(self.waiting) < self.members:
            return []
        complete, self.waiting = self.waiting, []
        return complete

    def _serve(self, places: list[_Place]) -> None:
        if not places:
            return
        error: BaseException | None = None
        try:
            make([place.updates for place in places])
        except BaseException as raised:
            error = raised
        for place in places:
            place.error = error
            place.done.set()


_lock = threading.Lock()
_meeting: Meeting | None = None
_hosts = 0


def current() -> Meeting | None:
    """Where fits meet now, if they do."""
    return _meeting


@contextmanager
def meeting() -> Iterator[None]:
    """Let all fits of this process meet."""
    global _meeting, _hosts
    with _lock:
        _hosts += 1
        _meeting = _meeting or Meeting()
    try:
        yield
    finally:
        with _lock:
            _hosts -= 1
            if _hosts == 0:
                _meeting = None


__all__ = ["Meeting", "current", "meeting"]
