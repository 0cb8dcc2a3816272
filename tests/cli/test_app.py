import os
import subprocess
import sys
import time

import pytest

import fastnn
from fastnn import cli
from fastnn.cli.app import run

COMMAND = [sys.executable, "-c", "from fastnn.cli import main; main()"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("train", "Missing argument"),
        ("train letters", "must be mnist, fashion-mnist or a CSV file that is there, got 'letters'"),
        (
            "train mnist --model net",
            "must be mlp, lenet, allcnn-small, resnet10-small, resnet18 or MODULE:FACTORY, got",
        ),
        ("predict", "Missing argument"),
        ("evaluate", "Missing argument"),
        ("train mnist --epochs 0", " 1"),
        ("train mnist --epochs many", "nteger"),
        ("train mnist --batch-size -3", " 1"),
        ("train mnist --lr 0", "must be a positive number, got 0.0"),
        ("train mnist --lr nan", "must be a positive number, got nan"),
        ("train mnist --lr fast", "number"),
        ("train mnist --hidden 0", "must be whole numbers from 1 on, with commas between layers, got '0'"),
        ("train mnist --hidden 12,x", "got '12,x'"),
        ("train mnist --seed -1", " 0"),
        ("train mnist --threads 0", " 1"),
        ("train mnist --threads 1025", " 1024"),
        ("train mnist --colour red", "--colour"),
        ("fly", "see fastnn --help"),
    ],
)
def test_a_bad_value_gets_one_line_that_says_what_was_expected(arguments, expected, capsys):
    assert run(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("fastnn: ")
    assert expected in line


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"fastnn {fastnn.__version__}\n"


def test_info(capsys):
    assert run(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines]
    for name in ("fastnn", "Python", "numpy", "numba", "CPU", "threads", "backend", "datasets"):
        assert name in names


@pytest.mark.parametrize("arguments", ["", "--help", "train --help"])
def test_help(arguments, capsys):
    status = run(arguments.split())
    out, err = capsys.readouterr()
    assert status == (0 if arguments else 2)
    assert "Usage: fastnn" in out + err


def test_without_the_extra(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err == "fastnn: typer and rich missing; run: pip install 'fastnn-cpu[all]'\n"


def test_a_reader_that_has_gone():
    unread, written = os.pipe()
    os.close(unread)
    done = subprocess.run([*COMMAND, "info"], stdout=written, stderr=subprocess.PIPE, text=True)
    os.close(written)
    assert done.returncode == 1
    assert done.stderr == ""


def test_the_command_is_installed():
    start = time.perf_counter()
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout
    # Ten times the 0.4 s aimed at: a bound against importing the world, not a measurement.
    assert time.perf_counter() - start < 4
