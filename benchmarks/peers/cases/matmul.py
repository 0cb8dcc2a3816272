"""Matrix products of arrays, into an array that is there."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.peers.case import Case, Work
from benchmarks.peers.sides import fastnn_side, numpy_side, torch_side


def _operands(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    a, b = (random.standard_normal((n, n)).astype(np.float32) for _ in range(2))
    return a, b, np.zeros((n, n), np.float32)


def _numpy(n: int, seed: int) -> Work:
    a, b, c = _operands(n, seed)
    return Work(run=lambda: np.matmul(a, b, out=c), verify=lambda: {"c": np.matmul(a, b, out=c)})


def _torch(n: int, seed: int) -> Work:
    import torch

    a, b, c = map(torch.from_numpy, _operands(n, seed))
    return Work(run=lambda: torch.mm(a, b, out=c), verify=lambda: {"c": torch.mm(a, b, out=c).numpy()})


def _fastnn(n: int, seed: int) -> Work:
    from fastnn import ops

    a, b, c = _operands(n, seed)
    return Work(run=lambda: ops.matmul(a, b, out=c), verify=lambda: {"c": ops.matmul(a, b, out=c)})


CASES = [
    Case(
        name="matmul-1024",
        sides={
            "fastnn": fastnn_side(partial(_fastnn, 1024)),
            "numpy": numpy_side(partial(_numpy, 1024)),
            "torch": torch_side(partial(_torch, 1024)),
        },
        bar=0.85,
        flops=2 * 1024**3,
        # Elements are sums of 1024 products of unit variance: about 32 in size, with errors of some 1e-5.
        atol=1e-3,
        note="1024 x 1024 x 1024, float32",
    )
]
