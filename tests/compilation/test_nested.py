"""Compiled steps and fit in threads, in processes, across forks, under limits of threads; each in a process of its own.

A hang is a failure: every program has a time limit.
"""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

BEGINNING = """
import concurrent.futures, hashlib, multiprocessing, os, sys, threading, warnings
import numpy as np
import fastnn
from fastnn import nn, optim
from fastnn.nn import functional as F

def made(seed):
    fastnn.manual_seed(seed)
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5))
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()
    return net, fastnn.compile(step)

def batch(i, n=128):
    rng = np.random.default_rng(i)
    return rng.random((n, 20), dtype="f4"), rng.integers(0, 5, n)

def bits(net):
    return hashlib.sha256(b"".join(np.ascontiguousarray(p.array).tobytes() for p in net.parameters())).hexdigest()

def go_on(net, run, first=0, count=12):
    for i in range(first, first + count):
        run(*batch(i))
    return bits(net)

def job(seed):
    net, run = made(seed)
    found = go_on(net, run)
    assert run.plan is not None
    return found

def fitted(seed):
    net = nn.Sequential(nn.Linear(20, 5))
    for p in net.parameters():
        p.data = fastnn.full(tuple(p.shape), 0.01 * seed)
    fastnn.fit(net, batch(seed, 100), loss="cross_entropy", optimizer="adam", epochs=2, verbose=False, shuffle=False)
    return bits(net)
"""
HAS_FORK = hasattr(os, "fork")
METHODS = ["spawn", *(["fork", "forkserver"] if HAS_FORK else [])]


def run(tmp_path: Path, body: str, seconds: int = 200) -> str:
    (tmp_path / "work.py").write_text(BEGINNING)
    program = tmp_path / "program.py"
    main = "if __name__ == '__main__':\n    warnings.filterwarnings('ignore', 'This process', DeprecationWarning)\n"
    program.write_text("from work import *\n" + main + textwrap.indent(textwrap.dedent(body), "    "))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=seconds, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pools_of_threads(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        alone = [fitted(s) for s in range(8)]
        nets = [made(s) for s in range(6)]
        expected = [go_on(*made(s)) for s in range(6)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda own: go_on(*own), nets)) == expected
            assert list(pool.map(fitted, range(8))) == alone
        """,
    )


@pytest.mark.parametrize("method", METHODS)
def test_pools_of_processes(tmp_path: Path, method: str) -> None:
    run(
        tmp_path,
        f"""
        context = multiprocessing.get_context({method!r})
        expected = [job(s) for s in range(3)] + [fitted(s) for s in range(3)]
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            found = list(pool.map(job, range(3))) + list(pool.map(fitted, range(3)))
        assert found == expected
        with context.Pool(2) as pool:
            assert pool.map(job, range(3)) + pool.map(fitted, range(3)) == expected
        """,
    )


@pytest.mark.skipif(not HAS_FORK, reason="forks")
def test_a_step_that_was_used_before_a_fork(tmp_path: Path) -> None:
    """Parent and children go on from where they were, with the plan they had, and with sizes that are new to it."""
    run(
        tmp_path,
        """
        def work(pipe, net, run):
            plan = run.plan
            found = [go_on(net, run, 12)]
            assert run.plan is plan
            for n in (64, 64, 64, 33):
                run(*batch(n, n))
            pipe.send((found, bits(net)))

        reference = made(1)
        go_on(*reference)
        expected = [go_on(*reference, 12)]
        for n in (64, 64, 64, 33):
            reference[1](*batch(n, n))
        expected = expected, bits(reference[0])

        net, run = made(1)
        go_on(net, run)
        context = multiprocessing.get_context("fork")
        ends = []
        for _ in range(3):
            here, there = context.Pipe()
            child = context.Process(target=work, args=(there, net, run))
            child.start()
            ends.append((here, child))
        # at the same time
        assert go_on(net, run, 12) == expected[0][0]
        for here, child in ends:
            assert here.poll(100)
            assert here.recv() == expected
            child.join(30)
            assert child.exitcode == 0
        """,
    )


@pytest.mark.skipif(not HAS_FORK, reason="forks")
def test_forks_while_another_thread_replays(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        net, run = made(1)
        go_on(net, run)
        expected = job(5)
        end = threading.Event()
        def replay():
            i = 0
            while not end.is_set():
                run(*batch(i))
                i += 1
        thread = threading.Thread(target=replay)
        thread.start()
        for _ in range(10):
            child = os.fork()
            if child == 0:
                # what another thread was about to change is unknown; but its plan, or another, serves again
                for i in range(3):
                    run(*batch(i))
                used = run.plan.used
                good = np.isfinite(run(*batch(3)).item()) and run.plan.used > used and job(5) == expected
                os._exit(0 if good else 1)
            assert os.waitpid(child, 0)[1] == 0
        end.set()
        thread.join()
        """,
    )


@pytest.mark.skipif(not HAS_FORK, reason="forks")
def test_a_fork_within_a_recording(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        def step(x):
            child = os.fork()
            if child == 0:
                os._exit(0 if (x * 2).array.sum() == 6 else 1)
            assert os.waitpid(child, 0)[1] == 0
            return x * 2
        run = fastnn.compile(step)
        for _ in range(3):
            assert run(np.ones(3)).tolist() == [2, 2, 2]
        """,
    )


@pytest.mark.skipif(importlib.util.find_spec("joblib") is None, reason="needs joblib")
@pytest.mark.parametrize("backend", ["threading", "loky", "multiprocessing"])
def test_joblib(tmp_path: Path, backend: str) -> None:
    run(
        tmp_path,
        f"""
        import joblib
        expected = [job(s) for s in range(3)] + [fitted(s) for s in range(3)]
        # jobs in threads of one process share the default generator
        functions = [fitted] if {backend!r} == "threading" else [job, fitted]
        for _ in range(2):
            calls = [joblib.delayed(f)(s) for f in functions for s in range(3)]
            found = joblib.Parallel(n_jobs=2, backend={backend!r})(calls)
            assert found == expected[-len(found):]
        """,
    )


def test_numbers_of_threads_change_between_replays(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        net, run = made(1)
        expected = go_on(*made(1), 0, 24)
        for i in range(24):
            with fastnn.threads(1 + i % 4):
                run(*batch(i))
        assert bits(net) == expected
        assert len(run.plans) == 1
        """,
    )


@pytest.mark.skipif(importlib.util.find_spec("threadpoolctl") is None, reason="needs threadpoolctl")
def test_limits_of_threadpoolctl(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        import threadpoolctl
        net, run = made(1)
        expected = go_on(*made(1), 0, 24)
        before = fastnn.get_num_threads()
        for i in range(24):
            with threadpoolctl.threadpool_limits(1 + i % 3):
                run(*batch(i))
        assert bits(net) == expected
        assert fastnn.get_num_threads() == before
        """,
    )


def test_a_step_within_a_step_of_another_thread(tmp_path: Path) -> None:
    """While one thread records, others replay and record theirs."""
    run(
        tmp_path,
        """
        expected = [go_on(*made(s)) for s in range(4)]
        nets = [made(s) for s in range(4)]
        found = {}
        def work(i):
            found[i] = go_on(*nets[i])
        def outer(x):
            threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
            for t in threads:
                t.start()
            y = x * 2
            for t in threads:
                t.join()
            return y + 1
        run = fastnn.compile(outer)
        for _ in range(3):
            assert run(np.ones(2)).tolist() == [3, 3]
        assert [found[i] for i in range(4)] == expected
        """,
    )
