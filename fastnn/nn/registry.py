"""The names under which a module holds its members."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from fastnn._runtime.capture import restructure
from fastnn._runtime.tensor import TensorBase

if TYPE_CHECKING:
    from fastnn.nn.module import Module


class Registry(MutableMapping[str, Any]):
    """The names under which a module holds parameters (or buffers, or submodules).

    The values lie in the module's own attributes, so that reading ``self.weight`` costs a dictionary look-up; this
    mapping reads and writes them there.
    """

    __slots__ = ("names", "owner")

    def __init__(self, owner: Module) -> None:
        self.owner = owner
        self.names: dict[str, None] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        return self.owner.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.names[name] = None
        self._leave(name, self.owner.__dict__.get(name))
        self.owner.__dict__[name] = value

    def __delitem__(self, name: str) -> None:
        del self.names[name]
        self._leave(name, self.owner.__dict__.pop(name))

    def _leave(self, name: str, value: Any) -> None:
        """Let compiled calls know that a member has lost its place."""
        restructure(self.owner, name)
        if isinstance(value, TensorBase):
            value._retire()

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self.names))

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __repr__(self) -> str:
        return repr(dict(self))


__all__ = ["Registry"]
