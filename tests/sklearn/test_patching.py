"""fastnn's estimators in somebody else's program."""

import subprocess
import sys

import pytest

pytest.importorskip("sklearn")

from sklearn import neural_network

from fastnn import sklearn as ours

PROGRAM = """
import sys
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor
print([c.__module__.partition(".")[0] for c in (BernoulliRBM, MLPClassifier, MLPRegressor)], sys.argv[1:], __name__)
"""


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "fastnn.sklearn", *arguments], capture_output=True, text=True, timeout=120, cwd=cwd
    )


def test_patch_and_unpatch():
    before = neural_network.MLPClassifier
    ours.patch()
    try:
        ours.patch()
        assert neural_network.MLPClassifier is ours.MLPClassifier
        assert isinstance(neural_network.MLPClassifier(), before)
    finally:
        ours.unpatch()
    assert neural_network.MLPClassifier is before
    ours.unpatch()
    assert neural_network.MLPClassifier is before


@pytest.mark.parametrize("given", [["program.py"], ["-m", "program"]])
def test_the_command_runs_programs(tmp_path, given):
    (tmp_path / "program.py").write_text(PROGRAM)
    result = run(*given, "one", "--two", cwd=tmp_path)
    assert result.stdout.strip() == "['fastnn', 'fastnn', 'fastnn'] ['one', '--two'] __main__", result.stderr


def test_the_command_says_what_it_takes(tmp_path):
    assert run("--help", cwd=tmp_path).stdout.startswith("usage: python -m fastnn.sklearn")
    result = run(cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("usage:")
    assert "there is no file missing.py" in run("missing.py", cwd=tmp_path).stderr


def test_fastnn_alone_does_not_import_scikit_learn():
    code = "import sys, fastnn; print('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_without_scikit_learn_the_error_names_the_extra(tmp_path):
    code = "import sys; sys.modules['sklearn'] = None\ntry:\n import fastnn.sklearn\nexcept ImportError as e: print(e)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert "pip install fastnn-cpu[sklearn]" in result.stdout, result.stderr
