from collections.abc import Callable
from typing import Any

ELEMENTWISE: int
PRODUCT: int
INNER: int
REDUCTION: int
FUNCTION: int

class Gate:
    original: Any
    least: tuple[int, int]
    most: tuple[int, int]
    freely: int
    def __init__(
        self,
        original: Any,
        find: Callable[[], Any],
        kind: int,
        arity: int,
        least: tuple[int, int],
        most: tuple[int, int],
        freely: int,
        names: tuple[str, ...],
        watched: bool,
        placed: bool,
        easy: tuple[float, ...],
        restore: Any,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __getattr__(self, name: str) -> Any: ...
