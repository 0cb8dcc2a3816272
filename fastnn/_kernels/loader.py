"""Object code into memory with llvmlite's MCJIT; Numba is not imported.

One engine holds all objects and lives as long as the process (an engine for each would cost 1.4 ms an object instead
of 0.1), so each kernel has a symbol of its own. LLVM aborts the process when it meets a symbol that it cannot resolve,
and crashes on a damaged object: so callers pass checked objects only (see `cache`), and the symbols an object needs are
looked up here before LLVM is asked to link it.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
from typing import Any

from fastnn._kernels.cpu import triple
from fastnn._kernels.errors import KernelError, NoExecutableMemory
from fastnn._kernels.objectfile import symbols

_engine: Any = None
_loaded: set[str] = set()
# Held while LLVM works and while the process forks: a child must not inherit a lock that nobody will release.
_lock = threading.Lock()


def load(code: bytes) -> int:
    """Link an object file that exports one kernel and return the kernel's address.

    Raises
    ------
    KernelError : the object exports nothing, several things or something that is loaded already, or it needs a symbol
        that this process does not have.
    NoExecutableMemory : the system forbids new executable memory.
    """
    with _lock:
        return _load(code)


def _load(code: bytes) -> int:
    global _engine
    import llvmlite.binding as llvm

    if _engine is None:
        require_executable_memory()
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_triple(triple()).create_target_machine(jit=True)
        module = llvm.parse_assembly("")
        module.triple = triple()
        # llvmlite's memory manager lays all sections of an object side by side, so that the 32-bit distances of the
        # small code model always reach.
        _engine = llvm.create_mcjit_compiler(module, machine, use_lmm=True)
        _engine.finalize_object()
    exported, needed = symbols(code)
    if len(exported) != 1 or exported & _loaded:
        raise KernelError(f"an object file must export one new kernel, not {sorted(exported) or 'nothing'}")
    for name in needed:
        if llvm.address_of_symbol(name) is None:
            raise KernelError(f"the object file needs {name}, which this process does not have")
    (kernel,) = exported
    _loaded.add(kernel)
    _engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    _engine.finalize_object()
    return int(_engine.get_function_address(kernel))


def require_executable_memory() -> None:
    """Write to a page, then make it executable, as LLVM will; NoExecutableMemory if the system refuses.

    LLVM itself does not look at the answer: the first call of the kernel would end the process.
    """
    if sys.platform == "win32":
        return
    import ctypes

    page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        page[0] = 1
        start = ctypes.c_char.from_buffer(page)
        address = ctypes.c_void_p(ctypes.addressof(start))
        refused = ctypes.CDLL(None, use_errno=True).mprotect(address, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC)
        del start
    finally:
        page.close()
    if refused:
        raise NoExecutableMemory(
            f"the system refuses executable memory ({os.strerror(ctypes.get_errno())}), so compiled kernels cannot run"
        )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
