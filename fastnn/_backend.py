"""Which arithmetic serves the ops: compiled kernels, or their NumPy references."""

from __future__ import annotations

from fastnn._runtime.dispatch import get_backend, set_backend_now
from fastnn._setting import Setting

BACKENDS = ("kernels", "numpy")


class use_backend(Setting):
    """Choose the backend for all threads, at once; as a context manager, until its end.

    Parameters
    ----------
    name : ``"kernels"`` (compiled, the default) or ``"numpy"`` (every op runs its reference: to debug, and as the
        baseline of the benchmarks).
    """

    what, names, choose = "backend", BACKENDS, set_backend_now


def backend() -> str:
    """Name of the present backend."""
    return BACKENDS[get_backend()]
