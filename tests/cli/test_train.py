import json
import os
import signal

import numpy as np
import pytest
from safetensors.numpy import load_file

import fastnn
from fastnn.cli import outputs
from fastnn.cli.app import run
from fastnn.data import ImageData, ImageSplits


def test_trains_and_saves(tmp_path, capsys, on_digits):
    out = tmp_path / "new" / "folder"
    assert run(["train", "mnist", "--epochs", "2", "--out", str(out), "--threads", "1", "--compare-numpy"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert lines[0] == "data       a test"
    assert lines[2] == "model      784-128-10, 101,770 parameters"
    assert "4,000 images to train on, 1,000 held out" in lines[1]
    assert sum(line.startswith("epoch") for line in lines) == 2
    assert any("samples/s on the NumPy reference: fastnn is" in line for line in lines)
    assert f"plot       {out / 'history.png'}" in lines

    record = json.loads((out / "history.json").read_text())
    assert [epoch["epoch"] for epoch in record["epochs"]] == [1, 2]
    assert record["accuracy"] == record["epochs"][-1]["val_accuracy"] > 0.7
    assert record["settings"]["batch_size"] == 128
    assert record["samples_per_second"] > 0
    assert record["numpy_samples_per_second"] > 0
    assert record["source"] == "a test"
    assert (out / "history.png").read_bytes()[1:4] == b"PNG"
    assert load_file(out / "model.safetensors")["0.weight"].shape[1] == 784
    kept = ["best.safetensors", "history.json", "history.png", "last.safetensors"]
    kept += ["model.json", "model.safetensors"]
    assert sorted(os.listdir(out)) == kept


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


def test_interrupted_and_resumed(tmp_path, capsys, on_digits, monkeypatch):
    """Ctrl-C comes in epoch 3; going on from there ends in the bits of a run without a break."""
    from fastnn.training.progress import Lines

    def batch(self, run):
        if (run.epoch, run.batch) == (3, 5):
            os.kill(os.getpid(), signal.SIGINT)

    arguments = ["train", "mnist", "--epochs", "4", "--hidden", "16", "--out"]
    with monkeypatch.context() as patched:
        patched.setattr(Lines, "on_batch", batch)
        assert run([*arguments, str(tmp_path / "a")]) == 130
    told = f"interrupted in epoch 3; {tmp_path / 'a' / 'model.safetensors'} holds the weights after epoch 2; --resume"
    assert told in capsys.readouterr().err
    assert len(json.loads((tmp_path / "a" / "history.json").read_text())["epochs"]) == 2
    assert run([*arguments, str(tmp_path / "a"), "--resume"]) == 0
    assert run([*arguments, str(tmp_path / "b")]) == 0
    got, expected = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value)
    assert len(json.loads((tmp_path / "a" / "history.json").read_text())["epochs"]) == 4
    capsys.readouterr()
    assert run([*arguments, str(tmp_path / "a"), "--resume"]) == 1
    assert "has had its 4 epochs" in capsys.readouterr().err


def test_interrupted_in_the_first_epoch(tmp_path, capsys, on_digits, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastnn.training.progress.Lines.on_batch", stop)
    assert run(["train", "mnist", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == (
        "fastnn: interrupted in epoch 1; no epoch was finished; --resume goes on from there\n"
    )
    assert sorted(os.listdir(tmp_path)) == ["last.safetensors", "model.json"]


@pytest.fixture
def flowers(tmp_path):
    from fastnn.data import datasets

    table = datasets.iris()
    path = tmp_path / "iris.csv"
    rows = [",".join(["species", "a", "b", "c", "d"])]
    rows += [f"{table.classes[y]},{','.join(f'{v:.1f}' for v in x)}" for x, y in zip(*table.arrays, strict=True)]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_table_of_classes(tmp_path, capsys, flowers):
    out = tmp_path / "out"
    assert run(["train", str(flowers), "--target", "species", "--epochs", "30", "--lr", "0.02", "--out", str(out)]) == 0
    assert "model      4-128-3" in capsys.readouterr().out
    assert run(["evaluate", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "samples    150" in printed
    assert float(printed.split("accuracy")[1].split("%")[0]) > 90
    rows = flowers.read_text().splitlines()
    unlabelled = tmp_path / "new.csv"  # other order of columns, no target
    unlabelled.write_text("\n".join(",".join(reversed(row.split(",")[1:])) for row in rows[:1] + rows[60:63]) + "\n")
    assert run(["predict", str(out), str(unlabelled)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "species,p(setosa),p(versicolor),p(virginica)"
    assert [line.split(",")[0] for line in lines[1:]] == ["versicolor"] * 3
    assert run(["predict", str(out), str(flowers), "--out", str(tmp_path / "p.csv")]) == 0
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 151


def test_a_table_of_numbers(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (200, 2))
    path = tmp_path / "line.csv"
    path.write_text("u,v,w\n" + "".join(f"{a:.4f},{b:.4f},{100 + 50 * a - 20 * b:.4f}\n" for a, b in x))
    assert run(["train", str(path), "--epochs", "40", "--batch-size", "16", "--out", str(tmp_path / "o")]) == 0
    assert "mean absolute error" in capsys.readouterr().out
    assert run(["evaluate", str(tmp_path / "o"), str(path)]) == 0
    assert float(capsys.readouterr().out.split("mae")[1]) < 3
    assert run(["predict", str(tmp_path / "o"), str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "w"
    assert abs(float(lines[1]) - (100 + 50 * x[0, 0] - 20 * x[0, 1])) < 10


def test_a_model_of_ones_own(tmp_path, capsys, flowers, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from fastnn import nn\n"
        "def net(inputs, outputs):\n    return nn.Sequential(nn.Linear(inputs, 7), nn.Tanh(), nn.Linear(7, outputs))\n"
        "def broken():\n    raise KeyError('oh')\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    arguments = ["train", str(flowers), "--target", "species", "--epochs", "2", "--out", str(tmp_path / "o"), "--model"]
    assert run([*arguments, "mine:net"]) == 0
    assert "model      mine:net, 59 parameters" in capsys.readouterr().out
    assert run(["evaluate", str(tmp_path / "o")]) == 0
    capsys.readouterr()
    for model, text in {
        "mine:missing": "cannot be found",
        "nowhere:net": "cannot be found",
        "mine:number": "must be a function or class",
        "mine:broken": "failed: KeyError: 'oh'",
    }.items():
        assert run([*arguments, model]) == 1
        assert text in capsys.readouterr().err


@pytest.fixture
def few_digits(monkeypatch, digits):
    """Train on 256 digits, with 64 held out."""
    parts = [
        ImageData(part.images[:n], part.labels[:n], part.classes, part.name, part.split, part.source)
        for part, n in ((digits.train, 256), (digits.test, 64))
    ]
    monkeypatch.setattr("fastnn.data.datasets.mnist", lambda: ImageSplits(*parts))


@pytest.mark.parametrize(
    ("model", "told", "count"),
    [
        ("lenet", "Adam, lr 0.002 falling to 0, batch 32, seed 0, random shifts and rotations", "421,642"),
        (
            "resnet10-small",
            "SGD, lr 0.05 falling to 0, batch 32, seed 0, random shifts and rotations",
            "308,538",
        ),
    ],
)
def test_networks_that_have_a_name(tmp_path, capsys, few_digits, model, told, count):
    out = tmp_path / "out"
    arguments = ["train", "mnist", "--model", model, "--batch-size", "32", "--out", str(out)]
    assert run([*arguments, "--epochs", "2"]) == 0
    printed = capsys.readouterr().out
    assert f"model      {model}, {count} parameters" in printed
    assert f"training   {told}\n" in printed
    record = json.loads((out / "history.json").read_text())
    losses = [epoch["loss"] for epoch in record["epochs"]]
    assert losses[1] < losses[0]
    assert record["settings"]["augment"]
    assert run(["evaluate", str(out)]) == 0
    assert "samples    64" in capsys.readouterr().out
    assert run(["predict", str(out), "mnist"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 65
    # the seed fixes the changes of images too
    again = tmp_path / "again"
    assert run([*arguments[:-1], str(again), "--epochs", "2", "--quiet"]) == 0
    for name, value in load_file(out / "model.safetensors").items():
        np.testing.assert_array_equal(load_file(again / "model.safetensors")[name], value)


def test_images_reach_networks_as_they_lie(tmp_path, few_digits, monkeypatch):
    seen = []
    convolve = fastnn.nn.Conv2d.forward
    monkeypatch.setattr(fastnn.nn.Conv2d, "forward", lambda self, x: seen.append(x.shape) or convolve(self, x))
    assert run(["train", "mnist", "--model", "lenet", "--epochs", "1", "--out", str(tmp_path), "--quiet"]) == 0
    assert seen[0] == (128, 1, 28, 28)


def test_a_run_of_a_network_goes_on(tmp_path, few_digits, monkeypatch):
    from fastnn.training.progress import Lines

    def batch(self, run):
        if (run.epoch, run.batch) == (2, 1):
            os.kill(os.getpid(), signal.SIGINT)

    arguments = ["train", "mnist", "--model", "lenet", "--epochs", "2", "--out"]
    with monkeypatch.context() as patched:
        patched.setattr(Lines, "on_batch", batch)
        assert run([*arguments, str(tmp_path / "a")]) == 130
    assert run([*arguments, str(tmp_path / "a"), "--resume"]) == 0
    assert run([*arguments, str(tmp_path / "b")]) == 0
    got, expected = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value)


def test_networks_of_images_are_for_images(tmp_path, capsys, flowers, on_digits):
    assert run(["train", str(flowers), "--target", "species", "--model", "lenet", "--out", str(tmp_path / "o")]) == 1
    assert "--model lenet is for images (mnist, fashion-mnist), not for tables" in capsys.readouterr().err
    assert run(["train", "mnist", "--augment", "--out", str(tmp_path / "o")]) == 1
    assert "--augment is for networks of images" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["mlp", "lenet"])
def test_warmup_of_a_network_that_has_a_name(capsys, model):
    assert run(["warmup", model, "--batch", "4"]) == 0
    assert f"{model} ready after" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected a header and rows, got an empty file"),
        ("a,b\n", "expected rows below the header, got none"),
        ("a,b\n1,2\n1,\n", "row 3, column 'b' must hold what to predict, got ''"),
        ("a,b\n1,2\n,3\n", "row 3, column 'a' must hold a number, got ''"),
        ("a,b\n1,2\nx,3\n", "row 3, column 'a' must hold a number, got 'x'"),
        ("a,b\nnan,2\n1,3\n", "row 2, column 'a' must hold a number, got 'nan'"),
        ("a,b\n1e99,2\n1,3\n", "row 2, column 'a' must hold a number, got '1e99' (beyond float32)"),
        ("a,b\n1,2\n1,2,3\n", "row 3 must have 2 cells like the header, got 3"),
        ("a,a\n1,2\n", "names of columns must differ, got 'a' twice"),
        ("a\n1\n", "expected at least 2 columns, with commas between, got 'a'"),
    ],
)
def test_a_bad_table_is_told_with_row_and_column(tmp_path, capsys, text, told):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    assert run(["train", str(path), "--out", str(tmp_path / "o")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"fastnn: {path}: {told}"


def test_columns_that_are_not_there(tmp_path, capsys, flowers):
    assert run(["train", str(flowers), "--target", "kind", "--out", str(tmp_path / "o")]) == 1
    assert "there is no column 'kind'; there are species, a, b, c, d" in capsys.readouterr().err
    assert run(["train", str(flowers), "--target", "species", "--epochs", "1", "--out", str(tmp_path / "o")]) == 0
    (tmp_path / "new.csv").write_text("a,b,c\n1,2,3\n")
    capsys.readouterr()
    assert run(["predict", str(tmp_path / "o"), str(tmp_path / "new.csv")]) == 1
    assert "columns 'd' are missing; there are a, b, c" in capsys.readouterr().err
    assert run(["predict", str(tmp_path), str(flowers)]) == 1
    assert "is not there; fastnn train makes it" in capsys.readouterr().err


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
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fastnn: cannot write to {tmp_path}: No space left on device; ")
    assert line.endswith(" bytes cannot be saved here, and what was here is as before")


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
