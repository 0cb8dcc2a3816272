"""Normalisation against PyTorch's, eager on both sides, forward and backward: gradients of input, weight and bias.

Batch normalisation trains (its running moments move) and is followed by relu, as in a network.
Images are channels last.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers.case import Case, Work
from benchmarks.peers.sides import fastnn_side, torch_side

CALLS = {
    "layer_norm": ((128, 1024), (4096, 256)),
    "rms_norm": ((4096, 256),),
    "batch_norm-relu": ((128, 512), (16, 64, 56, 56)),
    "group_norm": ((16, 64, 56, 56),),
    "instance_norm": ((16, 64, 56, 56),),
}
BARS = {"batch_norm-relu": 1.3}
GROUPS = 8


def channels_last(x: np.ndarray) -> np.ndarray:
    """The same image with its channels side by side."""
    order = (0, *range(2, x.ndim), 1)
    return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


def problem(name: str, shape: tuple[int, ...], seed: int) -> list[np.ndarray]:
    """Input, weight, bias, the gradient that comes in, and running moments."""
    random = np.random.default_rng(seed)
    width = shape[-1] if name in ("layer_norm", "rms_norm") else shape[1]
    x, dy = (channels_last(random.standard_normal(shape, np.float32)) for _ in range(2))
    weight, bias = random.uniform(0.5, 2, width).astype(np.float32), random.standard_normal(width, np.float32)
    return [x, weight, bias, dy, np.zeros(width, np.float32), np.ones(width, np.float32)]


def _work(name: str, shape: tuple[int, ...], functional: Any, operands: list[Any]) -> Work:
    x, weight, bias, dy, mean, variance = operands
    leaves = [x, weight, bias]
    width = weight.shape
    calls = {
        "layer_norm": lambda: functional.layer_norm(x, width, weight, bias),
        "rms_norm": lambda: functional.rms_norm(x, width, weight),
        "batch_norm-relu": lambda: functional.relu(functional.batch_norm(x, mean, variance, weight, bias, True)),
        "group_norm": lambda: functional.group_norm(x, GROUPS, weight, bias),
        "instance_norm": lambda: functional.instance_norm(x, None, None, weight, bias),
    }
    if name == "rms_norm":
        leaves = leaves[:2]
    for leaf in leaves:
        leaf.requires_grad_()
    call = calls[name]

    def run() -> Any:
        for leaf in leaves:
            leaf.grad = None
        y = call()
        y.backward(dy)
        return y

    def verify() -> dict[str, np.ndarray]:
        found = {"y": run().detach(), **{f"d{k}": leaf.grad for k, leaf in enumerate(leaves)}}
        return {key: np.array(value.numpy()) for key, value in found.items()}

    return Work(run=run, verify=verify)


def _torch(name: str, shape: tuple[int, ...], seed: int) -> Work:
    import torch
    from torch.nn import functional

    return _work(name, shape, functional, [torch.from_numpy(a) for a in problem(name, shape, seed)])


def _fastnn(name: str, shape: tuple[int, ...], seed: int) -> Work:
    import fastnn
    from fastnn.nn import functional

    return _work(name, shape, functional, [fastnn.from_numpy(a) for a in problem(name, shape, seed)])


CASES = [
    Case(
        name=f"{name}-{'x'.join(map(str, shape))}",
        sides={
            "fastnn": fastnn_side(partial(_fastnn, name, shape)),
            "torch": torch_side(partial(_torch, name, shape)),
        },
        bar=BARS.get(name, 1.0),
        rtol=1e-3,
        atol=1e-3,
        note="forward and backward" + (", training" if name.startswith("batch") else ""),
    )
    for name, shapes in CALLS.items()
    for shape in shapes
]
