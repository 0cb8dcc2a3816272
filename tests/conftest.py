"""What holds for all tests."""

import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c():
    """Ctrl-C interrupts, here and in processes that tests start, also where the tests run in the background.

    A shell starts those with the signal ignored, and what is ignored is inherited.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
