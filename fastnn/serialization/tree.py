"""What a checkpoint is made of: dicts, lists and tuples of Tensors, numbers and strings; as JSON beside named arrays.

A node of the JSON is a number, a string, a bool or null for itself; ``[kind, name]`` for an array of the file, the kind
being that of a `MEMBERS`; ``["list" or "tuple", [node, ...]]``; or ``["dict" or "ordered", [[key, node], ...]]``, where
a state dict carries the versions of its modules as a third entry.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn._runtime.tensor import TensorBase
from fastnn.errors import FormatError
from fastnn.serialization.pickles import INTEGERS
from fastnn.tensor import Tensor, from_numpy

DEPTH = 100
VALUES = 1 << 20  # numbers, strings and containers of a structure: what takes a byte or two in a file is an object here
MEMBERS = {  # what is made of an array: whether a Parameter, and whether it requires grad
    "tensor": (False, False),
    "leaf": (False, True),
    "parameter": (True, True),
    "frozen": (True, False),
}
_KINDS = {member: kind for kind, member in MEMBERS.items()}


def flattened(tree: Any) -> tuple[dict[str, np.ndarray], str]:
    """The arrays of `tree` by name, and the JSON that says where they belong."""
    arrays: dict[str, np.ndarray] = {}
    # names at the top come as they are, so that other tools find a state dict's own keys
    reserved = {key for key, value in tree.items() if _is_array(value)} if isinstance(tree, Mapping) else set()
    words = json.dumps(_node(tree, (), arrays, reserved, set()), separators=(",", ":"))
    if _values(words) > VALUES:
        raise ValueError(f"save: more than {VALUES:,} numbers, strings and containers; arrays keep any number of them")
    return arrays, words


def _values(words: str) -> int:
    """How many values some JSON has, at most."""
    return words.count(",") + words.count("[") + words.count("{")


def _is_array(value: Any) -> bool:
    return isinstance(value, (TensorBase, np.ndarray))


def _node(
    value: Any, place: tuple[str, ...], arrays: dict[str, np.ndarray], reserved: set[Any], above: set[int]
) -> Any:
    where = ".".join(place) or "the whole"
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if _is_array(value):
        name = ".".join(place) or "tensor"
        while name in arrays or (len(place) > 1 and name in reserved) or name == "__metadata__":
            name += "'"
        arrays[name] = value.array if isinstance(value, TensorBase) else value
        return [_KINDS[_is_parameter(value), bool(getattr(value, "requires_grad", False))], name]
    if id(value) in above:
        raise ValueError(f"save: {where} contains itself")
    if len(place) >= DEPTH:
        raise ValueError(f"save: {where} is nested deeper than {DEPTH}")
    above.add(id(value))
    if isinstance(value, Mapping):
        for key in value:
            if key is not None and not isinstance(key, (bool, int, float, str)):
                raise TypeError(f"save: keys must be strings or numbers, got {type(key).__name__} in {where}")
            if not _is_short(key):
                raise ValueError(f"save: keys must be strings, or numbers below 2**61, got {key:.3e} in {where}")
        kind = "ordered" if isinstance(value, OrderedDict) else "dict"
        made: list[Any] = [kind, [[k, _node(v, (*place, str(k)), arrays, reserved, above)] for k, v in value.items()]]
        versions = getattr(value, "_metadata", None)
        if kind == "ordered" and versions and _are_versions({**versions}):
            made.append({**versions})
    elif isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        made = [kind, [_node(v, (*place, str(i)), arrays, reserved, above) for i, v in enumerate(value)]]
    else:
        raise TypeError(
            f"save: {where} must be made of Tensors, arrays, numbers, strings, dicts, lists and tuples, "
            f"got {type(value).__name__}" + ("; save its state_dict()" if hasattr(value, "state_dict") else "")
        )
    above.discard(id(value))
    return made


def _is_short(key: Any) -> bool:
    return not isinstance(key, int) or abs(key) < INTEGERS


def _is_parameter(value: Any) -> bool:
    return isinstance(value, TensorBase) and type(value).__name__ == "Parameter"


def rebuilt(words: str, arrays: dict[str, np.ndarray]) -> Any:
    """The tree of some JSON; FormatError where that is not what `flattened` makes."""
    if _values(words) > VALUES:
        raise FormatError(f"the file's structure has more than {VALUES:,} values")
    try:
        node = json.loads(words)
    except (ValueError, RecursionError):
        raise FormatError("the description of the file's structure is no JSON") from None
    unused = {*arrays}
    tree = _value(node, arrays, unused, 0)
    if unused:
        raise FormatError(f"the file's structure does not mention {', '.join(sorted(unused)[:3])}")
    return tree


def _value(node: Any, arrays: dict[str, np.ndarray], unused: set[str], depth: int) -> Any:
    if not isinstance(node, list):
        if isinstance(node, dict):
            raise FormatError("the file's structure holds an object that has no meaning")
        return node
    versions = node.pop() if len(node) == 3 and node[0] == "ordered" else None
    if len(node) != 2 or not isinstance(node[0], str) or depth > DEPTH:
        raise FormatError("the file's structure holds a list that has no meaning")
    kind, content = node
    if kind in MEMBERS:
        if not isinstance(content, str) or content not in unused:
            raise FormatError(f"the file's structure names {content!r}, which is not in the file, or twice")
        unused.discard(content)
        return as_member(arrays[content], *MEMBERS[kind])
    if kind not in ("dict", "ordered", "list", "tuple") or not isinstance(content, list):
        raise FormatError(f"the file's structure holds a {kind!r}, which has no meaning")
    if kind in ("list", "tuple"):
        items = [_value(item, arrays, unused, depth + 1) for item in content]
        return items if kind == "list" else tuple(items)
    made: Any = OrderedDict() if kind == "ordered" else {}
    for pair in content:
        if not isinstance(pair, list) or len(pair) != 2 or isinstance(pair[0], (list, dict)) or pair[0] in made:
            raise FormatError("the file's structure holds a dict whose keys are none, or twice the same")
        if not _is_short(pair[0]):
            raise FormatError("the file's structure holds a dict with a key beyond 2**61")
        made[pair[0]] = _value(pair[1], arrays, unused, depth + 1)
    if versions is not None:
        if not _are_versions(versions):
            raise FormatError("the file's structure holds versions of modules that are none")
        made._metadata = OrderedDict(versions)
    return made


def _are_versions(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(entry, dict) and all(type(number) is int for number in entry.values()) for entry in value.values()
    )


def as_member(array: np.ndarray, parameter: bool, requires_grad: bool) -> Tensor:
    """A Tensor, or a Parameter, that takes an array over."""
    if not parameter:
        return from_numpy(array).requires_grad_(requires_grad)
    from fastnn.nn.parameter import Parameter

    return Parameter(from_numpy(array), requires_grad)


__all__ = ["flattened", "rebuilt"]
