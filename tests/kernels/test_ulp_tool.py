"""The tool behind `make ulp`: its table, its verdict, its errors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnn.testing.accuracy import errors

TOOL = Path(__file__).parents[2] / "tools" / "ulp.py"


def run(*arguments):
    return subprocess.run([sys.executable, str(TOOL), *arguments], capture_output=True, text=True, check=False)


def test_a_table_is_written(tmp_path):
    table = tmp_path / "accuracy.md"
    done = run("--every", "4000037", "--jobs", "1", "--write", str(table), "sqrt")
    assert done.returncode == 0, done.stderr
    text = table.read_text()
    assert "every 4000037th" in text
    assert text.splitlines()[-1].startswith("| sqrt | 0.")
    assert "no stated accuracy for nothing" in run("nothing").stderr


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
