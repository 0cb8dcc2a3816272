"""What is compared: torch's tables by name, and the names that fastnn is to have."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

TABLES = ("ops", "modules", "optimizers")
MODULES = {"ops": "operators", "modules": "modules", "optimizers": "optimizers"}
CLAIMS = Path(__file__).with_name("claims.txt")


def claims(text: str | None = None) -> dict[str, list[str]]:
    """The names that fastnn is to have, by table (`name`: of none)."""
    found: dict[str, list[str]] = {"ops": [], "modules": [], "optimizers": [], "name": []}
    for line in (CLAIMS.read_text() if text is None else text).splitlines():
        words = line.split("#", 1)[0].split()
        if words:
            if words[0] not in found:
                raise ValueError(f"claims: a line must begin with one of {', '.join(found)}, got {line!r}")
            found[words[0]] += [name for name in words[1:] if name not in found[words[0]]]
    return found


def select(patterns: Sequence[str], known: Collection[str]) -> list[str]:
    """The names that match a pattern, or whose part before a variant's dot or last part is it; ValueError for none."""
    if not patterns:
        return list(known)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        names = [
            name
            for name in known
            if fnmatchcase(name, pattern) or name.startswith(pattern + ".") or _last(name) == pattern
        ]
        if not names:
            raise ValueError(f"no name in torch's table is or matches {pattern!r}")
        chosen.update(dict.fromkeys(names))
    return list(chosen)


def _last(name: str) -> str:
    return name.removeprefix("nn.functional.").removeprefix("linalg.").removeprefix("special.")


def claimed(name: str, names: Collection[str]) -> bool:
    """Whether a name of a table, without or with its variant, is among `names`."""
    return name in names or any(name.startswith(known + ".") for known in names)
