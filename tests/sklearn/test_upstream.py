"""scikit-learn's own tests of its neural networks, with fastnn's estimators in their place."""

import subprocess
import sys

import pytest

pytest.importorskip("sklearn")

PROGRAM = """
import sys
import fastnn.sklearn
fastnn.sklearn.patch()
import pytest
sys.exit(pytest.main(["-q", "--pyargs", sys.argv[1], "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "."]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", ["test_mlp", "test_rbm"])
def test_upstream(module, tmp_path):
    name = f"sklearn.neural_network.tests.{module}"
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, name], capture_output=True, text=True, timeout=500, cwd=tmp_path
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert " passed" in result.stdout
