import signal

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


@pytest.fixture(autouse=True)
def _ctrl_c():
    """Ctrl-C interrupts, also where the tests were started in the background, with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
