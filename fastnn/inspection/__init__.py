"""What a model and a run of it consist of: layers, FLOPs, bytes, pictures. Each part is found when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnn.inspection.counting import Cost, Counter, Observer, backward_cost, forward_cost
    from fastnn.inspection.graph import Box, Graph, trace_graph
    from fastnn.inspection.picture import Picture, plot_model
    from fastnn.inspection.table import Row, Summary, summary

_HOMES = {
    "counting": "Cost Counter Observer backward_cost forward_cost",
    "graph": "Box Graph trace_graph",
    "picture": "Picture plot_model",
    "table": "Row Summary summary",
}
_LAZY = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fastnn.inspection' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"fastnn.inspection.{_LAZY[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


__all__ = [
    "Box",
    "Cost",
    "Counter",
    "Graph",
    "Observer",
    "Picture",
    "Row",
    "Summary",
    "backward_cost",
    "forward_cost",
    "plot_model",
    "summary",
    "trace_graph",
]
