"""How long a program waits for fastnn."""

from __future__ import annotations

from benchmarks.peers.case import StartCase

_IMPORT = """
import fastnn, sys
assert "numba" not in sys.modules, "import fastnn imports Numba"
print("there")
"""

_STEP = """
import fastnn
import numpy as np
from fastnn import nn, optim

x = fastnn.from_numpy(np.random.default_rng(0).standard_normal((32, 784)).astype(np.float32))
y = fastnn.from_numpy(np.arange(32) % 10)
model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = optim.Adam(model.parameters())
optimizer.zero_grad()
loss = nn.CrossEntropyLoss()(model(x), y)
loss.backward()
optimizer.step()
assert np.isfinite(loss.item())
print("stepped")
"""

CASES = [
    StartCase("import", _IMPORT, 0.15, minus="print('there')", note="import fastnn over bare Python, no Numba"),
    StartCase(
        "first-step-cached",
        _STEP,
        0.4,
        environment={"FASTNN_CACHE_DIR": "{kept}"},
        note="start of Python to the end of the first training step, kernels cached",
    ),
    StartCase(
        "first-step-uncached",
        _STEP,
        5.0,
        environment={"FASTNN_CACHE_DIR": "{fresh}"},
        note="the same, nothing cached",
    ),
]
