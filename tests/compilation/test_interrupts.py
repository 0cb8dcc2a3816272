"""Ctrl-C in compiled steps and in fit: answered soon, and the parameters are those of the last whole update."""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")

BEGINNING = """
import hashlib, os, signal, sys, threading, time
import numpy as np
import fastnn
from fastnn import nn, optim
from fastnn.nn import functional as F

signal.signal(signal.SIGINT, signal.default_int_handler)

def bits(*tensors):
    return hashlib.sha256(b"".join(np.ascontiguousarray(t.array).tobytes() for t in tensors)).hexdigest()

def state(net, o):
    kept = [v for own in o.state.values() for v in own.values()]
    return bits(*net.parameters(), *net.buffers(), *kept)

sent = [0.0]
def interrupt_after(seconds):
    started = threading.Event()  # starting a thread is not what is to be interrupted
    def send():
        started.wait()
        time.sleep(seconds)
        sent[0] = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=send, daemon=True).start()
    started.set()

def perceptron(width):
    fastnn.manual_seed(1)
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, width), nn.ReLU(),
                         nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))

def data(count):
    rng = np.random.default_rng(1)
    return rng.random((count, 64), dtype="f4"), rng.integers(0, 10, count)
"""


def run(code: str, seconds: int = 240) -> str:
    program = BEGINNING + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr
    return done.stdout


FIT = """
width, batch, compiled, delays = {width}, {batch}, {compiled}, {delays}
x, y = data(batch * 8)
for delay in delays:
    net = perceptron(width)
    o = optim.Adam(net.parameters(), lr=1e-3)
    known = {{0: state(net, o)}}
    first = []
    def note(run):
        if not first:
            first.append(interrupt_after(delay))
        if run.step <= 40:
            known[run.step] = state(net, o)
    steps = []
    class Watch(fastnn.training.Callback):
        def on_batch(self, run):
            note(run)
        def on_end(self, run):
            waited = time.monotonic() - sent[0]
            steps.append((run.step, state(net, o), run.stopped, waited))
    try:
        fastnn.fit(net, (x, y), loss="cross_entropy", optimizer=o, epochs=10**6, batch_size=batch, callbacks=Watch(),
                   compiled=compiled, seed=3, verbose=False)
    except KeyboardInterrupt:
        pass
    step, digest, stopped, waited = steps[-1]
    assert stopped == "interrupted", stopped
    assert step > 40 or digest == known[step], "the model is not that of the last whole update"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    loss = F.cross_entropy(net(fastnn.from_numpy(x[:8])), fastnn.from_numpy(y[:8]))
    assert np.isfinite(float(loss.item()))
    print(f"{{waited:.4f}}")
"""


@pytest.mark.parametrize("compiled", [True, False])
def test_long_steps_are_broken_off(compiled: bool) -> None:
    found = run(FIT.format(width=1024, batch=2048, compiled=compiled, delays=[0.05, 0.21, 0.4, 0.83]))
    assert len(found.split()) == 4
    # the shortest, since the machine may be busy; a step takes longer than any of them
    assert min(map(float, found.split())) < 0.2


def test_many_tiny_steps() -> None:
    found = run(FIT.format(width=8, batch=8, compiled=True, delays=[0.05, 0.3]))
    assert min(map(float, found.split())) < 0.2


def test_a_long_validation() -> None:
    found = run(
        """
        x, y = data(64)
        big = data(30000)
        net = perceptron(1024)
        o = optim.SGD(net.parameters(), lr=0.1)
        call = fastnn.training.Call(lambda run: interrupt_after(0.2) if run.step == 2 else None, "batch")
        try:
            fastnn.fit(net, (x, y), loss="cross_entropy", optimizer=o, epochs=5, validation=big, verbose=False,
                       callbacks=call)
        except KeyboardInterrupt:
            print(f"{time.monotonic() - sent[0]:.4f}", net.training)
        """
    )
    waited, training = found.split()
    assert float(waited) < 1  # the validation takes seconds
    assert training == "True"


def test_a_bare_step_is_whole_or_not_done() -> None:
    run(
        """
        x, y = data(1024)
        net = perceptron(700)
        o = optim.Adam([{"params": net[0].parameters()}, {"params": net[3:].parameters(), "lr": 1e-4}], lr=1e-3)
        schedule = optim.lr_scheduler.ExponentialLR(o, 0.9)
        def body(x, y):
            o.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            o.step()
            schedule.step()
            return loss.detach()
        step = fastnn.compile(body)
        for _ in range(3):
            step(x, y)
        assert step.plan is not None
        start = time.perf_counter()
        step(x, y)
        took = time.perf_counter() - start
        broken = 0
        for i in range(30):
            before, counts = state(net, o), {float(own["step"]) for own in o.state.values()}
            interrupt_after(took * i / 30)
            try:
                step(x, y)
                time.sleep(2 * took)
                raise AssertionError("no interrupt")
            except KeyboardInterrupt:
                pass
            now = {float(own["step"]) for own in o.state.values()}
            assert len(now) == 1, now
            if state(net, o) == before:
                broken += 1
                assert now == counts
            else:
                assert now == {counts.pop() + 1}
        assert broken > 5, broken
        assert np.isfinite(float(step(x, y).item()))
        """
    )


def test_a_recording_is_broken_off() -> None:
    run(
        """
        x, y = data(1024)
        net = perceptron(512)
        o = optim.SGD(net.parameters(), lr=0.1)
        def body(x, y):
            o.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            o.step()
            return loss.detach()
        body(fastnn.from_numpy(x), fastnn.from_numpy(y))
        for i in range(8):
            step = fastnn.compile(body)
            interrupt_after(0.01 * i)
            try:
                while True:
                    step(x, y)
            except KeyboardInterrupt:
                pass
            from fastnn._runtime.capture import active
            assert active() is None
            for _ in range(3):
                assert np.isfinite(float(step(x, y).item()))
            assert step.plan is not None
        """
    )


def test_a_run_that_was_broken_off_goes_on_to_the_same_bits(tmp_path) -> None:  # type: ignore[no-untyped-def]
    run(
        f"""
        x, y = data(1024 * 6)
        def train(resume, callbacks=()):
            net = perceptron(512)
            o = optim.Adam(net.parameters(), lr=1e-3)
            try:
                fastnn.fit(net, (x, y), loss="cross_entropy", optimizer=o, epochs=2, batch_size=1024, seed=3,
                           checkpoint={str(tmp_path)!r}, resume=resume, callbacks=callbacks, verbose=False)
            except KeyboardInterrupt:
                return None
            return state(net, o)
        expected = train(False)
        call = fastnn.training.Call(lambda run: interrupt_after(0.03) if run.step == 4 else None, "batch")
        assert train(False, call) is None
        assert train(True) == expected
        """
    )
