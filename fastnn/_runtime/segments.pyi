from typing import Any

import numpy as np

class LayoutError(ValueError): ...

class SegmentedUpdate:
    def __init__(self, name: str, columns: tuple[str, ...], address: int, nanoseconds: float) -> None: ...
    def __call__(
        self, arrays: list[np.ndarray[Any, Any]], flags: tuple[int, ...], cells: tuple[float, ...]
    ) -> None: ...
