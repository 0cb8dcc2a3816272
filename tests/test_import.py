"""What importing costs, and what it must not bring."""

import subprocess
import sys
import time
from pathlib import Path

import pytest


def run(code, **kwargs):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, **kwargs)


def test_import_brings_neither_numba_nor_the_extras():
    heavy = [
        "numba",
        "llvmlite",
        "typer",
        "rich",
        "matplotlib",
        "safetensors",
        "pooch",
        "scipy",
        "pandas",
        "sklearn",
        "torch",
    ]
    result = run(f"import sys, fastnn; print([m for m in {heavy} if m in sys.modules])")
    assert result.stdout.strip() == "[]", result.stderr


def test_a_step_with_kernels_does_not_import_numba():
    result = run(
        "import sys, numpy as np, fastnn\n"
        "x = fastnn.tensor(np.ones((2, 3), 'f'), requires_grad=True)\n"
        "(x @ x.T).sum().backward()\n"
        "print(x.grad.tolist(), 'numba' in sys.modules)"
    )
    assert result.stdout.strip() == "[[4.0, 4.0, 4.0], [4.0, 4.0, 4.0]] False", result.stderr


def test_import_is_quick():
    def seconds(code):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            result = run(code)
            times.append(time.perf_counter() - start)
            assert result.returncode == 0, result.stderr
        return min(times)

    # ten times the figure that the benchmarks hold, since tests share the machine
    assert seconds("import fastnn") - seconds("pass") < 1.5


def test_importing_starts_no_thread_and_no_process():
    result = run(
        "import threading, fastnn\n"
        "from fastnn._runtime import _fastnn_team as team\n"
        "print(threading.active_count(), team.started())  # the caller counts"
    )
    assert result.stdout.split() == ["1", "1"], result.stdout + result.stderr


def test_the_unbuilt_tree_says_how_to_build(tmp_path):
    source = Path(__file__).parents[1] / "fastnn" / "__init__.py"
    package = tmp_path / "fastnn"
    (package / "_runtime").mkdir(parents=True)
    (package / "__init__.py").write_text(source.read_text())
    (package / "_runtime" / "__init__.py").write_text("")
    result = run("import fastnn", cwd=tmp_path)
    assert result.returncode == 1
    assert "unbuilt source tree" in result.stderr
    assert "make install" in result.stderr


@pytest.mark.parametrize("name", ["data", "nn", "optim", "random", "testing"])
def test_rooms_load_on_first_use(name):
    result = run(f"import fastnn; print(fastnn.{name}.__name__)")
    assert result.stdout.strip() == f"fastnn.{name}", result.stderr
