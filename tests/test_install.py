"""The tests run against the installed wheel, never against the source tree."""

import importlib.metadata
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import fastnn


def test_fastnn_is_the_installed_one():
    assert Path(sysconfig.get_path("platlib")) in Path(fastnn.__file__).parents


def test_one_version():
    assert importlib.metadata.version("fastnn-cpu") == fastnn.__version__


def test_the_readmes_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "README.md").read_text()
    blocks = [block.split("```")[0] for block in text.split("```python\n")[1:8]]
    first, fit, compiled, images, estimator, second, third = blocks
    rng = np.random.default_rng(0)
    batches = [(rng.random((8, 784), dtype="float32"), rng.integers(0, 10, 8)) for _ in range(3)]
    names = {"batches": batches}
    exec(first, names)
    assert np.isfinite(names["loss"].item())
    exec(fit, names)
    assert len(names["history"]) == 10
    assert (tmp_path / "history.png").exists()
    exec(compiled, names)
    assert len(names["step"].plans) == 1
    exec(images, {"fastnn": fastnn, "images": rng.random((8, 3, 32, 32), "float32"), "labels": np.arange(8)})
    pytest.importorskip("sklearn")
    exec(estimator, names | {"x": batches[0][0], "y": batches[0][1]})
    a = rng.random((4, 4), dtype="float32")
    names |= {"weight": np.ones((3, 784), "float32"), "bias": np.zeros(3, "float32"), "a": a, "b": a}
    names |= {"x": batches[0][0], "c": np.empty((4, 4), "float32")}
    exec(second, names)
    np.testing.assert_allclose(names["c"], a @ a, rtol=1e-6)
    np.testing.assert_allclose(names["d"], a @ a @ (a @ a).T, rtol=1e-5)
    exec(third, names | {"fastnn": fastnn})
