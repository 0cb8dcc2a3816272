"""Try an installed fastnn: import, product, training, files, command. Ends with status 1 where something fails.

    python tools/smoke.py

It needs nothing but what fastnn itself does; with fewer extras it checks that what is missing is named.
"""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import struct
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

LATE = ("numba", "llvmlite", "typer", "rich", "matplotlib", "safetensors", "pooch", "sklearn", "narwhals")


def check(what: str, holds: bool, found: Any = "") -> None:
    """Say that something holds, or end with status 1."""
    if not holds:
        sys.exit(f"FAILED: {what} {found}")
    print(f"ok: {what}")


def imports() -> None:
    """Importing brings neither the compiler nor an extra, and comes with its types."""
    import fastnn

    early = [name for name in LATE if name in sys.modules]
    check(f"fastnn {fastnn.__version__} imports without compiler and extras", not early, early)
    folder = Path(fastnn.__file__).parent
    missing = [name for name in ("py.typed", "_runtime/tensor.pyi") if not (folder / name).is_file()]
    check("type information is installed", not missing, missing)


def products() -> None:
    """A matrix product equals NumPy's."""
    import numpy as np

    import fastnn

    check("compiled kernels are the backend", fastnn.backend() == "kernels", fastnn.backend())
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 70, 70))
    for dtype, most in ((np.float32, 1e-6), (np.float64, 1e-15)):
        a, b = x.astype(dtype), y.astype(dtype)
        error = float(np.abs(fastnn.ops.matmul(a, b) / (a @ b) - 1).max())
        check(f"a product in {a.dtype} agrees with NumPy's", error < 4 * most, error)


def training() -> None:
    """Steps of an optimizer make the loss smaller."""
    import numpy as np

    import fastnn
    from fastnn import nn

    fastnn.manual_seed(0)
    x = fastnn.tensor(np.random.default_rng(0).random((64, 8), dtype="float32"))
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = fastnn.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    check("training makes the loss smaller", losses[-1] < 0.2 * losses[0], losses[:: len(losses) - 1])


def files() -> None:
    """Weights are read; they are written where the library is there, and it is named where not."""
    import numpy as np

    import fastnn

    head = json.dumps({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    content = struct.pack("<Q", len(head)) + head + struct.pack("<2f", 1.5, -2)
    found = fastnn.load(io.BytesIO(content))["x"].tolist()
    check("weights are read", found == [1.5, -2], found)
    if importlib.util.find_spec("safetensors") is None:
        try:
            fastnn.save({"x": np.zeros(2)}, io.BytesIO())
        except ModuleNotFoundError as error:
            check("what saving lacks is named", "pip install 'fastnn-cpu[files]'" in str(error), error)
        else:
            check("what saving lacks is named", False)
        return
    with tempfile.TemporaryDirectory() as folder:
        state = fastnn.nn.Linear(3, 2).state_dict()
        for _ in range(2):  # a new file, and one that takes an old one's place
            fastnn.save(state, Path(folder) / "weights")
        again = fastnn.load(Path(folder) / "weights")
        same = all(np.array_equal(again[name].numpy(), state[name].numpy()) for name in state)
        check("saved weights come back", same and list(again) == list(state))


def command() -> None:
    """The command tells its version, or what it lacks."""
    import fastnn

    path = shutil.which("fastnn", path=sysconfig.get_path("scripts"))
    check("the command is installed", path is not None)
    done = subprocess.run([str(path), "--version"], capture_output=True, text=True, timeout=120)
    if all(importlib.util.find_spec(name) for name in ("typer", "rich")):
        check("the command tells its version", done.returncode == 0 and fastnn.__version__ in done.stdout, done)
    else:
        check("the command names what it lacks", "pip install 'fastnn-cpu[all]'" in done.stderr, done)


if __name__ == "__main__":
    for part in (imports, products, training, files, command):
        part()
