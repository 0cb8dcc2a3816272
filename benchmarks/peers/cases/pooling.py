"""Max pooling against PyTorch's, forward and backward, images channels last; torch in the better of its layouts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers.case import Case, Work
from benchmarks.peers.cases.normalization import channels_last
from benchmarks.peers.sides import fastnn_side, torch_side

Windows = tuple[int, int, int]  # extent, stride, padding
WINDOWS: dict[str, Windows] = {"2x2": (2, 2, 0), "3x3s2": (3, 2, 1)}
SHAPES = ((32, 32, 28, 28), (32, 64, 14, 14), (16, 64, 112, 112))


def _work(pool: Any, windows: Windows, x: Any, gradient: Any) -> Work:
    x.requires_grad_()

    def run() -> Any:
        x.grad = None
        y = pool(x, *windows)
        y.backward(gradient(y.shape))
        return y

    def verify() -> dict[str, np.ndarray]:
        y = run().detach()
        return {"y": np.array(y.numpy()), "dx": np.array(x.grad.numpy())}

    return Work(run=run, verify=verify)


def _drawn(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return channels_last(np.random.default_rng(seed).standard_normal(shape, np.float32))


def _torch(shape: tuple[int, ...], windows: Windows, contiguous: bool, seed: int) -> Work:
    import torch

    layout = torch.contiguous_format if contiguous else torch.channels_last
    made: dict[Any, Any] = {}

    def gradient(result: Any) -> Any:
        if result not in made:
            made[result] = torch.from_numpy(_drawn(tuple(result), 1)).contiguous(memory_format=layout)
        return made[result]

    x = torch.from_numpy(_drawn(shape, seed)).contiguous(memory_format=layout)
    return _work(torch.nn.functional.max_pool2d, windows, x, gradient)


def _fastnn(shape: tuple[int, ...], windows: Windows, seed: int) -> Work:
    import fastnn
    from fastnn.nn import functional

    made: dict[Any, Any] = {}

    def gradient(result: Any) -> Any:
        if result not in made:
            made[result] = fastnn.from_numpy(_drawn(result, 1))
        return made[result]

    return _work(functional.max_pool2d, windows, fastnn.from_numpy(_drawn(shape, seed)), gradient)


CASES = [
    Case(
        name=f"max-pool-{name}-{'x'.join(map(str, shape))}",
        sides={
            "fastnn": fastnn_side(partial(_fastnn, shape, windows)),
            "torch": torch_side(partial(_torch, shape, windows, False)),
            "torch-contiguous": torch_side(partial(_torch, shape, windows, True)),
        },
        bar={"torch": 1.3, "torch-contiguous": 1.3},
        note="forward and backward",
    )
    for name, windows in WINDOWS.items()
    for shape in SHAPES
]
