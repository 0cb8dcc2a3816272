from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastnn._runtime.recipe import Recipe

Array = np.ndarray[Any, Any]

class Primitive:
    name: str
    input_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    attribute_defaults: tuple[Any, ...]
    cell_names: tuple[str, ...]
    cell_defaults: tuple[float, ...]
    n_returned: int
    views: bool
    def __init__(
        self,
        name: str,
        input_names: Sequence[str],
        optional: Sequence[str],
        promoted: Sequence[str],
        attributes: Mapping[str, Any],
        cells: Mapping[str, float],
        returned: int,
        saved_inputs: Sequence[int],
        saved_outputs: Sequence[int],
        differentiable: bool,
        elementwise: bool,
        users: Sequence[Sequence[int]] | None = None,
        views: bool = False,
    ) -> None: ...
    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any: ...
    def forget(self) -> None: ...
    def _check_attributes(self, attributes: tuple[Any, ...]) -> tuple[Any, ...]: ...
    def _promote(self, given: list[Any], arrays: list[Array | None], tensors: bool) -> list[Array | None]: ...
    def _check_out(self, shape: tuple[int, ...], dtype: np.dtype[Any], out: Array) -> None: ...
    def _lower(
        self, arrays: list[Array | None], attributes: tuple[Any, ...], tensors: bool, out: Array | None
    ) -> Recipe: ...
    def _lower_backward(
        self, recipe: Recipe, needs: tuple[bool, ...], gradients: list[Array | None], saved: list[Array]
    ) -> Recipe: ...

def call_on(op: Primitive, arrays: Sequence[Any], attribute: Any) -> Any: ...
def get_backend() -> int: ...
def set_backend_now(number: int) -> int: ...
def get_precision_now() -> int: ...
def set_precision_now(number: int) -> int: ...
