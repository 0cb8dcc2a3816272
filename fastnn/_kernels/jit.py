"""Kernels from source to address: the C signature, specialisation, Numba's flags.

    void kernel(const int64_t *args, int64_t first_chunk, int64_t last_chunk, void *scratch)

A kernel is a factory of compile-time parameters, marked with `kernel`; its device functions are marked with `inline`.
The main process asks for `address("module.function", **static)` and never imports Numba.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

PACKAGE = "fastnn._kernels"
SYMBOL = "fastnn_kernel"
SCRATCH_BYTES = 1 << 20

_addresses: dict[str, int] = {}
_keep: list[Any] = []


def kernel(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a factory: called with its static parameters, it returns ``body(args, first, last, scratch)``."""
    factory.__fastnn_kernel__ = True  # type: ignore[attr-defined]
    return factory


def inline(function: Callable[..., Any]) -> Any:
    """Compile a device helper with the project's flags and have LLVM inline it into its callers."""
    from numba import njit

    return njit(nogil=True, error_model="numpy", fastmath=False, boundscheck=False, forceinline=True)(function)


def compile_here(name: str, **static: Any) -> tuple[int, Any]:
    """Compile a kernel in this process (imports Numba): for development and tests.

    Returns the address and an object that must be kept alive while the address is in use.
    """
    from numba import cfunc, types

    module, _, function = name.rpartition(".")
    factory = getattr(importlib.import_module(f"{PACKAGE}.{module}"), function)
    signature = types.void(types.CPointer(types.int64), types.int64, types.int64, types.voidptr)
    flags = {"nopython": True, "error_model": "numpy", "fastmath": False, "boundscheck": False}
    compiled = cfunc(signature, **flags)(factory(**static))
    return int(compiled.address), compiled


def address(name: str, **static: Any) -> int:
    """Address of a compiled kernel, compiled if it must be."""
    key = f"{name} {sorted(static.items())!r}"
    found = _addresses.get(key)
    if found is None:
        found, keep = compile_here(name, **static)
        _keep.append(keep)
        _addresses[key] = found
    return found


def prepare(kernels: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Have a batch of kernels compiled and loaded."""
    for name, static in kernels:
        address(name, **static)
