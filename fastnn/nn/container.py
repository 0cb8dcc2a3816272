"""Modules that hold modules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, TypeVar

from fastnn._numpy_views import integer
from fastnn.nn.joining import in_turn
from fastnn.nn.module import Module, indented

S = TypeVar("S", bound="_Numbered")


def place(owner: Any, index: Any) -> int:
    """An index of a container, counted from 0."""
    name, size = type(owner).__name__, len(owner)
    found = integer(f"{name}: index", index)
    if not -size <= found < size:
        raise IndexError(f"{name}: index must lie from {-size} to {size - 1}, got {found}")
    return found % size


class _Numbered(Module):
    """Modules in a row, under the names "0", "1", ..."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def _name(self, index: Any) -> str:
        return [*self._modules][place(self, index)]

    def _renumber(self, modules: list[Module]) -> None:
        for name in self._modules:
            del self._modules[name]
        for i, module in enumerate(modules):
            self._modules[str(i)] = module

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        names = [*self._modules]
        gone = {*names[index]} if isinstance(index, slice) else {self._name(index)}
        self._renumber([self._modules[name] for name in names if name not in gone])

    def append(self: S, module: Module) -> S:
        """Add a module at the end; returns self."""
        self.add_module(str(len(self)), module)
        return self

    def _extend(self: S, modules: Iterable[Module]) -> S:
        if not isinstance(modules, Iterable):
            raise TypeError(f"{type(self).__name__}.extend: expected modules, got {type(modules).__name__}")
        for module in [*modules]:
            self.append(module)
        return self

    def insert(self: S, index: int, module: Module) -> S:
        """Put a module before the one at `index`; returns self."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}.insert: expected a Module, got {type(module).__name__}")
        size = len(self)
        index = integer(f"{type(self).__name__}.insert: index", index)
        if not -size <= index <= size:
            raise IndexError(f"{type(self).__name__}.insert: index must lie from {-size} to {size}, got {index}")
        modules = [*self]
        modules.insert(index + size if index < 0 else index, module)
        self._renumber(modules)
        return self

    def pop(self, key: int | slice) -> Any:
        """Take out a module, or several, and return it."""
        found = self[key]  # type: ignore[index]
        del self[key]
        return found


class Sequential(_Numbered):
    """Modules applied one after the other.

    Takes the modules as arguments, or one OrderedDict of names and modules.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            for i, module in enumerate(args):
                self.add_module(str(i), module)

    def forward(self, input: Any) -> Any:
        """Pass the input through every module."""
        own = self.__dict__
        return in_turn(input, [own[name] for name in self._modules.names])

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(OrderedDict([*self._modules.items()][index]))
        return self._modules[self._name(index)]

    def extend(self, sequential: Iterable[Module]) -> Sequential:
        """Add several modules at the end; returns self."""
        return self._extend(sequential)

    def __add__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(f"Sequential: + takes another Sequential, got {type(other).__name__}")
        return Sequential(*self, *other)

    def __iadd__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(f"Sequential: += takes another Sequential, got {type(other).__name__}")
        return self.extend(other)

    def __mul__(self, other: int) -> Sequential:
        return Sequential(*[*self] * _factor(other))

    __rmul__ = __mul__

    def __imul__(self, other: int) -> Sequential:
        return self.extend([*self] * (_factor(other) - 1))


def _factor(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"Sequential: * takes an integer, got {type(value).__name__}")
    if value <= 0:
        raise ValueError(f"Sequential: * takes a positive factor, got {value}")
    return value


class ModuleList(_Numbered):
    """A list of modules, which belong to the module that holds it; it has no forward.

    Parameters
    ----------
    modules : what it begins with.
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, idx: int | slice) -> Any:
        if isinstance(idx, slice):
            return type(self)([*self][idx])
        return self._modules[self._name(idx)]

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add several modules at the end; returns self."""
        return self._extend(modules)

    def __iadd__(self, modules: Iterable[Module]) -> ModuleList:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        """As torch's: neighbours that read the same are counted rather than repeated."""
        runs: list[tuple[int, int, str]] = []
        for i, module in enumerate(self):
            words = repr(module)
            if runs and runs[-1][2] == words:
                runs[-1] = (runs[-1][0], i, words)
            else:
                runs.append((i, i, words))
        if not runs:
            return f"{self._get_name()}()"
        lines = [indented(f"({a}): {words}" if a == b else f"({a}-{b}): {b - a + 1} x {words}") for a, b, words in runs]
        return "\n  ".join([f"{self._get_name()}(", *lines]) + "\n)"


class ModuleDict(Module):
    """A dictionary of modules, which belong to the module that holds it; it has no forward.

    Parameters
    ----------
    modules : a mapping of names to modules, or pairs of them.
    """

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        found: Module = self._modules[key]
        return found

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Take out all modules."""
        self._modules.clear()

    def pop(self, key: str) -> Module:
        """Take out a module and return it."""
        found = self[key]
        del self[key]
        return found

    def keys(self) -> KeysView[str]:
        """Names."""
        return self._modules.keys()

    def items(self) -> ItemsView[str, Module]:
        """Names with modules."""
        return self._modules.items()

    def values(self) -> ValuesView[Module]:
        """Modules."""
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Add or replace modules: a mapping of names to modules, or pairs of them, in their order."""
        for key, module in pairs("ModuleDict", modules):
            self[key] = module


def pairs(owner: str, given: Any) -> list[tuple[Any, Any]]:
    """Keys and values of a mapping, or of an iterable of pairs, checked."""
    if isinstance(given, Mapping) or (hasattr(given, "keys") and hasattr(given, "items")):
        return [*given.items()]
    if not isinstance(given, Iterable):
        raise TypeError(f"{owner}.update: expected a mapping or pairs, got {type(given).__name__}")
    found = []
    for i, pair in enumerate(given):
        if not isinstance(pair, Iterable):
            raise TypeError(f"{owner}.update: element {i} must be a pair, got {type(pair).__name__}")
        both = tuple(pair)
        if len(both) != 2:
            raise ValueError(f"{owner}.update: element {i} must be a pair, got {len(both)} things")
        found.append(both)
    return found


__all__ = ["ModuleDict", "ModuleList", "Sequential"]
