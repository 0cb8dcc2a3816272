from collections.abc import Callable
from typing import Any

class Attributes:
    def __init__(self, defaults: tuple[Any, ...], check: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> None: ...
