"""Compiled steps and the cache of kernels: several processes fill it at once, and warmup fills it ahead of time."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MODEL = """
from fastnn import nn
def factory():
    return nn.Sequential(nn.Linear(37, 19), nn.Tanh(), nn.Dropout(0.2), nn.Linear(19, 3))
def images():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 1))
def words():
    return nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(4, 3))
class Broken(nn.Module):
    def forward(self, x):
        return x
"""
COMMAND = "import sys; from fastnn.cli import main; sys.exit(main())"
STEP = """
import hashlib, sys, time
import numpy as np
import fastnn
from fastnn import optim
from fastnn._kernels import jit
from fastnn.nn import functional as F
from model import factory

if len(sys.argv) > 1:
    time.sleep(max(0, float(sys.argv[1]) - time.time()))
fastnn.manual_seed(1)
net = factory()
optimizer = optim.Adam(net.parameters())
def body(x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    return loss.detach()
step = fastnn.compile(body)
rng = np.random.default_rng(1)
for n in (32, 32, 32, 7, 7, 7, 500, 500):
    step(rng.random((n, 37), dtype="f4"), rng.integers(0, 3, n))
assert step.plan is not None
fastnn.predict(net, rng.random((11, 37), dtype="f4"))
kept = b"".join(np.ascontiguousarray(p.array).tobytes() for p in net.parameters())
print(hashlib.sha256(kept).hexdigest(), jit._pool is not None, "numba" in sys.modules)
"""


@pytest.fixture
def start(tmp_path: Path) -> Any:
    """Starts Python in a folder with the model, on an empty cache."""
    (tmp_path / "model.py").write_text(MODEL)
    cache = tmp_path / "cache"

    def begin(*arguments: str) -> Any:
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=tmp_path, env={**os.environ, "FASTNN_CACHE_DIR": str(cache)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return begin


def ended(process: Any, status: int = 0) -> tuple[str, str]:
    out, error = process.communicate(timeout=280)
    assert process.returncode == status, error
    return out, error


def test_two_processes_record_the_same_new_step_at_once(start: Any, tmp_path: Path) -> None:
    import time

    at = str(time.time() + 2)
    found = [ended(process)[0].split() for process in [start("-c", STEP, at) for _ in range(2)]]
    assert any(compiled == "True" for _, compiled, _ in found)
    bits, compiled, numba = ended(start("-c", STEP))[0].split()
    assert (compiled, numba) == ("False", "False")
    assert [own[0] for own in found] == [bits] * 2
    assert all(own[2] == "False" for own in found)
    assert not [name for name in os.listdir(tmp_path / "cache") if name.startswith((".", "tmp"))]


@pytest.mark.parametrize("name", ["model.py:factory", "model:factory"])
def test_warmup_leaves_nothing_to_compile(start: Any, name: str) -> None:
    out, _ = ended(start("-c", COMMAND, "warmup", name, "--batch", "16"))
    assert out.startswith(f"{name} ready after")
    _, compiled, numba = ended(start("-c", STEP))[0].split()
    assert (compiled, numba) == ("False", "False")


def test_warmup_of_other_models(start: Any) -> None:
    ended(start("-c", COMMAND, "warmup", "model.py:images", "--shape", "3,2,2", "--loss", "mse", "--optimizer", "sgd"))
    ended(start("-c", COMMAND, "warmup", "model.py:words"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("model.py:missing",), "cannot be found"),
        (("missing.py:factory",), "cannot be found"),
        (("model.py:MODEL",), "cannot be found"),
        (("model.py:factory", "--shape", "36"), "cannot be trained on a batch of shape (32, 36)"),
        (("model.py:factory", "--shape", "a"), "whole numbers"),
        (("model.py:factory", "--loss", "nothing"), "loss must be"),
        (("model.py:factory", "--optimizer", "nothing"), "optimizer must be"),
        (("model.py:Broken",), "--shape"),
        (("model.py",), "MODULE:FACTORY"),
    ],
)
def test_bad_warmups(start: Any, arguments: tuple[str, ...], words: str) -> None:
    process = start("-c", COMMAND, "warmup", *arguments)
    _, error = process.communicate(timeout=200)
    assert process.returncode in (1, 2)
    assert words in error
    assert error.count("\n") == 1, error
