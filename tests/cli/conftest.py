import pytest

from fastnn.data import ImageData, ImageSplits, sources
from fastnn.data.published import MNIST


@pytest.fixture(scope="session")
def digits():
    parts = sources.packaged_digits()
    return ImageSplits(*(ImageData(*parts[s], MNIST.classes, "mnist", s, "a test") for s in ("train", "test")))


@pytest.fixture
def on_digits(monkeypatch, digits):
    """Train on the packaged digits, whatever the machine holds."""
    monkeypatch.setattr("fastnn.data.datasets.mnist", lambda: digits)
