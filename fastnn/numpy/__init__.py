"""NumPy, with some of its functions on fastnn's kernels: ``import fastnn.numpy as np``.

Everything of ``numpy`` is here under its name. The functions of `accelerated` serve plain float32 and float64 arrays,
with usual arguments and from a size on where that pays, by fastnn's kernels; all other calls, and all other names, are
NumPy's own. Arrays in and out are NumPy's. What a function returns differs from NumPy's in rounding only, within the
errors that fastnn states; dtypes, shapes, warnings and exceptions are NumPy's. Operators and methods of arrays
(``a @ b``, ``a.sum()``) belong to NumPy and stay as they are.

`docs/numpy.md` lists what is accelerated, with the gain.
"""

from __future__ import annotations

from typing import Any

import numpy as _numpy

from fastnn.numpy import _submodules, _table

accelerated = _table.gates()

globals().update({name: value for name, value in vars(_numpy).items() if not name.startswith("__")})
globals().update(accelerated)
_submodules.announce(__name__)

__all__ = list(_numpy.__all__)
__version__ = _numpy.__version__


def __getattr__(name: str) -> Any:
    found = getattr(_numpy, name)
    if _submodules.is_one(name):
        globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*dir(_numpy), "accelerated"})
