"""The thread team: right results for any number of threads, callers, neighbours and forks; its controls."""

import ctypes
import importlib
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

from fastnn._runtime import _fastnn_team as team

controls = importlib.import_module("fastnn._threads")
NATIVE = Path(__file__).parents[1] / "native"
HEADERS = Path(__file__).parents[2] / "fastnn" / "_runtime"
COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
LARGE = 10**8  # nanoseconds of claimed work: every thread is wanted
KERNELS = ("count_up", "mix", "dawdle", "meet", "nested")


def compile_native(target: Path, source: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [*str(COMPILER).split(), "-std=c++20", "-O1", "-g", "-pthread", f"-I{HEADERS}", *flags]
    return subprocess.run([*command, str(NATIVE / source), "-o", str(target)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if COMPILER is None:
        pytest.skip("no C++ compiler for the test kernels")
    target = tmp_path_factory.mktemp("native") / "team_kernels.so"
    done = compile_native(target, "team_kernels.cpp", "-shared", "-fPIC")
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def kernels(library):
    loaded = ctypes.CDLL(str(library))
    return {name: ctypes.cast(getattr(loaded, name), ctypes.c_void_p).value for name in KERNELS}


@pytest.fixture(autouse=True)
def _restore_threads():
    before = team.get_num_threads()
    yield
    team.set_own_threads(0)
    team.set_num_threads(before)


def pointers(*values) -> np.ndarray:
    return np.array([v.ctypes.data if isinstance(v, np.ndarray) else v for v in values], dtype=np.int64)


def mixing_phases(kernels, buffers, chunks, work):
    """Three rounds in which every chunk needs a chunk that another thread has made in the phase before."""
    first, second = buffers
    phases = [(kernels["count_up"], pointers(first), chunks, work, 0)]
    for source, target in [(first, second), (second, first), (first, second)]:
        phases.append((kernels["mix"], pointers(source, target, chunks), chunks, work, 0))
    return phases


def mixed(chunks):
    values = np.arange(1, chunks + 1, dtype=np.int64)
    for _ in range(3):
        values = values * 3 + values[::-1]
    return values


# What runs


@pytest.mark.parametrize("n", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("chunks", [1, 2, 5, 63, 64, 1000, 65_535])
def test_results_are_the_same_for_any_number_of_threads(kernels, n, chunks):
    team.set_num_threads(n)
    for work in (0, 5_000, 300_000, LARGE):
        buffers = np.zeros((2, chunks), dtype=np.int64)
        team.run_phases(mixing_phases(kernels, buffers, chunks, work))
        np.testing.assert_array_equal(buffers[1], mixed(chunks))


def test_an_empty_phase_runs_nothing(kernels):
    out = np.zeros(1, dtype=np.int64)
    team.run_phase(kernels["count_up"], pointers(out), 0, LARGE)
    assert out[0] == 0


@pytest.mark.parametrize("chunks", [-1, 65_536, 2**40])
def test_too_many_chunks_are_refused(kernels, chunks):
    with pytest.raises(ValueError, match="chunks must be 0 to 65535"):
        team.run_phase(kernels["count_up"], pointers(0), chunks)


@pytest.mark.parametrize("n", [2, 8])
def test_chunks_have_home_threads_and_threads_their_own_scratch(kernels, n):
    team.set_num_threads(n)
    homes = set()
    for _ in range(5):
        begun, thread, scratch = np.zeros((3, n), dtype=np.int64)
        team.run_phase(kernels["meet"], pointers(begun, n, thread, scratch), n, LARGE)
        assert begun[0] == n
        assert len(set(thread)) == len(set(scratch)) == n
        assert not np.any(scratch % 64)
        homes.add((tuple(thread), tuple(scratch)))
    assert len(homes) == 1


def test_narrower_phases_leave_the_other_workers_out(kernels):
    team.set_num_threads(8)
    begun, thread, scratch = np.zeros((3, 8), dtype=np.int64)
    team.run_phase(kernels["meet"], pointers(begun, 8, thread, scratch), 8, LARGE)
    time.sleep(0.01)
    team.set_num_threads(1)
    team.run_phase(kernels["meet"], pointers(begun, 8, thread, scratch), 8, LARGE)
    assert len(set(thread)) == 1


# Who calls


def test_sixteen_python_threads_at_once(kernels):
    team.set_num_threads(4)
    start = threading.Barrier(16)
    wrong = []

    def call():
        start.wait()
        for _ in range(30):
            buffers = np.zeros((2, 77), dtype=np.int64)
            team.run_phases(mixing_phases(kernels, buffers, 77, 200_000))
            if not np.array_equal(buffers[1], mixed(77)):
                wrong.append(buffers)

    callers = [threading.Thread(target=call) for _ in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert not any(caller.is_alive() for caller in callers)
    assert not wrong


def test_a_second_caller_does_not_wait_for_the_first(kernels):
    team.set_num_threads(2)
    first = threading.Thread(target=team.run_phase, args=(kernels["dawdle"], pointers(50_000_000), 40, LARGE))
    first.start()
    time.sleep(0.05)
    out = np.zeros(4, dtype=np.int64)
    team.run_phase(kernels["count_up"], pointers(out), 4, LARGE)
    assert first.is_alive()
    assert out.tolist() == [1, 2, 3, 4]
    first.join()


def test_a_kernel_that_runs_a_phase_itself_gets_its_results(kernels):
    capsule = team.__pyx_capi__["run"]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    run = api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))
    for n in (1, 2, 8):
        team.set_num_threads(n)
        out, failures = np.zeros(40, dtype=np.int64), np.zeros(1, dtype=np.int64)
        team.run_phase(kernels["nested"], pointers(run, out, failures), 40, LARGE)
        assert out.tolist() == [4] * 40
        assert failures[0] == 0


def test_two_busy_processes_beside_it(kernels):
    team.set_num_threads(2)
    busy = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(2)]
    try:
        start = time.monotonic()
        for _ in range(100):
            buffers = np.zeros((2, 64), dtype=np.int64)
            team.run_phases(mixing_phases(kernels, buffers, 64, 100_000))
            np.testing.assert_array_equal(buffers[1], mixed(64))
        assert time.monotonic() - start < 10
    finally:
        for process in busy:
            process.kill()
            process.wait()


# The process: import, fork, exit, signals, limits


def script(library, body, **environ):
    """Run Python code in a new process, where `kernels` and `run(n)` are at hand; returns the finished process."""
    head = f"""
        import ctypes, importlib, os, signal, sys, threading, time, warnings
        import numpy as np
        from fastnn._runtime import _fastnn_team as team
        controls = importlib.import_module("fastnn._threads")
        loaded = ctypes.CDLL({str(library)!r})
        count_up, dawdle = (ctypes.cast(f, ctypes.c_void_p).value for f in (loaded.count_up, loaded.dawdle))
        def run(work={LARGE}):
            out = np.zeros(64, dtype=np.int64)
            team.run_phase(count_up, np.array([out.ctypes.data]), 64, work)
            assert (out == np.arange(1, 65)).all()
    """
    code = textwrap.dedent(head) + textwrap.dedent(body)
    environment = {k: v for k, v in os.environ.items() if k != "FASTNN_NUM_THREADS"} | environ
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=30, env=environment
    )


def test_nothing_starts_before_work_pays_for_it(library):
    done = script(
        library,
        """
        team.set_num_threads(4)
        assert team.started() == 1
        run(work=10_000)
        assert team.started() == 1
        run()
        assert team.started() == 4
        """,
    )
    assert done.returncode == 0, done.stderr


def test_calls_in_quick_succession_pay_for_a_worker_together(library):
    done = script(
        library,
        """
        team.set_num_threads(2)
        for _ in range(1000):
            run(work=30_000)
        assert team.started() == 2
        """,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("may_spin", "idle"), [(True, 0.05), (False, 0.0)])
def test_idle_workers_sleep(library, may_spin, idle):
    done = script(
        library,
        f"""
        team.configure(cpus=8, may_spin={may_spin})
        team.set_num_threads(8)
        run()
        assert team.started() == 8
        time.sleep({idle})
        before = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - before < 0.05
        wakes = team.wakes()
        run()
        assert team.wakes() > wakes
        """,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("when", ["before use", "after use", "while another thread runs"])
def test_a_forked_child_has_a_team_of_its_own(library, when):
    done = script(
        library,
        f"""
        when = {when!r}
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forking with threads
        controls.set_num_threads(4)
        if when != "before use":
            run()
        if when == "while another thread runs":
            other = threading.Thread(
                target=team.run_phase, args=(dawdle, np.array([1_000_000]), 400, {LARGE}), daemon=True
            )
            other.start()
            time.sleep(0.02)
        child = os.fork()
        assert when == "before use" or team.started() == (4 if child else 1)
        for _ in range(3):
            run()
        assert team.started() == 4 or when == "while another thread runs"
        if child == 0:
            grandchild = os.fork()
            run()
            assert team.started() == 4
            if grandchild == 0:
                sys.exit(5)
            assert os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) == 5
            sys.exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        """,
    )
    assert done.returncode == 0, done.stderr


def test_exit_does_not_wait_for_workers_or_callers(library):
    done = script(
        library,
        f"""
        controls.set_num_threads(8)
        run()
        args = (dawdle, np.array([1_000_000_000]), 100, {LARGE})
        threading.Thread(target=team.run_phase, args=args, daemon=True).start()
        time.sleep(0.1)
        print(time.monotonic())
        """,
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - float(done.stdout) < 3


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_signals_are_left_to_the_callers(library):
    done = script(
        library,
        """
        controls.set_num_threads(3)
        run()
        time.sleep(0.1)  # a thread that is just starting has everything blocked
        for task in os.listdir("/proc/self/task"):
            status = open(f"/proc/self/task/{task}/status").read()
            blocked = int(status.split("SigBlk:")[1].split()[0], 16)
            print(blocked >> (signal.SIGINT - 1) & 1, blocked >> (signal.SIGSEGV - 1) & 1)
        """,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n")[:-1])[-2:] == ["1 0", "1 0"]


def test_threads_that_cannot_start_mean_fewer_threads_and_one_warning(library):
    done = script(
        library,
        """
        warnings.simplefilter("always")
        controls.set_num_threads(8)
        team.allow_starts(2)
        for _ in range(5):
            run()
        assert controls.get_num_threads() == team.started() == 3
        team.allow_starts(-1)
        controls.set_num_threads(5)
        run()
        assert controls.get_num_threads() == team.started() == 5
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("fastnn wanted 8 threads but the system started only 3") == 1
    assert done.stderr.count("Warning") == 1


def test_no_memory_for_threads(library):
    pytest.importorskip("resource")
    done = script(
        library,
        """
        import resource
        warnings.simplefilter("always")
        size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (4 << 20), resource.RLIM_INFINITY))
        controls.set_num_threads(64)
        run()
        assert controls.get_num_threads() == team.started() < 8
        run()
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("fastnn wanted 64 threads") == 1


# Recording


def test_recording_tells_what_each_phase_took(kernels):
    team.set_num_threads(2)
    team.drain()
    out = np.zeros(10, dtype=np.int64)
    team.run_phase(kernels["count_up"], pointers(out), 10, LARGE, tag=1)
    team.record(True)
    before = time.monotonic_ns()
    team.run_phases(
        [
            (kernels["count_up"], pointers(out), 10, 0, 2),
            (kernels["dawdle"], pointers(200_000), 10, LARGE, 3),
        ]
    )
    after = time.monotonic_ns()
    team.record(False)
    team.run_phase(kernels["count_up"], pointers(out), 10, LARGE, tag=4)
    records, dropped = team.drain()
    assert dropped == 0
    assert [r.tag for r in records] == [2, 3]
    assert [r.kernel for r in records] == [kernels["count_up"], kernels["dawdle"]]
    assert before <= records[0].start_ns <= records[0].end_ns <= records[1].start_ns <= records[1].end_ns <= after
    for record in records:
        assert record.chunks == sum(record.ran) == 10
        assert record.threads == sum(count > 0 for count in record.ran)
        assert max(record.busy_ns) <= record.end_ns - record.start_ns
    assert records[0].threads == 1
    assert sum(records[1].busy_ns) >= 10 * 200_000
    assert team.drain() == ([], 0)


# Controls


def test_threads_holds_for_the_calling_thread_and_the_block():
    controls.set_num_threads(3)
    seen = []
    with controls.threads(5):
        other = threading.Thread(target=lambda: seen.append(controls.get_num_threads()))
        other.start()
        other.join()
        assert controls.get_num_threads() == 5
        with controls.threads(1):
            assert controls.get_num_threads() == 1
        controls.set_num_threads(2)
        assert controls.get_num_threads() == 5
    assert seen == [3]
    assert controls.get_num_threads() == 2
    with pytest.raises(KeyError), controls.threads(7):
        raise KeyError
    assert controls.get_num_threads() == 2


@pytest.mark.parametrize("n", [0, -1, 1025, 2**70])
def test_impossible_numbers_of_threads(n):
    with pytest.raises(ValueError, match=r"n must be between 1 and 1024, got"):
        controls.set_num_threads(n)
    with pytest.raises(ValueError, match=r"n must be between 1 and 1024, got"), controls.threads(n):
        pass


@pytest.mark.parametrize("n", [1.0, "2", None, True])
def test_numbers_of_threads_are_integers(n):
    with pytest.raises(TypeError, match="n must be an integer, got"):
        controls.set_num_threads(n)


def test_numpy_integers_will_do():
    controls.set_num_threads(np.int64(2))
    assert controls.get_num_threads() == 2


def test_threadpoolctl_sees_and_limits_the_team():
    controls.set_num_threads(3)
    ours = [lib for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "fastnn"]
    assert len(ours) == 1
    assert ours[0]["num_threads"] == 3
    assert Path(ours[0]["filepath"]).name.startswith("_fastnn_team")
    with threadpoolctl.threadpool_limits(1):
        assert controls.get_num_threads() == 1
    assert controls.get_num_threads() == 3
    with threadpoolctl.threadpool_limits(2, user_api="fastnn"):
        assert controls.get_num_threads() == 2
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert controls.get_num_threads() == 3


@pytest.mark.parametrize("value", ["abc", "0", "-2", "1.5", "1025", "²"])
def test_nonsense_in_the_environment(value):
    with pytest.raises(ValueError, match="FASTNN_NUM_THREADS must be an integer from 1 to 1024, got"):
        controls.default_threads(frozenset({0}), None, {"FASTNN_NUM_THREADS": value})


def test_the_environment_at_import(library):
    assert script(library, "assert controls.get_num_threads() == 7", FASTNN_NUM_THREADS=" 7 ").returncode == 0
    done = script(library, "", FASTNN_NUM_THREADS="many")
    assert "ValueError: FASTNN_NUM_THREADS must be an integer from 1 to 1024, got 'many'" in done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_limits_the_default(library):
    body = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); assert len(controls.usable_cpus()) == 1"
    assert script(library, body).returncode == 0


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


CGROUP = "proc/self/cgroup"
V1_QUOTA, V1_PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        pytest.param({}, None, id="no cgroups"),
        pytest.param({CGROUP: "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None, id="v2, no limit"),
        pytest.param({CGROUP: "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2.5, id="v2"),
        pytest.param(
            {
                CGROUP: "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
            },
            1.5,
            id="v2, the parent's is tighter",
        ),
        pytest.param(
            {CGROUP: "0::/../../host/path\n", "sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5, id="v2, the host's path"
        ),
        pytest.param(
            {
                CGROUP: "12:cpu,cpuacct:/docker/x\n3:memory:/\n0::/\n",
                f"sys/fs/cgroup/cpu,cpuacct/docker/x/{V1_QUOTA}": "400000\n",
                f"sys/fs/cgroup/cpu,cpuacct/docker/x/{V1_PERIOD}": "100000\n",
                f"sys/fs/cgroup/cpu,cpuacct/{V1_QUOTA}": "-1\n",
                f"sys/fs/cgroup/cpu,cpuacct/{V1_PERIOD}": "100000\n",
            },
            4.0,
            id="v1",
        ),
        pytest.param(
            {
                CGROUP: "1:cpu:/not/here\n",
                f"sys/fs/cgroup/cpu/{V1_QUOTA}": "-1\n",
                f"sys/fs/cgroup/cpu/{V1_PERIOD}": "100000\n",
            },
            None,
            id="v1, no limit",
        ),
        pytest.param({CGROUP: "nonsense\n\n0::\n", "sys/fs/cgroup/cpu.max": "12\n"}, None, id="nonsense"),
        pytest.param({CGROUP: "0::/\n", "sys/fs/cgroup/cpu.max": "100000 0\n"}, None, id="a period of 0"),
    ],
)
def test_cgroup_quota(tmp_path, files, quota):
    assert controls.cgroup_quota(tree(tmp_path, files)) == quota


def test_the_default_is_physical_cores_within_the_quota(tmp_path):
    names = {f"sys/devices/system/cpu/cpu{i}/topology/thread_siblings_list": f"{i % 4},{i % 4 + 4}\n" for i in range(8)}
    root = tree(tmp_path, names)
    everything = frozenset(range(8))
    assert controls.default_threads(everything, None, {}, root) == 4
    assert controls.default_threads(frozenset({0, 4, 1}), None, {}, root) == 2
    assert controls.default_threads(everything, 2.9, {}, root) == 2
    assert controls.default_threads(everything, 0.3, {}, root) == 1
    assert controls.default_threads(everything, 64.0, {}, root) == 4
    assert controls.default_threads(everything, 2.0, {"FASTNN_NUM_THREADS": "6"}, root) == 6
    assert controls.default_threads(everything, None, {}, tmp_path / "nowhere") == 8


# The C++ under sanitizers


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_stress_under_a_sanitizer(tmp_path, sanitizer):
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    (tmp_path / "empty.cpp").write_text("int main() {}\n")
    probe = subprocess.run(
        [*COMPILER.split(), f"-fsanitize={sanitizer}", str(tmp_path / "empty.cpp"), "-o", str(tmp_path / "empty")],
        capture_output=True,
        text=True,
    )
    if probe.returncode != 0 or subprocess.run([str(tmp_path / "empty")], capture_output=True).returncode != 0:
        pytest.skip(f"{COMPILER} cannot build for -fsanitize={sanitizer} here: {probe.stderr.strip()[:200]}")
    flags = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    built = compile_native(tmp_path / "team_stress", "team_stress.cpp", *flags)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([str(tmp_path / "team_stress"), "1"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
