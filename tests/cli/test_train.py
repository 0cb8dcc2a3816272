import json
import os
import signal

import numpy as np
import pytest
from safetensors.numpy import load_file

from fastnn.cli import outputs
from fastnn.cli.app import run


def test_trains_and_saves(tmp_path, capsys, on_digits):
    out = tmp_path / "new" / "folder"
    assert run(["train", "mnist", "--epochs", "2", "--out", str(out), "--threads", "1", "--compare-numpy"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert lines[0] == "data       a test"
    assert "4,000 images to train on, 1,000 held out" in lines[1]
    assert sum(line.startswith("epoch") for line in lines) == 2
    assert any("samples/s on the NumPy reference: fastnn is" in line for line in lines)
    assert f"plot       {out / 'history.png'}" in lines

    record = json.loads((out / "history.json").read_text())
    assert [epoch["epoch"] for epoch in record["epochs"]] == [1, 2]
    assert record["accuracy"] == record["epochs"][-1]["accuracy"] > 0.7
    assert record["settings"]["batch_size"] == 128
    assert record["samples_per_second"] > 0
    assert record["numpy_samples_per_second"] > 0
    assert record["source"] == "a test"
    assert (out / "history.png").read_bytes()[1:4] == b"PNG"
    assert load_file(out / "model.safetensors")["0.weight"].shape[1] == 784
    assert sorted(os.listdir(out)) == ["history.json", "history.png", "model.safetensors"]


def test_the_same_seed_gives_the_same_weights(tmp_path, on_digits):
    def weights(name, seed):
        assert run(["train", "mnist", "--epochs", "1", "--seed", seed, "--out", str(tmp_path / name), "--quiet"]) == 0
        return load_file(tmp_path / name / "model.safetensors")["0.weight"]

    first = weights("a", "3")
    np.testing.assert_array_equal(first, weights("b", "3"))
    assert (first != weights("c", "4")).any()


def test_quiet(tmp_path, capsys, on_digits):
    assert run(["train", "mnist", "--epochs", "1", "--out", str(tmp_path), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_interrupted_after_an_epoch(tmp_path, capsys, on_digits, monkeypatch):
    """Ctrl-C comes with the first batch of epoch 3."""
    saves = []

    def batch(*args):
        if len(saves) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    def save(path, state):
        outputs.save_weights(path, state)
        saves.append({name: np.array(value) for name, value in state.items()})

    monkeypatch.setattr("fastnn.cli.train.save_weights", save)
    monkeypatch.setattr("fastnn.cli.progress.Plain.batch", batch)
    assert run(["train", "mnist", "--epochs", "1000", "--out", str(tmp_path)]) == 130
    told = f"interrupted in epoch 3; {tmp_path / 'model.safetensors'} holds the weights after epoch 2"
    assert told in capsys.readouterr().err
    kept = load_file(tmp_path / "model.safetensors")
    for name, value in saves[-1].items():
        np.testing.assert_array_equal(kept[name], value)
    assert len(json.loads((tmp_path / "history.json").read_text())["epochs"]) == len(saves) == 2


def test_interrupted_in_the_first_epoch(tmp_path, capsys, on_digits, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastnn.cli.progress.Plain.batch", stop)
    assert run(["train", "mnist", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "fastnn: interrupted in epoch 1; nothing was saved\n"
    assert os.listdir(tmp_path) == []


def test_a_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "weights"
    outputs.write_whole(path, b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        outputs.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["weights"]


def test_ctrl_c_just_after_the_file_took_its_place(tmp_path, monkeypatch):
    replace = os.replace

    def interrupted(source, target):
        replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        outputs.write_whole(tmp_path / "weights", b"new")
    assert (tmp_path / "weights").read_bytes() == b"new"


def test_ctrl_c_before_training(tmp_path, capsys, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr("fastnn.data.datasets.mnist", stop)
    assert run(["train", "mnist", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "fastnn: interrupted\n"


def test_a_full_disk_is_told_in_one_line(tmp_path, capsys, on_digits, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert run(["train", "mnist", "--epochs", "1", "--quiet", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"fastnn: cannot write to {tmp_path}: No space left on device\n"


def test_a_loss_that_diverged_is_null(tmp_path):
    outputs.save_history(tmp_path / "h.json", {"epochs": [{"loss": float("nan")}], "best": float("inf")})
    assert json.loads((tmp_path / "h.json").read_text()) == {"epochs": [{"loss": None}], "best": None}


def test_out_is_a_file(tmp_path, capsys):
    (tmp_path / "f").write_text("")
    assert run(["train", "mnist", "--out", str(tmp_path / "f")]) == 1
    assert "--out must be a folder that can be written to, got" in capsys.readouterr().err


def test_without_safetensors(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["train", "mnist"]) == 1
    assert "pip install 'fastnn-cpu[all]'" in capsys.readouterr().err


def test_data_that_is_not_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FASTNN_OFFLINE", "1")
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    monkeypatch.setattr("fastnn.data.datasets.data_folders", lambda: [tmp_path])
    assert run(["train", "fashion-mnist", "--out", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fastnn: Fashion-MNIST is not in")
