"""A run that goes on from a checkpoint ends in the bits of one without a break."""

import contextlib
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.data import datasets
from fastnn.training import Call, Checkpoint, CheckpointError, EarlyStopping
from fastnn.training.checkpoint import BEST, LAST, load


def made(optimizer="Adam"):
    fastnn.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 2))
    return model, getattr(fastnn.optim, optimizer)(model.parameters(), lr=0.05)


def bits(model, optimizer):
    state = [value.numpy().tobytes() for value in model.state_dict().values()]
    for own in optimizer.state_dict()["state"].values():
        state += [np.asarray(value).tobytes() for value in own.values()]
    return state


class Break(Exception):
    pass


def run(folder, epochs=3, stop=None, resume=False, seed=9, optimizer="Adam", **options):
    model, optimizer = made(optimizer)

    class Stopping(Checkpoint):
        def on_batch(self, run):
            super().on_batch(run)
            if run.step == stop:
                raise Break

    defaults = {"schedule": lambda o: fastnn.optim.lr_scheduler.ExponentialLR(o, 0.5), "metrics": ["accuracy"]}
    history = None
    with contextlib.suppress(Break):
        history = fastnn.fit(
            model,
            datasets.moons(90, seed=2),
            loss="cross_entropy",
            optimizer=optimizer,
            epochs=epochs,
            batch_size=20,
            seed=seed,
            validation=0.1,
            callbacks=[Stopping(folder, every=1), EarlyStopping(patience=9)],
            resume=folder if resume else False,
            **defaults | options,
        )
    return bits(model, optimizer), history


def told(history):
    return [{k: v for k, v in e.items() if not k.startswith(("seconds", "samples_per"))} for e in history.records()]


@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_from_any_batch(tmp_path, optimizer):
    options = {"optimizer": optimizer}
    expected, history = run(tmp_path / "whole", **options)
    steps = 15  # 81 samples in batches of 20, three times
    for stop in range(1, steps):
        folder = tmp_path / str(stop)
        run(folder, stop=stop, **options)
        got, resumed = run(folder, resume=True, seed=None, **options)
        assert got == expected, stop
        assert told(resumed) == told(history), stop


def test_resume_from_nothing_is_a_fresh_start(tmp_path):
    assert run(tmp_path / "a", resume=True)[0] == run(tmp_path / "b")[0]


def test_more_epochs_go_on(tmp_path):
    run(tmp_path / "short", epochs=1)
    got, history = run(tmp_path / "short", epochs=3, resume=True)
    assert got == run(tmp_path / "whole")[0]
    assert len(history) == 3
    again, history = run(tmp_path / "short", epochs=3, resume=True)
    assert again == got
    assert len(history) == 3


def test_the_best_and_the_last(tmp_path):
    _, history = run(tmp_path, epochs=4)
    assert sorted(os.listdir(tmp_path)) == [BEST, LAST]
    assert len(load(tmp_path / LAST)["history"]) == 4
    assert len(load(tmp_path / BEST)["history"]) == history.best.number


def test_an_interrupted_run_keeps_its_last_update(tmp_path):
    model, optimizer = made()

    def stop(run):
        if run.step == 7:
            os.kill(os.getpid(), signal.SIGINT)

    options = {"loss": "cross_entropy", "epochs": 3, "batch_size": 20, "checkpoint": tmp_path, "seed": 4}
    data = datasets.moons(90, seed=2)
    with pytest.raises(KeyboardInterrupt):
        fastnn.fit(model, data, optimizer=optimizer, callbacks=Call(stop, "batch"), **options)
    assert load(tmp_path / LAST)["place"]["step"] == 7
    model, optimizer = made()
    fastnn.fit(model, data, optimizer=optimizer, resume=True, **options)
    other, plain = made()
    fastnn.fit(other, data, optimizer=plain, **options | {"checkpoint": None})
    assert bits(model, optimizer) == bits(other, plain)


def test_the_order_of_callbacks_does_not_matter(tmp_path):
    """A checkpoint that stands before what it keeps still keeps it as it is after the epoch."""

    def stopped(folder, epochs, resume):
        model, optimizer = made()
        history = fastnn.fit(
            model,
            datasets.moons(60, seed=2),
            loss="cross_entropy",
            optimizer=optimizer,
            epochs=epochs,
            seed=None if resume else 1,
            schedule=lambda epoch: 0.0,
            callbacks=[Checkpoint(folder), EarlyStopping("loss", patience=2, min_delta=10.0)],
            resume=folder if resume else False,
        )
        return len(history)

    whole = stopped(tmp_path / "a", 50, False)
    assert stopped(tmp_path / "b", 2, False) == 2
    assert stopped(tmp_path / "b", 50, True) == whole == 4


def test_a_loss_that_was_not_a_number_is_not_the_best(tmp_path):
    from fastnn.training import Epoch

    keeper = Checkpoint(tmp_path)

    written = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastnn.training.checkpoint.encode", lambda run: b"state")
        patch.setattr("fastnn.training.checkpoint.write_whole", lambda path, content: written.append(path.name))
        for number, loss in enumerate((np.nan, 2.0, 3.0, 1.0), 1):
            keeper.on_epoch(None, Epoch(number, 0.1, {"loss": loss}, 1.0, 1))
    assert written == [BEST, LAST, BEST, LAST, LAST, BEST, LAST]


def test_what_does_not_fit_is_told(tmp_path):
    run(tmp_path, epochs=1)
    model = nn.Linear(3, 2)
    options = {"loss": "cross_entropy", "optimizer": "adam", "resume": tmp_path, "metrics": "accuracy"}
    with pytest.raises(CheckpointError, match="not of this model and optimizer"):
        fastnn.fit(model, (np.zeros((4, 3), "f"), np.zeros(4, int)), **options)
    with pytest.raises(CheckpointError, match="has 1 metrics, expected 0"):
        run(tmp_path, resume=True, metrics=())
    with pytest.raises(FileNotFoundError, match="is neither"):
        fastnn.fit(model, (np.zeros((4, 3), "f"), np.zeros(4, int)), **options | {"resume": tmp_path / "x.safetensors"})


def test_other_files_are_refused(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / LAST
    for content in (b"", b"{}", b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            load(path)
    save_file({"x": np.zeros(3, "f")}, path)
    with pytest.raises(CheckpointError, match="expected a training run, got a file of something else"):
        load(path)
    fastnn.save({"format": "another"}, path)
    with pytest.raises(CheckpointError, match="expected 'fastnn training run 1', got 'another'"):
        load(path)


def test_a_folder_that_cannot_be_written_fails_first(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    model, optimizer = made()
    before = bits(model, optimizer)
    with pytest.raises(PermissionError, match="cannot be written to"):
        fastnn.fit(model, datasets.moons(20), loss="cross_entropy", optimizer=optimizer, checkpoint=tmp_path)
    assert bits(model, optimizer) == before


KILLED = """
import sys, numpy as np, fastnn
from fastnn import nn
from fastnn.training import Checkpoint
fastnn.manual_seed(1)
model = nn.Linear(64, 64)
x = np.ones((8, 64), "f")
print("ready", flush=True)
fastnn.fit(model, (x, x), loss=lambda o, t: ((o - t) * (o - t)).mean(), optimizer="adam", epochs=10**6, batch_size=4,
           callbacks=Checkpoint(sys.argv[1], every=1), seed=0)
"""


def test_being_killed_while_saving_leaves_a_whole_file(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        while not (tmp_path / LAST).exists():
            assert process.poll() is None
        try:
            process.wait(0.05 + 0.1 * rng.random())
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        process.stdout.close()
        assert load(tmp_path / LAST)["place"]["step"] > 0
    assert len(os.listdir(tmp_path)) <= 4  # what a kill leaves behind, the next save takes away
