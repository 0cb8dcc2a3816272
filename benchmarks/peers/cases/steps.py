"""One training step of a small network: forward, cross-entropy, backward, Adam; eager on all sides.

The results that are compared come from five steps at a learning rate at which the weights move. The timed steps repeat
one batch at a rate at which they hardly do: otherwise the batch would be learnt within the first blocks, and gradients
that shrink into subnormals would slow every side down in its own way.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.peers.case import Case, Work
from benchmarks.peers.cases.numpy_step import NumpyStep
from benchmarks.peers.sides import fastnn_side, numpy_side, torch_side

VERIFIED_STEPS, VERIFIED_RATE, TIMED_RATE = 5, 1e-3, 1e-7

Weights = list[tuple[np.ndarray, np.ndarray]]


def problem(sizes: tuple[int, ...], batch: int, seed: int) -> tuple[Weights, np.ndarray, np.ndarray]:
    """Return weights (out, in) and biases of each layer, inputs and labels, the same for all sides."""
    random = np.random.default_rng(seed)
    weights = []
    for inputs, outputs in pairwise(sizes):
        bound = inputs**-0.5
        weights.append(
            (
                random.uniform(-bound, bound, (outputs, inputs)).astype(np.float32),
                random.uniform(-bound, bound, outputs).astype(np.float32),
            )
        )
    x = random.standard_normal((batch, sizes[0])).astype(np.float32)
    return weights, x, random.integers(sizes[-1], size=batch)


def _results(losses: list[float], parameters: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {"losses": np.array(losses), **{f"parameter{i}": p for i, p in enumerate(parameters)}}


def _numpy(sizes: tuple[int, ...], batch: int, seed: int) -> Work:
    weights, x, labels = problem(sizes, batch, seed)

    def verify() -> dict[str, np.ndarray]:
        step = NumpyStep(weights, VERIFIED_RATE)
        losses = [step(x, labels) for _ in range(VERIFIED_STEPS)]
        return _results(losses, step.torch_parameters())

    timed = NumpyStep(weights, TIMED_RATE)
    return Work(run=lambda: timed(x, labels), verify=verify)


def _torch(sizes: tuple[int, ...], batch: int, seed: int) -> Work:
    import torch
    from torch.nn import functional

    weights, x, labels = problem(sizes, batch, seed)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(labels)

    def make(lr: float) -> tuple[Any, Any]:
        model = torch.nn.Sequential(*_layers(torch.nn, sizes))
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), _flat(weights), strict=True):
                parameter.copy_(torch.from_numpy(value))
        optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)

        def step() -> Any:
            optimizer.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            return loss

        return model, step

    def verify() -> dict[str, np.ndarray]:
        model, step = make(VERIFIED_RATE)
        losses = [step().item() for _ in range(VERIFIED_STEPS)]
        return _results(losses, [p.detach().numpy() for p in model.parameters()])

    return Work(run=make(TIMED_RATE)[1], verify=verify)


def _fastnn(sizes: tuple[int, ...], batch: int, seed: int) -> Work:
    import fastnn
    from fastnn.nn import functional

    weights, x, labels = problem(sizes, batch, seed)
    inputs, targets = fastnn.from_numpy(x), fastnn.from_numpy(labels)

    def make(lr: float) -> tuple[Any, Any]:
        model = fastnn.nn.Sequential(*_layers(fastnn.nn, sizes))
        with fastnn.no_grad():
            for parameter, value in zip(model.parameters(), _flat(weights), strict=True):
                parameter.copy_(fastnn.from_numpy(value))
        optimizer = fastnn.optim.Adam(model.parameters(), lr=lr)

        def step() -> Any:
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            return loss

        return model, step

    def verify() -> dict[str, np.ndarray]:
        model, step = make(VERIFIED_RATE)
        losses = [step().item() for _ in range(VERIFIED_STEPS)]
        return _results(losses, [np.asarray(p.detach()) for p in model.parameters()])

    return Work(run=make(TIMED_RATE)[1], verify=verify)


def _layers(nn: Any, sizes: tuple[int, ...]) -> list[Any]:
    layers = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return layers[:-1]


def _flat(weights: Weights) -> list[np.ndarray]:
    return [array for layer in weights for array in layer]


def _case(sizes: tuple[int, ...], batch: int, bar: float) -> Case:
    products = sum(2 * batch * inputs * outputs for inputs, outputs in pairwise(sizes))
    first = 2 * batch * sizes[0] * sizes[1]
    return Case(
        name=f"step-{'-'.join(map(str, sizes))}-b{batch}",
        sides={
            "fastnn": fastnn_side(partial(_fastnn, sizes, batch)),
            "numpy": numpy_side(partial(_numpy, sizes, batch)),
            "torch": torch_side(partial(_torch, sizes, batch)),
        },
        bar={"torch": bar},
        # Forward, and both gradients but that of the input: the products alone.
        flops=3 * products - first,
        # Adam divides by the gradient's size: where a gradient is as small as its rounding, the update is free.
        rtol=1e-3,
        atol=3e-4,
        note=f"eager training step, batch {batch}, Adam (torch: fused)",
    )


CASES = [_case((784, 128, 10), 32, 1.2), _case((4, 64, 64, 2), 64, 4.0)]
