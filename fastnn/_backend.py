"""Which arithmetic serves the ops: compiled kernels, or their NumPy references."""

from __future__ import annotations

from types import TracebackType

from fastnn._runtime.dispatch import get_backend, set_backend_now

BACKENDS = ("kernels", "numpy")


class use_backend:
    """Choose the backend for all threads, at once; as a context manager, until its end.

    Parameters
    ----------
    name : ``"kernels"`` (compiled, the default) or ``"numpy"`` (every op runs its reference: to debug, and as the
        baseline of the benchmarks).
    """

    def __init__(self, name: str) -> None:
        if name not in BACKENDS:
            raise ValueError(f"use_backend: the backend must be one of {', '.join(BACKENDS)}, got {name!r}")
        self._before = set_backend_now(BACKENDS.index(name))

    def __enter__(self) -> use_backend:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        set_backend_now(self._before)


def backend() -> str:
    """Name of the present backend."""
    return BACKENDS[get_backend()]
