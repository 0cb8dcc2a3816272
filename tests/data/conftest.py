"""Where the tests find MNIST: $FASTNN_DATA, or a folder shared/data beside the checkout. Nothing is downloaded."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Hide the machine: no network, an empty cache, no folder named in the environment."""
    monkeypatch.setenv("FASTNN_OFFLINE", "1")
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    monkeypatch.setattr("fastnn.data.sources.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("fastnn.data.sources._SYSTEM", tmp_path / "system")


_NAMED = os.environ.get("FASTNN_DATA")


@pytest.fixture
def data_folder() -> Path:
    """Return a folder that holds mnist/*.gz."""
    checkout = Path(__file__).parents[2]
    for folder in [Path(p) for p in (_NAMED,) if p] + [checkout.parent / "shared" / "data"]:
        if (folder / "mnist" / "train-images-idx3-ubyte.gz").is_file():
            return folder
    pytest.skip("MNIST's files are not here: set FASTNN_DATA to a folder that holds mnist/*.gz")
