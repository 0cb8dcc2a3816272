"""What checking one name gave, as plain values that travel between processes."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.conformance.compare import Different
from benchmarks.conformance.convert import Unconvertible

LONGEST_MESSAGE = 400


class Outcome:
    """Counts of the calls of one name by what came of them, and messages of those that failed.

    Parameters
    ----------
    report : called with a line that says what is about to be done.
    """

    def __init__(self, name: str, report: Callable[[str], None] = lambda text: None) -> None:
        self.name = name
        self.passed = 0
        self.failures: list[str] = []
        self.skips: Counter[str] = Counter()
        self.notes: list[str] = []
        self.absent = ""
        self._report = report

    @contextmanager
    def checking(self, what: str) -> Iterator[None]:
        """Count what happens within: nothing (passed), a difference or an error (failed), Unconvertible (skipped)."""
        self._report(what)
        try:
            yield
        except Unconvertible as reason:
            self.skips[str(reason)] += 1
        except Different as difference:
            self.failures.append(f"{what}: {difference}"[:LONGEST_MESSAGE])
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{what}: {type(error).__name__}: {' '.join(str(error).split())}"[: LONGEST_MESSAGE - 60]
            self.failures.append(f"{text} ({'/'.join(place.filename.split('/')[-3:])}:{place.lineno})")
        else:
            self.passed += 1

    @property
    def status(self) -> str:
        """One of missing, failed, passed, skipped."""
        if self.absent:
            return "missing"
        if self.failures:
            return "failed"
        return "passed" if self.passed else "skipped"

    def record(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "name": self.name,
            "status": self.status,
            "passed": self.passed,
            "failed": len(self.failures),
            "failures": self.failures[:50],
            "skips": dict(self.skips),
            "notes": self.notes,
            "absent": self.absent,
        }
