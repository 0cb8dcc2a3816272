import signal

import pytest


@pytest.fixture(autouse=True)
def _ctrl_c():
    """Ctrl-C interrupts, also where the tests were started in the background, with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
