"""Kernels from source to address: the C signature, specialisation, Numba's flags, and who compiles when.

    void kernel(const int64_t *args, int64_t first_chunk, int64_t last_chunk, void *scratch)

a. A kernel is a factory of compile-time parameters, marked with `kernel`; its device functions with `inline`.
b. The main process calls `address` or `prepare`. A kernel comes from this process's table, else from the files of
   `cache`, else from a helper process (`helper`, `worker`) that compiles it with `compile_object`. The main process
   never imports Numba.
c. Threads that ask for the same kernel at once wait for one of them; processes share the work through file locks.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import operator
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from fastnn._kernels import cache, cpu, loader
from fastnn._kernels.errors import KernelError, KernelsUnavailable, NoExecutableMemory
from fastnn._kernels.objectfile import symbols

__all__ = [
    "SCRATCH_BYTES",
    "KernelError",
    "KernelsUnavailable",
    "NoExecutableMemory",
    "address",
    "compile_for",
    "compile_here",
    "inline",
    "intrinsic",
    "kernel",
    "prefetch",
    "prepare",
]

PACKAGE = "fastnn._kernels"
SCRATCH_BYTES = 1 << 20
# What an object may need from outside. Of libm only what has one right answer, for CPUs without the instruction.
_EXACT = ("fma", "fmod", "floor", "ceil", "trunc", "rint", "nearbyint", "round")
ALLOWED_SYMBOLS = frozenset({"memcpy", "memset", "memmove", "bzero", *_EXACT, *(name + "f" for name in _EXACT)})
# How long to wait for another process that is compiling the same kernel, in seconds.
PATIENCE = 20.0

Request = tuple[str, str]  # the kernel's name, its static parameters as `statics` writes them

_addresses: dict[Request, int] = {}
_pending: dict[Request, threading.Event] = {}
_lock = threading.Lock()


def kernel(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a factory: called with its static parameters, it returns ``body(args, first, last, scratch)``.

    The body is compiled by Numba. ``args`` is a pointer to int64 (``args[0]`` is the first), ``first`` and ``last``
    are chunk numbers (int64), ``scratch`` is the address of `SCRATCH_BYTES` of 64-byte-aligned memory (int64).
    """
    factory.__fastnn_kernel__ = True  # type: ignore[attr-defined]
    return factory


_FLAGS = {"nopython": True, "error_model": "numpy", "fastmath": False, "boundscheck": False}


def inline(function: Callable[..., Any]) -> Any:
    """Compile a device helper with the project's flags and have LLVM inline it into its callers."""
    from numba import njit

    return njit(nogil=True, forceinline=True, error_model="numpy", fastmath=False, boundscheck=False)(function)


def intrinsic(define: Callable[..., Any]) -> Any:
    """Make an operation of LLVM instructions: Numba's ``intrinsic``, in a form that type checkers take."""
    from numba.extending import intrinsic as numba_intrinsic

    return numba_intrinsic(define)


def statics(values: Mapping[str, Any]) -> str:
    """Static parameters as a literal that identifies them; TypeError for what cannot be one."""
    return repr(sorted((name, _static(name, value)) for name, value in values.items()))


def _static(name: str, value: Any) -> Any:
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, (tuple, list)):
        return tuple(_static(name, part) for part in value)
    try:
        return operator.index(value)  # NumPy's integers
    except TypeError:
        expected = "str, int, bool, None and tuples"
        raise TypeError(f"static parameter {name} must be made of {expected}, got {value!r}") from None


def compile_object(factory: Callable[..., Any], static: Mapping[str, Any], symbol: str, *, alone: bool) -> bytes:
    """Compile a kernel to an object file that exports `symbol` and needs nothing but `ALLOWED_SYMBOLS`.

    Parameters
    ----------
    factory : as marked by `kernel`.
    static : arguments of the factory.
    symbol : name of the exported function.
    alone : nobody else uses Numba in this process, so Numba need not make its own copy of the code executable.

    Raises
    ------
    KernelError : the kernel may raise, allocates, or calls something outside (the message names the symbols).
    """
    return _compiled(factory, static, symbol, alone=alone)[0]


def _compiled(
    factory: Callable[..., Any], static: Mapping[str, Any], symbol: str, *, alone: bool, listing: bool = False
) -> tuple[bytes, str]:
    """As `compile_object`, with the assembly where a listing is asked for."""
    label = f"{factory.__module__.removeprefix(PACKAGE + '.')}.{factory.__qualname__}"
    if not getattr(factory, "__fastnn_kernel__", False):
        raise KernelError(f"{label} is not marked with @kernel")
    code, assembly = _emit(factory(**static), symbol, alone, listing)
    exported, needed = symbols(code)
    if needed - ALLOWED_SYMBOLS:
        raise KernelError(
            f"kernel {label} needs {', '.join(sorted(needed - ALLOWED_SYMBOLS))} from outside: kernels must not raise, "
            "allocate, or call Python or the C library (a raise, a range whose step may be 0, "
            "an array made inside, np.exp?)"
        )
    if exported != {symbol}:
        raise KernelError(f"kernel {label} exports {sorted(exported)} instead of {symbol} alone")
    return code, assembly


def _emit(body: Callable[..., Any], symbol: str, alone: bool, listing: bool) -> tuple[bytes, str]:
    """The one place that touches what Numba keeps to itself (0.63 to 0.68): from a function to its object code.

    With `listing` also to its assembly, in which the functions that our generators named keep their names.
    """
    import llvmlite.binding as llvm
    from numba import types
    from numba.core import ccallback
    from numba.core import config as numba_config
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

    target = cpu.target()
    if target == cpu.own():  # for others Numba's own machine stays the host's; what follows does not ask it
        config: Any = numba_config
        config.CPU_NAME, config.CPU_FEATURES = target.name, target.features
    generator = code_generator(target)
    codegen = cpu_target.target_context.codegen()
    if alone:
        # Neither optimise each helper function by itself nor emit code for it: both happen below, for the whole
        # (docs/decisions/one-optimisation.md).
        layout = codegen._data_layout
        library_class = codegen._library_class
        library_class._optimize_functions = lambda library, module: setattr(module, "data_layout", layout)
        library_class._optimize_final_module = lambda library: None
        library_class._finalize_specific = lambda library: None
    signature = types.void(types.CPointer(types.int64), types.int64, types.int64, types.int64)
    with global_compiler_lock:
        callback: Any = ccallback.CFunc(body, (signature.args, signature.return_type), {}, dict(_FLAGS))
        result = callback._compile_uncached()
        result.library._ensure_finalized()
        module = result.library._final_module.clone()
        # Numba's names count what was compiled before; without them the same kernel gives the same object.
        defined = [value for value in (*module.functions, *module.global_variables) if not value.is_declaration]
        entry = module.get_function(result.fndesc.llvm_cfunc_wrapper_name)
        for number, value in enumerate(defined):
            value.linkage = "internal"
            if not (listing and value.name.startswith("fastnn_")):
                value.name = f"local{number}"
        entry.name = symbol
        entry.linkage = "external"
        make_machine = functools.partial(
            generator.create_target_machine,
            cpu=target.name,
            features=target.features,
            opt=3,
        )
        # Position-independent code in the small model reaches its constants without loading their addresses; Numba's
        # own machine would use the large model.
        machine = make_machine(reloc="pic", codemodel="small")
        if target != cpu.own():
            module.triple, module.data_layout = target.triple, str(machine.target_data)
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = True
        options.slp_vectorization = False  # as in Numba
        builder = llvm.create_pass_builder(machine, options)
        passes = builder.getModulePassManager()
        # Once all is inlined it shows that a body cannot raise: then the wrapper's error path goes.
        passes.add_ipsccp_pass()
        passes.add_simplify_cfg_pass()
        passes.add_global_dead_code_eliminate_pass()
        passes.run(module, builder)
        module.triple = target.triple
        assembly = machine.emit_assembly(module.clone()) if listing else ""
        # llvmlite's memory manager leaves no room for the table through which the small model calls outside, so code
        # that does is emitted for the large model; block moves and fills are known to before any code is made.
        large = functools.partial(make_machine, reloc="static", codemodel="large")
        if any(f.is_declaration and f.name.startswith(("llvm.memset", "llvm.memcpy")) for f in module.functions):
            return bytes(large().emit_object(module)), assembly
        copy = module.clone()
        code = bytes(machine.emit_object(module))
        if symbols(code).undefined:
            code = bytes(large().emit_object(copy))
        return code, assembly


def code_generator(target: cpu.Target) -> Any:
    """LLVM's code generator for a target; KernelError if llvmlite was built without it."""
    import llvmlite.binding as llvm

    if target.triple == cpu.triple():
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    else:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    try:
        return llvm.Target.from_triple(target.triple)
    except RuntimeError as error:
        raise KernelError(f"llvmlite generates no code for {target.triple}: {error}") from error


def _factory(name: str) -> Callable[..., Any]:
    """The factory that ``"module.function"`` names, below `PACKAGE`; imports Numba."""
    module, _, function = name.rpartition(".")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(f"{PACKAGE}.{module}"), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise KernelError(f"there is no kernel {name}: {error}") from error
    return found


def compile_here(name: str | Callable[..., Any], **static: Any) -> tuple[int, Any]:
    """Compile a kernel in this process (imports Numba), past the cache: for development and tests.

    Parameters
    ----------
    name : as for `address`, or a factory marked with `kernel`.

    Returns
    -------
    The address and the object code. The code stays in memory as long as the process. LLVM's options are as Numba sets
    them, not as the helper does, so the speed of register tiles is that of `address` only there.
    """
    factory = name if callable(name) else _factory(name)
    statics(static)
    code = compile_object(factory, static, f"fastnn_kernel_here_{time.monotonic_ns():x}", alone=False)
    return loader.load(code), code


def compile_for(target: cpu.Target, name: str, **static: Any) -> tuple[bytes, str]:
    """Compile a kernel for any target, as a helper would on that machine; for tests and for who wants to read code.

    Only in a process that called `become_compiler`, and one for each target, since Numba keeps helpers that it compiled
    before (`fastnn.testing.assembly` starts such processes).

    Parameters
    ----------
    target : what to compile for, such as ``cpu.known("arm", "generic")``.
    name, static : as for `address`.

    Returns
    -------
    The object code and its assembly.

    Raises
    ------
    KernelError : as `compile_object`, or if llvmlite generates no code for the target.
    """
    with cpu.targeting(target):
        return _compiled(_factory(name), static, _symbol(name, statics(static)), alone=True, listing=True)


def become_compiler() -> None:
    """In the helper process: set LLVM's process-wide options and import Numba."""
    import llvmlite.binding as llvm

    # LLVM's schedulers hoist the loads of a register tile until its accumulators spill: keep the order of the source.
    llvm.set_option("fastnn", "-enable-misched=0")
    llvm.set_option("fastnn", "-pre-RA-sched=source")
    # Numba would import SciPy's linear algebra, of which kernels can make no use: 0.2 s.
    sys.modules.setdefault("scipy", None)  # type: ignore[arg-type]
    importlib.import_module("numba")


def compile_request(name: str, static: str) -> bytes:
    """In the helper process: compile what `address` was asked for."""
    return compile_object(_factory(name), dict(ast.literal_eval(static)), _symbol(name, static), alone=True)


def _symbol(name: str, static: str) -> str:
    return "fastnn_kernel_" + hashlib.sha256(f"{name} {static}".encode()).hexdigest()[:16]


_IMPORTS = re.compile(r"^ *from fastnn\._kernels(?:\.([\w.]+))? import (\([^)]*\)|[^\n#]*)", re.MULTILINE)


@functools.cache
def _source(module: str) -> tuple[bytes, tuple[str, ...]] | None:
    """Digest of a module's file below `PACKAGE` and the modules there that it may import; None for no module."""
    place = Path(__file__).parent.joinpath(*module.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        found = set()
        for base, names in _IMPORTS.findall(content.decode()):
            own = [name.split()[0] for name in names.strip("()").split(",") if name.strip()]
            found |= {base, *(f"{base}.{name}" if base else name for name in own)} - {""}
        return hashlib.sha256(content).digest(), tuple(sorted(found))
    return None


@functools.cache
def source_digest(module: str) -> str:
    """Digest of the sources that a module's kernels are made of: its own, and those it imports below `PACKAGE`.

    A change in one of them compiles the module's kernels again, and no others.
    """
    sources: dict[str, bytes] = {}
    ahead = [module]
    while ahead:
        name = ahead.pop()
        if name in sources or (source := _source(name)) is None:
            continue
        sources[name] = source[0]
        ahead += source[1]
    digest = hashlib.sha256()
    for name, own in sorted(sources.items()):
        digest.update(name.encode() + b"\n" + own)
    return digest.hexdigest()


@functools.cache
def package_digest() -> str:
    """Digest of all sources below `PACKAGE`, as this process has seen or now sees them."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        source = _source(module) if module else None
        digest.update(module.encode() + b"\n" + (source[0] if source else b""))
    return digest.hexdigest()


@functools.cache
def surroundings() -> str:
    """What object code depends on besides its sources and parameters: target, versions."""
    import llvmlite

    numba = importlib.util.find_spec("numba")
    if numba is None or numba.origin is None:
        version = "none"
    else:
        try:  # reads one file; importlib.metadata would search the whole path
            version = hashlib.sha256(Path(numba.origin).with_name("_version.py").read_bytes()).hexdigest()
        except OSError:
            from importlib import metadata

            version = metadata.version("numba")
    target = cpu.own()
    return " ".join((target.triple, target.name, target.features, llvmlite.__version__, version))


@functools.cache
def identity() -> str:
    """What a helper process must agree on with the one that asks it."""
    return f"{package_digest()} {surroundings()}"


def _file(name: str, static: str) -> str:
    """Name of a kernel's file in the cache."""
    made_of = f"{source_digest(name.rpartition('.')[0])} {surroundings()}"
    return f"{name}-{hashlib.sha256(f'{made_of} {name} {static}'.encode()).hexdigest()[:32]}"


def address(name: str, **static: Any) -> int:
    """Address of a compiled kernel.

    Parameters
    ----------
    name : ``"module.function"`` below ``fastnn._kernels``; the last dot separates the function.
    static : the factory's arguments: str, int, bool, None and tuples of these.

    Raises
    ------
    KernelError : the kernel cannot be compiled; the message names it and says why.
    KernelsUnavailable : no kernel can be had here (`NoExecutableMemory`, no helper process): use the NumPy backend.
    TypeError : a static parameter of another type.
    """
    request = name, statics(static)
    found = _addresses.get(request)
    if found is None:
        _provide([request])
        found = _addresses[request]
    return found


def prepare(kernels: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Have a batch of kernels ready; those that are missing are compiled on several cores. Raises as `address` does."""
    _provide([(name, statics(static)) for name, static in kernels])


def prefetch(kernels: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """As `prepare`, in the background and in the given order; `address` waits for a kernel that is under way.

    What fails is left to the call that needs it.
    """
    requests = [(name, statics(static)) for name, static in kernels]
    if any(request not in _addresses for request in requests):
        threading.Thread(target=_try_to_provide, args=(requests,), name="fastnn-prefetch", daemon=True).start()


def _try_to_provide(requests: list[Request]) -> None:
    with contextlib.suppress(Exception):
        _provide(requests)


def _provide(requests: list[Request]) -> None:
    """Put the requested kernels into the table of addresses.

    Python raises KeyboardInterrupt in the main thread alone, anywhere; so that thread only waits, and an interrupted
    wait leaves a kernel that is half way there to be finished.
    """
    if threading.current_thread() is not threading.main_thread():
        _provide_here(requests)
        return
    errors: list[BaseException] = []

    def work() -> None:
        try:
            _provide_here(requests)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="fastnn-kernels", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def _provide_here(requests: list[Request]) -> None:
    """As `_provide`, in this thread."""
    while missing := [request for request in dict.fromkeys(requests) if request not in _addresses]:
        with _lock:
            others = [_pending[request] for request in missing if request in _pending]
            ours = [request for request in missing if request not in _pending and request not in _addresses]
            _pending.update((request, threading.Event()) for request in ours)
        try:
            _load_or_compile(ours)
        finally:
            with _lock:
                for request in ours:
                    _pending.pop(request).set()
        # If another thread failed, the next round raises its error here too.
        for event in others:
            event.wait()


def _load_or_compile(requests: list[Request]) -> None:
    """From the cache, else from a helper, else from the cache that another process fills."""
    store = cache.shared()
    files = {_file(*request): request for request in requests}
    deadline = time.monotonic() + PATIENCE
    missing = [file for file in files if not _load(store, file, files[file])]
    while missing:
        with store.claims(missing, everything=time.monotonic() > deadline) as ours:
            # Another process may have finished between our look and our claim.
            _compile(store, {file: files[file] for file in ours if not _load(store, file, files[file])})
        missing = [file for file in missing if file not in ours and not _load(store, file, files[file])]
        if missing:
            time.sleep(0.02)


def _load(store: cache.Cache, file: str, request: Request) -> bool:
    """Whether the cache had the kernel."""
    code = store.load(file)
    if code is None:
        return False
    _enter(request, code)
    return True


def _enter(request: Request, code: bytes) -> None:
    """Load a kernel into the table and wake who waits for it."""
    _addresses[request] = loader.load(code)
    event = _pending.get(request)
    if event is not None:
        event.set()


def _compile(store: cache.Cache, files: dict[str, Request]) -> None:
    """Compile in helpers, load and save; raises the first error when all is done."""
    if not files:
        return
    names = list(files)

    def done(index: int, code: bytes) -> None:
        _enter(files[names[index]], code)
        store.save(names[index], code)

    errors = _helpers().compile(list(files.values()), done)
    for _, error in sorted(errors.items()):
        raise error


_pool: Any = None


def _helpers() -> Any:
    """The helper processes of this process (`helper.Pool`)."""
    global _pool
    from fastnn._kernels import helper

    with _lock:
        if _pool is None:
            # The user's settings of Numba must not change what is compiled.
            environment = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
            _pool = helper.Pool(identity(), environment)
        return _pool


def _after_fork() -> None:
    """In a forked child: addresses stay valid; locks, waits and helpers were the parent's."""
    global _lock
    _lock = threading.Lock()
    _pending.clear()
    if _pool is not None:
        _pool.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
