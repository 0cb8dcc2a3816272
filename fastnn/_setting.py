"""Settings of the whole process that can be changed for a while."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import ClassVar, TypeVar

S = TypeVar("S", bound="Setting")


class Setting:
    """A choice among names, made for all threads, at once; as a context manager, until its end.

    A subclass is a function to those who call it, and says what its names mean.
    """

    what: ClassVar[str]
    names: ClassVar[tuple[str, ...]]
    choose: ClassVar[Callable[[int], int]]  # takes the number of a name, gives that of the former one

    def __init__(self, name: str) -> None:
        if name not in self.names:
            known = ", ".join(self.names)
            raise ValueError(f"{type(self).__name__}: the {self.what} must be one of {known}, got {name!r}")
        self._before = type(self).choose(self.names.index(name))

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        type(self).choose(self._before)
