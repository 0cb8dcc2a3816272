"""NumPy's submodules under fastnn's name: ``import fastnn.numpy.linalg`` gives ``numpy.linalg`` itself.

Found before Python looks into NumPy's folders, which would run a submodule a second time under the other name. The
base classes for finders and loaders are not used: importing them takes longer than all of this package.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

# Own modules of the package, which are no submodules of NumPy.
_OWN = ("_submodules", "_table", "_routes")


class _StandIn:
    """Puts NumPy's module in the place of the one that was to be made."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave that to Python."""

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(self.name)


class _Finder:
    def __init__(self, package: str) -> None:
        self.prefix = package + "."

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(self.prefix):
            return None
        rest = fullname[len(self.prefix) :]
        if rest in _OWN or importlib.util.find_spec(f"numpy.{rest}") is None:
            return None
        return ModuleSpec(fullname, _StandIn(f"numpy.{rest}"))  # type: ignore[arg-type]


def announce(package: str) -> None:
    """Let NumPy's submodules be imported below `package`."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(package))


def is_one(name: str) -> bool:
    """Whether a submodule of NumPy is called so, and is loaded."""
    return f"numpy.{name}" in sys.modules
