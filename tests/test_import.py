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


def test_explain_loads_on_first_use_and_stays_a_function():
    result = run(
        "import sys, fastnn\n"
        "before = 'fastnn.explanation' in sys.modules\n"
        "import fastnn.explanation\n"
        "print(before, fastnn.explain is fastnn.explanation.explain is fastnn.explain, 'explain' in dir(fastnn))"
    )
    assert result.stdout.split() == ["False", "True", "True"], result.stderr


@pytest.mark.parametrize("name", ["data", "nn", "optim", "random", "testing"])
def test_rooms_load_on_first_use(name):
    result = run(f"import fastnn; print(fastnn.{name}.__name__)")
    assert result.stdout.strip() == f"fastnn.{name}", result.stderr


def test_numpy_serves_with_one_warning_where_code_cannot_be_made_executable():
    result = run(
        "import warnings, numpy as np, fastnn\n"
        "from fastnn import nn, optim\n"
        "from fastnn._kernels import errors, loader\n"
        "def refuse():\n"
        "    raise errors.NoExecutableMemory('refused')\n"
        "loader.require_executable_memory = refuse\n"
        "x, y = np.eye(3, dtype='float32'), np.array([0, 1, 0])\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n"
        "    fastnn.manual_seed(0)\n"
        "    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))\n"
        "    optimizer = optim.Adam(model.parameters(), lr=0.1)\n"
        "    losses = []\n"
        "    for _ in range(30):\n"
        "        optimizer.zero_grad()\n"
        "        loss = nn.CrossEntropyLoss()(model(x), y)\n"
        "        loss.backward()\n"
        "        optimizer.step()\n"
        "        losses.append(loss.item())\n"
        "print(len(told), 'NumPy serves instead' in str(told[0].message), losses[-1] < losses[0] / 2, fastnn.backend())"
    )
    assert result.stdout.split() == ["1", "True", "True", "numpy"], result.stdout + result.stderr
