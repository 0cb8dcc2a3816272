"""Calling a module with other parameters than its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastnn.nn.module import Module


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Any] | tuple[Mapping[str, Any], ...] | list[Mapping[str, Any]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call `module` as if its parameters and buffers were others.

    Parameters
    ----------
    parameter_and_buffer_dicts : Tensors by dotted name, in one mapping or in several without common names. What a call
        puts in a buffer's place is put in the mapping.
    args : a positional argument, or a tuple of them.
    kwargs : keyword arguments.
    tie_weights : a parameter that the module holds under several names is replaced under all of them.
    strict : whether the names must be exactly the module's; RuntimeError otherwise.
    """
    dicts = (
        [parameter_and_buffer_dicts]
        if isinstance(parameter_and_buffer_dicts, Mapping)
        else [*parameter_and_buffer_dicts]
    )
    values: dict[str, Any] = {}
    for each in dicts:
        if not isinstance(each, Mapping):
            raise TypeError(f"functional_call: expected mappings of names to Tensors, got {type(each).__name__}")
        if twice := values.keys() & each.keys():
            raise ValueError(f"functional_call: {min(twice)} appears in several mappings")
        values.update(each)
    positional = () if args is None else args if isinstance(args, tuple) else (args,)
    with _swapped(module, values, tie_weights, strict) as places:
        result = module(*positional, **(kwargs or {}))
        for key, (holder, name) in places.items():
            if holder.__dict__[name] is not values[key]:
                for each in dicts:
                    if key in each and isinstance(each, dict):
                        each[key] = holder.__dict__[name]
    return result


@contextmanager
def _swapped(
    module: Module, values: Mapping[str, Any], tie_weights: bool, strict: bool
) -> Iterator[dict[str, tuple[Module, str]]]:
    """Put `values` in the members' places, and the members back afterwards; gives the place of every name."""
    members: dict[str, tuple[Module, str]] = {}
    for place, holder in module.named_modules(remove_duplicate=False):
        for name in (*holder._parameters, *holder._buffers):
            members[f"{place}.{name}" if place else name] = (holder, name)
    missing = sorted(
        key for key, (holder, name) in members.items() if key not in values and holder.__dict__[name] is not None
    )
    unexpected = sorted(values.keys() - members.keys())
    if tie_weights:
        given = {id(members[key][0].__dict__[members[key][1]]) for key in values if key in members}
        missing = [key for key in missing if id(members[key][0].__dict__[members[key][1]]) not in given]
    if strict and (missing or unexpected):
        raise RuntimeError(f"functional_call: missing names {missing}, unexpected names {unexpected}")
    places = {key: members[key] for key in values if key in members}
    swaps: dict[tuple[int, str], tuple[Module, str, Any, Any]] = {}  # keyed by place: a module may have several names
    by_member: dict[int, Any] = {}
    for key, (holder, name) in places.items():
        own = holder.__dict__[name]
        if own is not None and tie_weights and by_member.setdefault(id(own), values[key]) is not values[key]:
            raise ValueError(f"functional_call: {key} is tied to another name, which is given another value")
        swaps[id(holder), name] = (holder, name, own, values[key])
    if tie_weights:
        for holder, name in members.values():
            own = holder.__dict__[name]
            if id(own) in by_member and own is not None:
                swaps.setdefault((id(holder), name), (holder, name, own, by_member[id(own)]))
    try:
        for holder, name, _, value in swaps.values():
            holder.__dict__[name] = value
        yield places
    finally:
        for holder, name, own, _ in swaps.values():
            holder.__dict__[name] = own


__all__ = ["functional_call"]
