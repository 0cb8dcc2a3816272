"""How each library is asked for a number of threads, and told which one it uses."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.peers.case import Side, Work

_limits: list[object] = []  # a limit lasts as long as its object


def _numpy_threads(threads: int) -> int:
    import numpy  # noqa: F401 - its BLAS must be loaded before it can be limited
    from threadpoolctl import threadpool_info, threadpool_limits

    _limits.append(threadpool_limits(threads, user_api="blas"))
    return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")


def _torch_threads(threads: int) -> int:
    import torch

    torch.set_num_threads(threads)
    return torch.get_num_threads()


def _fastnn_threads(threads: int) -> int:
    import fastnn

    fastnn.set_num_threads(threads)
    return fastnn.get_num_threads()


def numpy_side(setup: Callable[[int], Work]) -> Side:
    """Declare NumPy's side; threads are those of its BLAS."""
    return Side(setup, ("numpy", "threadpoolctl"), _numpy_threads)


def torch_side(setup: Callable[[int], Work]) -> Side:
    """Declare torch's side."""
    return Side(setup, ("torch", "numpy"), _torch_threads, peer_python=True)


def fastnn_side(setup: Callable[[int], Work]) -> Side:
    """Declare our side."""
    return Side(setup, ("fastnn-cpu", "numpy", "numba", "llvmlite"), _fastnn_threads)
