"""Neural networks at the speed of the CPU.

fastnn trains and runs neural networks on multicore CPUs, from NumPy: `fastnn.ops` for arrays, `fastnn.Tensor` with
`fastnn.nn` and `fastnn.optim` for PyTorch's way of writing, `fastnn.data` for datasets and batches.
"""

from __future__ import annotations

import builtins as _builtins
import importlib
from typing import TYPE_CHECKING, Any

try:
    import fastnn._runtime._fastnn_team  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "fastnn._runtime._fastnn_team":
        raise
    raise ImportError(
        f"fastnn in {__path__[0]} is the unbuilt source tree: its compiled runtime is missing. Build and install "
        "it with `make install` (then use .venv/bin/python, outside this folder) or with `pip install .`"
    ) from None

import numpy as _np

from fastnn import autograd, functions, ops
from fastnn._backend import backend, use_backend
from fastnn._precision import get_precision, set_precision
from fastnn._runtime.tensor import is_grad_enabled
from fastnn._threads import get_num_threads, set_num_threads, threads
from fastnn.autograd import enable_grad, inference_mode, no_grad, set_grad_enabled
from fastnn.errors import CompileError, DTypeError, FormatError, GraphError, ShapeError
from fastnn.tensor import Tensor, as_tensor, from_dlpack, from_numpy, tensor

if TYPE_CHECKING:
    from fastnn import (
        data,
        distributions,
        func,
        inspection,
        linalg,
        models,
        nn,
        numpy,
        optim,
        random,
        serialization,
        special,
        testing,
        training,
    )
    from fastnn.compilation import compile
    from fastnn.explanation import explain
    from fastnn.functions.products import (
        addbmm,
        addmm,
        addmv,
        addr,
        baddbmm,
        bmm,
        chain_matmul,
        dot,
        einsum,
        ger,
        inner,
        matmul,
        mm,
        mv,
        outer,
        tensordot,
        vdot,
    )
    from fastnn.inspection import plot_model
    from fastnn.serialization import load, save
    from fastnn.training import evaluate, fit, fit_many, predict

__version__ = "0.1.0"

float16 = _np.dtype(_np.float16)
float32 = _np.dtype(_np.float32)
float64 = _np.dtype(_np.float64)
int8 = _np.dtype(_np.int8)
int16 = _np.dtype(_np.int16)
int32 = _np.dtype(_np.int32)
int64 = _np.dtype(_np.int64)
uint8 = _np.dtype(_np.uint8)
bool = _np.dtype(_np.bool_)
float = float32
double = float64
int = int32
long = int64

_LAZY = (
    "data",
    "distributions",
    "func",
    "inspection",
    "linalg",
    "models",
    "nn",
    "numpy",
    "optim",
    "random",
    "serialization",
    "special",
    "testing",
    "training",
)
# Not a module of the function's name: importing that one would put it in the function's place.
_LAZY_FROM = {
    "compile": "fastnn.compilation",
    "evaluate": "fastnn.training",
    "explain": "fastnn.explanation",
    "fit": "fastnn.training",
    "fit_many": "fastnn.training",
    "load": "fastnn.serialization",
    "plot_model": "fastnn.inspection",
    "predict": "fastnn.training",
    "save": "fastnn.serialization",
}


def manual_seed(seed: _builtins.int) -> None:
    """Start the default random generator anew; see `fastnn.random.manual_seed`."""
    from fastnn import random as own

    own.manual_seed(seed)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"fastnn.{name}")
    if name in _LAZY_FROM:
        found = globals()[name] = getattr(importlib.import_module(_LAZY_FROM[name]), name)
        return found
    found = globals()[name] = functions.find(name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_LAZY_FROM, *functions.FUNCTIONS, *functions.IN_PLACE})


__all__ = [
    "CompileError",
    "DTypeError",
    "FormatError",
    "GraphError",
    "ShapeError",
    "Tensor",
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "as_tensor",
    "autograd",
    "backend",
    "baddbmm",
    "bmm",
    "chain_matmul",
    "compile",
    "data",
    "distributions",
    "dot",
    "einsum",
    "enable_grad",
    "evaluate",
    "explain",
    "fit",
    "fit_many",
    "from_dlpack",
    "from_numpy",
    "func",
    "ger",
    "get_num_threads",
    "get_precision",
    "inference_mode",
    "inner",
    "inspection",
    "is_grad_enabled",
    "linalg",
    "load",
    "manual_seed",
    "matmul",
    "mm",
    "models",
    "mv",
    "nn",
    "no_grad",
    "numpy",
    "ops",
    "optim",
    "outer",
    "plot_model",
    "predict",
    "random",
    "save",
    "serialization",
    "set_grad_enabled",
    "set_num_threads",
    "set_precision",
    "special",
    "tensor",
    "tensordot",
    "testing",
    "threads",
    "training",
    "use_backend",
    "vdot",
]
