"""The guide to adding an op, followed in a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn

sys.path.insert(0, str(Path(__file__).parent))
from pages import DOCS, differences

sys.path.pop(0)

BLOCK = re.compile(r'^```python(?: title="([^"]*)")?\n(.*?)^```(?:\n\n```text\n(.*?)^```)?', re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def blocks():
    return BLOCK.findall((DOCS / "adding-an-op.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def copy(blocks, tmp_path_factory):
    """A folder with fastnn and the op."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(fastnn.__path__[0], folder / "fastnn", ignore=shutil.ignore_patterns("__pycache__"))
    for title, text, _ in blocks:
        path, _, table = title.partition(", ")
        if table:
            file = folder / path
            source, count = re.subn(rf"^({table}\b.*\{{\n)", lambda m, t=text: m[1] + t, file.read_text(), flags=re.M)
            assert count == 1, f"{path} has no table {table}"
            file.write_text(source)
        elif path:
            assert not (folder / path).exists(), f"{path} is there already"
            (folder / path).write_text(text)
    return folder


def run(folder, code):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_op_works_as_shown(blocks, copy):
    plain = [(text, printed) for title, text, printed in blocks if not title]
    assert len(plain) == 2
    (first, shown), (explained, _) = plain
    assert not (wrong := differences(run(copy, first), shown)), wrong
    text = run(copy, f"import fastnn\n{explained}")
    assert "energy.energy " in text
    assert "energy.energy_backward " in text


def test_the_kernels_agree_with_the_reference(copy):
    code = """
import numpy as np
import fastnn
from fastnn import ops
from fastnn.testing.samples import sample

assert fastnn.__file__.startswith({folder!r})
for dtype in ("float32", "float64"):
    for case in ops.energy.cases:
        (x,), _ = sample(ops.energy, case, dtype)
        for given in (x, x[..., ::-1], np.asfortranarray(x)):
            found = []
            for name in ("kernels", "numpy"):
                with fastnn.use_backend(name):
                    t = fastnn.tensor(given, requires_grad=True)
                    y = ops.energy(t)
                    y.backward(fastnn.ones_like(y))
                    found.append((y.detach().numpy(), t.grad.numpy()))
            for one, other in zip(*found):
                np.testing.assert_allclose(one, other, rtol=1e-5)
print("agree")
"""
    assert run(copy, code.format(folder=str(copy))) == "agree\n"
