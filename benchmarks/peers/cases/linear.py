"""A dense layer with its activation, eager on both sides: the forward pass alone, and forward and backward.

The backward pass gives the gradients of input, weight and bias, as in a hidden layer; they start from None.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers.case import Case, Unavailable, Work
from benchmarks.peers.sides import fastnn_side, torch_side

BATCH, INPUTS, OUTPUTS = 128, 784, 512
BAR = 1.2


def problem(seed: int) -> tuple[np.ndarray, ...]:
    """Input, weight (outputs, inputs), bias, and the gradient that comes in."""
    random = np.random.default_rng(seed)
    bound = INPUTS**-0.5
    return (
        random.standard_normal((BATCH, INPUTS), np.float32),
        random.uniform(-bound, bound, (OUTPUTS, INPUTS)).astype(np.float32),
        random.uniform(-bound, bound, OUTPUTS).astype(np.float32),
        random.standard_normal((BATCH, OUTPUTS), np.float32),
    )


def _work(backward: bool, layer: Callable[..., Any], leaves: list[Any], dy: Any) -> Work:
    """The calls; without a backward pass no leaf requires grad, so nothing is recorded."""

    def forward() -> Any:
        return layer(*leaves)

    def both() -> Any:
        for leaf in leaves:
            leaf.grad = None
        y = layer(*leaves)
        y.backward(dy)
        return y

    run = both if backward else forward

    def verify() -> dict[str, np.ndarray]:
        found = {"y": run()}
        if backward:
            found |= {f"d{name}": leaf.grad for name, leaf in zip("xwb", leaves, strict=True)}
        return {name: np.array(value.detach().numpy()) for name, value in found.items()}

    return Work(run=run, verify=verify)


def _torch(activation: str, backward: bool, seed: int) -> Work:
    import torch
    from torch.nn import functional

    *leaves, dy = map(torch.from_numpy, problem(seed))
    if backward:
        leaves = [leaf.requires_grad_() for leaf in leaves]
    function = getattr(functional, activation)
    return _work(backward, lambda x, w, b: function(functional.linear(x, w, b)), leaves, dy)


def _fastnn(activation: str, backward: bool, seed: int) -> Work:
    import fastnn
    from fastnn.nn import functional

    if not hasattr(functional, activation):
        raise Unavailable(f"fastnn.nn.functional has no {activation}")
    x, w, b, dy = map(fastnn.from_numpy, problem(seed))
    layer = fastnn.nn.Linear(INPUTS, OUTPUTS)  # its weight lies in memory as layers keep theirs
    with fastnn.no_grad():
        layer.weight.copy_(w)
        layer.bias.copy_(b)
    leaves = [x.requires_grad_(), layer.weight, layer.bias]
    if not backward:
        leaves = [leaf.detach() for leaf in leaves]
    function = getattr(functional, activation)
    return _work(backward, lambda x, w, b: function(functional.linear(x, w, b)), leaves, dy)


def _case(activation: str, backward: bool) -> Case:
    product = 2 * BATCH * INPUTS * OUTPUTS
    return Case(
        name=f"linear-{activation}-{'backward' if backward else 'forward'}",
        sides={
            "fastnn": fastnn_side(partial(_fastnn, activation, backward)),
            "torch": torch_side(partial(_torch, activation, backward)),
        },
        bar=BAR,
        flops=3 * product if backward else product,
        rtol=1e-3,
        atol=1e-3,
        note=f"batch {BATCH}, {INPUTS} to {OUTPUTS}" + (", forward and backward" if backward else ""),
    )


CASES = [_case(activation, backward) for activation in ("relu", "gelu") for backward in (False, True)]
