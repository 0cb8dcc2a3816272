from collections.abc import Iterable
from typing import Any

import numpy as np

from fastnn._runtime.tensor import TensorBase

Array = np.ndarray[Any, Any]

def run_backward(
    roots: Iterable[TensorBase],
    gradients: Iterable[Array],
    retain_graph: bool,
    targets: Iterable[TensorBase] | None = None,
) -> list[Array | None]: ...
