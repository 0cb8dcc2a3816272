from collections.abc import Callable, Sequence
from typing import Any

class Recipe:
    lowering: Any
    reference: Callable[..., Any] | None
    outputs: tuple[Any, ...]
    shapes: dict[str, Any]
    attrs: tuple[Any, ...]
    checks: tuple[Callable[..., Exception], ...]
    into: bool
    backward: list[Recipe]
    def __init__(
        self,
        n_inputs: int,
        lowering: Any = None,
        outputs: Sequence[Any] = (),
        resolve: Callable[..., int] | None = None,
        cell_names: Sequence[str] = (),
        reference: Callable[..., Any] | None = None,
        shapes: dict[str, Any] | None = None,
        attrs: tuple[Any, ...] = (),
        returned: int = 0,
        into: bool = False,
    ) -> None: ...
