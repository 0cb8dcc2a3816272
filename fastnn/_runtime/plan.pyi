from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

STALE: str
BUSY: str

class View:
    slot: int
    place: int
    keep: Any
    dtype: np.dtype[Any]
    @property
    def shape(self) -> tuple[int, ...]: ...
    def __init__(
        self,
        slot: int,
        place: int,
        shape: Sequence[int],
        strides: Sequence[int],
        dtype: npt.DTypeLike,
        keep: Any = None,
    ) -> None: ...

class Replayer:
    plan: Plan | None
    plans: dict[Any, list[Plan]]
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes | None: ...
    def _miss(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...
    def _shape(self, form: Any, results: list[Any]) -> Any: ...

def replay_together(plans: list[Plan], arguments: list[list[np.ndarray[Any, Any]]]) -> Any: ...
def replay_series(jobs: list[tuple[Any, ...]]) -> Any: ...
def call_together(functions: list[Any], calls: list[tuple[Any, ...]]) -> list[Any]: ...
def note_written(plan: Plan, args: Sequence[Any]) -> int: ...
def fixed(view: View) -> np.ndarray[Any, Any]: ...

class Plan:
    report: Any
    guard: Any
    arena_bytes: int
    form: Any
    used: int
    written: tuple[int, ...]
    is_bound: bool
    def __init__(
        self,
        phases: Sequence[Any],
        tables: Sequence[Any],
        cells: Sequence[float],
        stretches: Sequence[Any],
        counts: tuple[int, int, int, int],
        bound: Sequence[tuple[int, np.ndarray[Any, Any]]],
        outside: Sequence[tuple[int, int]],
        written: Sequence[int],
        externals: Sequence[Any],
        entries: Sequence[Any],
        updates: Sequence[Any],
        draws: Sequence[Any],
        after: Sequence[Any],
        touched: Sequence[Any],
        grads: Sequence[Any],
        dropped: Sequence[Any],
        results: Sequence[View],
        result_bytes: Sequence[int],
        guard: Any,
        keep: Any,
        report: Any,
        arena_bytes: int,
    ) -> None: ...
    def _repr_html_(self) -> str: ...
    def replay(self, arrays: list[np.ndarray[Any, Any]]) -> Any: ...
    def reaching(self, arrays: list[np.ndarray[Any, Any]]) -> list[int]: ...
