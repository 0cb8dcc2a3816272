"""The tool behind `make ulp`: its table, its verdict, its errors."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnn.testing.accuracy import errors, evaluate, samples, truth

TOOL = Path(__file__).parents[2] / "tools" / "ulp.py"


def run(*arguments):
    return subprocess.run([sys.executable, str(TOOL), *arguments], capture_output=True, text=True, check=False)


def test_a_table_is_written(tmp_path):
    table = tmp_path / "accuracy.md"
    done = run("--every", "4000037", "--jobs", "1", "--write", str(table), "sqrt")
    assert done.returncode == 0, done.stderr
    assert table.read_text().splitlines()[-1].startswith("| sqrt | every 4000037th | 0.")
    assert "no stated accuracy for nothing" in run("nothing").stderr


def test_rows_that_were_measured_are_kept(tmp_path):
    kept, table = tmp_path / "rows.md", tmp_path / "accuracy.md"
    kept.write_text("| sqrt | all | measured before |\n")
    arguments = ["--every", "4000037", "--jobs", "1", "--keep", str(kept), "--write", str(table)]
    done = run(*arguments, "sqrt", "softsign")
    assert done.returncode == 0, done.stderr
    before, new = kept.read_text().splitlines()
    assert before == "| sqrt | all | measured before |"
    assert new.startswith("| softsign | every 4000037th | ")
    text = table.read_text().splitlines()
    assert before in text
    assert new in text
    assert text[-1].startswith("| softsign | ")


def test_the_tool_counts_as_the_tests_do(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOL.parent))
    tool = importlib.import_module("ulp")
    x = samples(np.float32, 2000)
    for name in ("exp", "log", "gelu", "acosh"):
        found = errors(evaluate(name, x), truth(name, x, own=True))
        at = int(found.argmax())
        assert tool.worst(name, x) == (found[at], x[at])
    given = np.array([3e38, 1, np.nan, 3e38, np.nan, 0, np.inf, np.inf, np.nan], np.float32)
    exact = np.array([1e39, np.nan, 1, np.inf, 0, 2.0**-149, 1e39, -np.inf, np.nan])
    with np.errstate(over="ignore"):
        bits = exact.astype(np.float32).view(np.uint32)
    one = [tool.worst_of(given[k : k + 1], exact[k : k + 1], bits[k : k + 1])[0] for k in range(len(given))]
    assert one == [np.inf] * 5 + [1, 0, np.inf, 0]
    np.testing.assert_array_equal(errors(given, exact), one)


def test_errors_count_units_in_the_last_place():
    exact = np.array([1.0, 1.0, 0.75, 2.0**-149, np.inf, np.nan, 1e39, 0.0])
    given = np.array([1.0, 1 + 2.0**-22, 0.75 - 2.0**-24, 0.0, np.inf, np.nan, 3e38, np.nan], np.float32)
    np.testing.assert_array_equal(errors(given, exact), [0, 2, 1, 1, 0, 0, np.inf, np.inf])


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="long double is no wider than float64")
def test_errors_of_float64():
    exact = np.array([1, 0.75, 0], np.longdouble)
    exact += np.ldexp(np.array([1, 0, 1], np.longdouble), [-53, 0, -1075])
    given = np.array([1.0, 0.75 + 2.0**-53, 5e-324])
    np.testing.assert_allclose(errors(given, exact), [0.5, 1, 0.5])
