"""Whether modules, and what Python's floats become, are as they were when a call was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fastnn._default_dtype import get_default_dtype
from fastnn.nn.module import Module
from fastnn.nn.registry import Registry

_PLAIN = (int, float, complex, str, bytes, tuple, frozenset)


def _noted(value: Any) -> Any:
    """What a later value is compared with: names for a registry, a copy for what may change in place."""
    if isinstance(value, Registry):
        return tuple(value.names)
    if isinstance(value, dict):
        return tuple((key, id(own)) for key, own in value.items())
    if isinstance(value, (list, set)):
        return tuple(id(own) for own in value)
    return value


def same(noted: Any, value: Any) -> bool:
    """Whether a value is the one that was noted, or a plain one that equals it."""
    now = _noted(value)
    if now is noted:
        return True
    if type(now) is not type(noted) or not isinstance(now, _PLAIN):
        return False
    return bool(now == noted)


def unchanged(called: Iterable[Module]) -> Callable[[], bool]:
    """A function that tells whether the modules, and all below them, have the attributes that they have now.

    And whether the default dtype is the present one.
    """
    default = get_default_dtype()
    noted: dict[int, tuple[Module, dict[str, Any]]] = {}
    for module in called:
        for own in module.modules():
            if id(own) not in noted:
                noted[id(own)] = own, {name: _noted(value) for name, value in own.__dict__.items()}
    modules = list(noted.values())

    def check() -> bool:
        if get_default_dtype() != default:
            return False
        for module, attributes in modules:
            present = module.__dict__
            if len(present) != len(attributes):
                return False
            for name, value in attributes.items():
                if name not in present or not same(value, present[name]):
                    return False
        return True

    return check


__all__ = ["same", "unchanged"]
