"""The parts of `make soak` in their short forms, and that they notice what they are there for."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "soak.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, forks, mounts")


def run(*arguments, before=""):
    code = f"import runpy, sys\n{before}\nsys.argv[0] = {str(TOOL)!r}\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)


def test_kills_while_saving_leave_whole_files():
    done = run("kills", "--kills", "12")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("12 of them within a save") == 2


def test_disks_that_take_nothing():
    done = run("disk")
    assert done.returncode == 0, done.stderr
    assert "the run went on to the same bits" in done.stdout


def test_failing_system_calls_where_nothing_can_be_mounted():
    done = run("disk", before="import os; os.environ['PATH'] = ''")
    assert done.returncode == 0, done.stderr
    assert "failing system calls" in done.stdout


def test_steady_work():
    done = run("steady", "--seconds", "4")
    assert done.returncode == 0, done.stderr
    assert "threads" in done.stdout


def test_replays():
    done = run("replays", "--replays", "4000")
    assert done.returncode == 0, done.stderr
    assert "4,000" in done.stdout


IN_PLACE = """
import fastnn.serialization.safetensors as saver, fastnn.training.checkpoint as keeper
def write(path, *parts):
    with open(path, "wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        import os; os.fsync(file.fileno())
saver.write_whole = keeper.write_whole = write
"""
LEAKS = """
import os, fastnn
load = fastnn.load
kept = []
def leaky(path, *rest, **options):
    kept.append(open(path, "rb"))
    return load(path, *rest, **options)
fastnn.load = leaky
"""
KEEPS = """
import fastnn
compile, kept = fastnn.compile, []
def keeping(function):
    made = compile(function)
    kept.append(made)
    return made
fastnn.compile = keeping
"""


@pytest.mark.parametrize(
    ("arguments", "before", "words"),
    [
        (("kills", "--kills", "60"), IN_PLACE, "FAILED"),
        (("disk",), IN_PLACE, "FAILED"),
        (("steady", "--seconds", "1"), LEAKS, "open files is not level"),
        (("replays", "--replays", "200"), KEEPS, "still held"),
    ],
)
def test_faults_are_noticed(arguments, before, words):
    done = run(*arguments, before=before)
    assert done.returncode == 1
    assert words in done.stderr
