"""Compiling, caching and loading kernels, mostly in processes of their own: what matters happens across processes."""

import ast
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn._kernels import jit

# A module of kernels that misbehave, put into a copy of the package.
FAULTY = """
import os, signal, sys, time
import numpy as np
from fastnn._kernels.jit import kernel
from fastnn._kernels.pointer import pointer

def set_first(value):
    def body(args, first, last, scratch):
        pointer(args[0], "float64")[0] = value
    return body

@kernel
def good(value: int):
    return set_first(float(value))

@kernel
def raises():
    def body(args, first, last, scratch):
        if args[0] == 0:
            raise ValueError("never")
    return body

@kernel
def allocates():
    def body(args, first, last, scratch):
        args[1] = np.zeros(args[0]).size
    return body

@kernel
def calls_exp():
    def body(args, first, last, scratch):
        p = pointer(args[0], "float64")
        p[0] = np.exp(p[0])
    return body

def unmarked():
    return set_first(1.0)

@kernel
def prints():
    print("noise on sys.stdout")
    sys.stdout.flush()
    os.write(1, b"noise on the descriptor")
    assert sys.stdin.read() == ""
    return set_first(7.0)

@kernel
def dies_once(marker: str):
    if not os.path.exists(marker):
        open(marker, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return set_first(8.0)

@kernel
def dies():
    print("last words", file=sys.stderr, flush=True)
    os._exit(9)

@kernel
def slow(marker: str):
    open(marker, "w").close()
    time.sleep(60)

@kernel
def reports_environment():
    from numba.core import config
    return set_first(float(config.DISABLE_JIT + 2 * (config.OPT != 3) + 4 * bool(config.BOUNDSCHECK)))
"""

PRELUDE = """
import ctypes, os, signal, sys, threading, time
import numpy as np
from fastnn._kernels import jit

def run(name, **static):
    out = np.zeros(1)
    args = np.array([out.ctypes.data])
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    function(jit.address(name, **static))(args.ctypes.data, 0, 1, None)
    return out[0]

def axpy(dtype):
    x, y, alpha = np.arange(100, dtype=dtype), np.ones(100, dtype), np.array(2.0)
    args = np.array([x.ctypes.data, y.ctypes.data, 10, alpha.ctypes.data])
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    function(jit.address("probe.axpy", dtype=dtype))(args.ctypes.data, 1, 9, None)
    expected = np.where((np.arange(100) >= 10) & (np.arange(100) < 90), 2 * x + 1, 1)
    assert np.array_equal(y, expected), y

def helpers():
    return [helper._process.pid for helper in jit._pool._idle]

def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True

"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder that holds a copy of fastnn with `FAULTY` among its kernels."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(Path(fastnn.__file__).parent, folder / "fastnn", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "fastnn" / "_kernels" / "faulty.py").write_text(FAULTY)
    return folder


@pytest.fixture(scope="module")
def filled(tmp_path_factory, package):
    """A cache directory that holds the kernels that several tests need."""
    directory = tmp_path_factory.mktemp("filled")
    directory.chmod(0o700)
    script = "jit.prepare([('probe.axpy', {'dtype': 'float32'}), ('faulty.good', {'value': 5})])"
    _run(package, directory, script)
    return directory


def _start(package, directory, script, **environment):
    own = {"PYTHONPATH": str(package), "FASTNN_CACHE_DIR": str(directory)}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PRELUDE + script],
        env=os.environ | own | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(process, status=0):
    output, errors = process.communicate(timeout=60)
    assert process.returncode == status, output + errors
    return output


def _run(package, directory, script, **environment):
    return _finish(_start(package, directory, script, **environment))


def _files(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def empty(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path


# ------------------------------------------------------------------------------------------------- static parameters


def test_static_parameters_have_one_spelling():
    assert jit.statics({"b": 1, "a": (2, ["x", True])}) == jit.statics({"a": (2, ("x", True)), "b": np.int64(1)})
    assert jit.statics({"a": 1}) != jit.statics({"a": True})
    assert jit.statics({"a": "1"}) != jit.statics({"a": 1})


@pytest.mark.parametrize("value", [1.0, np.float32(1), b"x", {"a": 1}, np.zeros(3), (1, 2.0), len])
def test_static_parameters_of_other_types_are_refused(value):
    with pytest.raises(TypeError, match="static parameter a "):
        jit.address("probe.axpy", a=value)


# ----------------------------------------------------------------------------------------------------- cold and warm


def test_a_cold_then_a_warm_process_without_numba(package, empty):
    script = """
axpy("float32"), axpy("float64"), axpy("float32")
assert "numba" not in sys.modules
print(jit._pool is not None)
"""
    assert _run(package, empty, script) == "True\n"
    files = _files(empty)
    assert len(files) == 2
    assert _run(package, empty, script) == "False\n"  # no helper was needed
    assert _files(empty) == files


def test_eight_processes_at_once_on_an_empty_cache(package, empty):
    script = "axpy('float32'), axpy('float64'); assert run('faulty.good', value=3) == 3; print('right')"
    processes = [_start(package, empty, script) for _ in range(8)]
    assert [_finish(process) for process in processes] == ["right\n"] * 8
    assert len(_files(empty)) == 3


def test_a_bad_file_is_compiled_again(package, filled, empty):
    for path in filled.iterdir():
        data = bytearray(path.read_bytes())
        data[-100] ^= 0x40
        (empty / path.name).write_bytes(data[: len(data) // 2] if "good" in path.name else data)
        (empty / path.name).chmod(0o600)
    _run(package, empty, "axpy('float32'); assert run('faulty.good', value=5) == 5")
    for path in filled.iterdir():
        assert (empty / path.name).read_bytes() == path.read_bytes()


def test_a_world_writable_cache_is_neither_read_nor_written(package, empty):
    empty.chmod(0o777)
    script = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert run("faulty.good", value=3) == 3
    assert run("faulty.good", value=4) == 4
print(len(caught))
"""
    assert _run(package, empty, script) == "1\n"
    assert _files(empty) == []


def test_changed_sources_are_compiled_again(package, filled, tmp_path):
    copy = tmp_path / "package"
    shutil.copytree(package, copy)
    directory = tmp_path / "cache"
    shutil.copytree(filled, directory)
    directory.chmod(0o700)
    source = copy / "fastnn" / "_kernels" / "faulty.py"
    source.write_text(FAULTY.replace("float(value)", "float(value + 1)"))
    assert _run(copy, directory, "print(run('faulty.good', value=5))") == "6.0\n"
    # While a process runs, it must not get kernels of other sources than it believes in.
    script = f"""
jit.source_digest("faulty")
with open({str(source)!r}, "a") as file:
    file.write("# edited")
try:
    run("faulty.good", value=6)
except jit.KernelError as error:
    assert "changed while" in str(error)
    print("refused")
"""
    assert _run(copy, directory, script) == "refused\n"


def test_the_sources_of_a_kernel_are_its_module_and_what_that_imports():
    root = Path(jit.__file__).parent

    def imported(module):
        path = next(p for p in (root.joinpath(*module.split(".")).with_suffix(".py"),) if p.exists())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fastnn._kernels"):
                base = node.module.removeprefix("fastnn._kernels").lstrip(".")
                yield from ([base] if base else [alias.name for alias in node.names])
            elif isinstance(node, ast.Import):
                assert not any(alias.name.startswith("fastnn._kernels") for alias in node.names), module
            assert not (isinstance(node, ast.ImportFrom) and node.level), module

    for path in root.rglob("*.py"):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        if path.name != "__init__.py":
            assert set(imported(module)) <= set(jit._source(module)[1]), module
    # so a change of the tile leaves the sums alone
    assert "matmul.tile" in jit._source("matmul.product")[1]
    reached, ahead = set(), ["reduction"]
    while ahead:
        name = ahead.pop()
        if name not in reached and jit._source(name):
            reached.add(name)
            ahead += jit._source(name)[1]
    assert {"reduction", "vector", "control", "jit", "cpu"} <= reached
    assert not any(name.startswith("matmul") for name in reached)


def test_the_users_settings_of_numba_do_not_matter(package, empty):
    settings = {"NUMBA_DISABLE_JIT": "1", "NUMBA_OPT": "0", "NUMBA_BOUNDSCHECK": "1"}
    assert _run(package, empty, "print(run('faulty.reports_environment'))", **settings) == "0.0\n"


@pytest.mark.parametrize("level", ["avx2", "generic"])
def test_another_target_gets_its_own_files_and_the_same_bits(package, filled, tmp_path, level):
    able = subprocess.run(
        [sys.executable, "-c", "from fastnn._kernels import cpu; cpu.target()"],
        env=os.environ | {"FASTNN_CPU": level},
        capture_output=True,
        check=False,
    )
    if able.returncode:
        pytest.skip(f"this CPU has no {level}")
    directory = tmp_path / "cache"
    shutil.copytree(filled, directory)
    directory.chmod(0o700)
    _run(package, directory, "axpy('float32')", FASTNN_CPU=level)
    assert len(_files(directory)) == len(_files(filled)) + 1


# ---------------------------------------------------------------------------------------------------- faulty kernels


def test_faults_are_named_and_do_not_spoil_the_batch(package, empty):
    script = """
batch = ["raises", "allocates", "calls_exp", "unmarked", "missing", "dies"]
for name in batch:
    try:
        jit.prepare([("faulty." + name, {}), ("faulty.good", {"value": len(name)}), ("nothing.here", {})][:2])
    except jit.KernelError as error:
        print(name, "|", str(error).replace(chr(10), " "))
    assert ("faulty.good", jit.statics({"value": len(name)})) in jit._addresses
    assert run("faulty.good", value=len(name)) == len(name)
"""
    lines = dict(line.split(" | ") for line in _run(package, empty, script).splitlines())
    assert "numba_do_raise" in lines["raises"]
    assert "NRT_" in lines["allocates"]
    assert "faulty.calls_exp needs exp from outside" in lines["calls_exp"]
    assert "not marked with @kernel" in lines["unmarked"]
    assert "no kernel faulty.missing" in lines["missing"]
    assert "died" in lines["dies"]
    assert "faulty.dies" in lines["dies"]
    assert "exit status 9" in lines["dies"]
    assert "last words" in lines["dies"]
    assert all("faulty.good" in name for name in _files(empty))


def test_a_helper_that_dies_once_is_replaced_and_noise_does_not_matter(package, empty, tmp_path):
    script = f"""
assert run("faulty.dies_once", marker={str(tmp_path / "marker")!r}) == 8
assert run("faulty.prints") == 7
print("right")
os.kill(helpers()[0], signal.SIGINT)   # ignored
time.sleep(0.1)
os.kill(helpers()[0], 0)
os.kill(helpers()[0], signal.SIGKILL)  # while idle
time.sleep(0.1)
assert run("faulty.good", value=9) == 9
"""
    assert _run(package, empty, script) == "right\n"


# ------------------------------------------------------------------------------------- the life of helpers, processes


@linux
@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"])
def test_the_helper_ends_with_its_parent(package, empty, end):
    process = _start(package, empty, f"run('faulty.good', value=1); print(*helpers(), flush=True); {end}")
    pid = int(_finish(process, -signal.SIGKILL if "SIGKILL" in end else 0))
    deadline = time.monotonic() + 10
    while not _gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_an_idle_helper_ends_by_itself():
    worker = "from fastnn._kernels import worker; worker.IDLE_SECONDS = 0.1; worker.main()"
    process = subprocess.Popen([sys.executable, "-c", worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(b'\x0c\0\0\0{"path": []}')
    process.stdin.flush()
    assert process.wait(30) == 0
    process.communicate()


@linux
def test_an_interrupt_while_compiling_leaves_everything_usable(package, empty, tmp_path):
    marker = tmp_path / "marker"
    script = f"""
def interrupt():
    while not os.path.exists({str(marker)!r}):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
pids = []
start = helper_start = None
try:
    jit.prepare([("faulty.slow", {{"marker": {str(marker)!r}}}), ("faulty.good", {{"value": 1}})])
except KeyboardInterrupt:
    print("interrupted")
assert run("faulty.good", value=2) == 2
children = set()
for task in os.listdir("/proc/self/task"):
    with open(f"/proc/self/task/{{task}}/children") as file:
        children.update(map(int, file.read().split()))
# the interrupted compilation goes on in the background
assert set(helpers()) <= children, (children, helpers())
"""
    assert _run(package, empty, script) == "interrupted\n"


@linux
def test_a_forked_child_and_its_parent_both_go_on(package, filled, tmp_path):
    directory = tmp_path / "cache"
    shutil.copytree(filled, directory)
    directory.chmod(0o700)
    script = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, of which there are none of ours
assert run("faulty.good", value=5) == 5 and run("faulty.good", value=6) == 6
first = helpers()
child = os.fork()
if child == 0:
    try:
        assert jit._pool._idle == []
        assert run("faulty.good", value=5) == 5   # loaded before
        axpy("float32")                           # from the cache
        assert run("faulty.good", value=7) == 7   # from a helper of its own
        assert helpers() != first
        assert threading.active_count() == 1
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    mine, = helpers()
    os.write(1, b"child\\n")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert run("faulty.good", value=8) == 8
assert helpers() == first
assert threading.active_count() == 1
"""
    assert _run(package, directory, script) == "child\n"


def test_threads_that_ask_at_once_share_one_compilation(package, empty):
    script = """
barrier = threading.Barrier(6)
results = []
def ask(number):
    barrier.wait()
    results.append(jit.address("faulty.good", value=number % 2))
threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(results) == 6 and len(set(results)) == 2
print(len(jit._addresses))
"""
    assert _run(package, empty, script) == "2\n"
    assert len(_files(empty)) == 2


def test_a_failure_reaches_every_thread_that_waits(monkeypatch):
    calls = []

    def fail(requests):
        calls.append(requests)
        time.sleep(0.05)
        raise jit.KernelError("no")

    monkeypatch.setattr(jit, "_load_or_compile", fail)
    failures = []

    def ask():
        with pytest.raises(jit.KernelError, match="no"):
            jit.address("probe.nothing")
        failures.append(1)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) == 4
    assert len(calls) == 4
    assert jit._pending == {}


def test_prefetching_compiles_in_the_background(package, empty):
    script = """
jit.prefetch([("faulty.good", {"value": 1}), ("faulty.raises", {}), ("probe.axpy", {"dtype": "float32"})])
axpy("float32")
assert run("faulty.good", value=1) == 1
while threading.active_count() > 1: time.sleep(0.01)
assert len(jit._addresses) == 2 and len(helpers()) <= 3
jit.prefetch([("faulty.good", {"value": value}) for value in range(20)])  # ends with the process, silently
"""
    _run(package, empty, script)


def test_waiting_for_another_process_has_an_end(package, empty):
    script = """
from fastnn._kernels import cache
jit.PATIENCE = 0.3
other = cache.Cache(cache.shared().directory)
with other.claims([jit._file("faulty.good", jit.statics({"value": 1}))]):
    start = time.monotonic()
    assert run("faulty.good", value=1) == 1
    assert time.monotonic() - start > 0.3
"""
    _run(package, empty, script)


# --------------------------------------------------------------------------------------------------- executable memory


@linux
def test_without_executable_memory_there_is_one_clear_error(package, filled):
    script = """
import ctypes
import llvmlite.binding
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0):
    print("unsupported")
    sys.exit()
try:
    run("faulty.good", value=5)
except jit.NoExecutableMemory as error:
    assert isinstance(error, jit.KernelsUnavailable)
    print("refused:", error)
"""
    output = _run(package, filled, script)
    if output == "unsupported\n":
        pytest.skip("the kernel has no PR_SET_MDWE")
    assert output.startswith("refused: the system refuses executable memory")


def test_without_a_helper_kernels_are_unavailable(package, empty):
    script = """
sys.executable = {!r}
try:
    run("faulty.good", value=1)
except jit.KernelsUnavailable as error:
    print(error)
"""
    assert "cannot be started" in _run(package, empty, script.format("/no/such/python"))
    assert "sys.executable" in _run(package, empty, script.format(""))
    assert "does not start (exit status 1)" in _run(package, empty, script.format(shutil.which("false")))
