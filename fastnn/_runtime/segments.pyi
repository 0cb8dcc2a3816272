from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.tensor import Tensor

Array = np.ndarray[Any, Any]

class LayoutError(ValueError): ...

def same_items(present: list[Any], former: tuple[Any, ...]) -> bool: ...

class Batch:
    arrays: list[Array]
    fresh: bool
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def scalars(self) -> tuple[float, ...]: ...
    params: list[Tensor]
    def reread(
        self, state: dict[Any, dict[str, Any]], scalars: tuple[str, ...], states: tuple[str, ...]
    ) -> tuple[float, ...] | None: ...
    def finish(self, *values: float) -> None: ...

def gather(
    params: list[Tensor],
    state: dict[Any, dict[str, Any]],
    scalars: tuple[str, ...],
    states: tuple[str, ...],
    begin: Callable[[Tensor], None],
) -> list[Batch]: ...

class SegmentedUpdate:
    def __init__(self, name: str, columns: tuple[str, ...], address: int, nanoseconds: float) -> None: ...
    def __call__(self, arrays: list[Array], flags: tuple[int, ...], cells: tuple[float, ...]) -> None: ...

class SegmentedNorm:
    def __init__(self, measure: int, total: int, scale: int, nanoseconds: float) -> None: ...
    def __call__(self, arrays: list[Array], order: float, limit: float, scale: bool) -> float: ...
