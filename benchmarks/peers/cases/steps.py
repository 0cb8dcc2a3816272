"""One training step of a network: forward, cross-entropy, backward, Adam; eager on all sides, or compiled on ours.

The results that are compared come from five steps at a learning rate at which the weights move. The timed steps repeat
one batch at a rate at which they hardly do: otherwise the batch would be learnt within the first blocks, and gradients
that shrink into subnormals would slow every side down in its own way.

Compiled steps are compared with torch's eager ones, which are the faster ones at nearly every size; `torch-compile` is
there to be asked for (`--against torch-compile`; its first call takes seconds to minutes).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.peers.case import Bar, Case, Side, Unavailable, Work
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


def _torch(sizes: tuple[int, ...], batch: int, seed: int, *, compiled: bool = False) -> Work:
    import torch
    from torch.nn import functional

    weights, x, labels = problem(sizes, batch, seed)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(labels)

    def make(lr: float) -> tuple[Any, Any]:
        model = torch.nn.Sequential(*layers(torch.nn, sizes))
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), flat(weights), strict=True):
                parameter.copy_(torch.from_numpy(value))
        optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)

        def step() -> Any:
            optimizer.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            return loss

        return model, torch.compile(step) if compiled else step

    def verify() -> dict[str, np.ndarray]:
        model, step = make(VERIFIED_RATE)
        losses = [step().item() for _ in range(VERIFIED_STEPS)]
        return _results(losses, [p.detach().numpy() for p in model.parameters()])

    return Work(run=make(TIMED_RATE)[1], verify=verify)


def _fastnn(sizes: tuple[int, ...], batch: int, seed: int, *, compiled: bool = False) -> Work:
    import fastnn
    from fastnn.nn import functional

    weights, x, labels = problem(sizes, batch, seed)
    inputs, targets = fastnn.from_numpy(x), fastnn.from_numpy(labels)
    if compiled and not hasattr(fastnn, "compile"):
        raise Unavailable("fastnn has no compile")

    def make(lr: float) -> tuple[Any, Any]:
        model = fastnn.nn.Sequential(*layers(fastnn.nn, sizes))
        with fastnn.no_grad():
            for parameter, value in zip(model.parameters(), flat(weights), strict=True):
                parameter.copy_(fastnn.from_numpy(value))
        optimizer = fastnn.optim.Adam(model.parameters(), lr=lr)

        def step(inputs: Any, targets: Any) -> Any:
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            return loss

        taken = fastnn.compile(step) if compiled else step
        return model, lambda: taken(inputs, targets)

    def verify() -> dict[str, np.ndarray]:
        model, step = make(VERIFIED_RATE)
        losses = [step().item() for _ in range(VERIFIED_STEPS)]
        return _results(losses, [np.asarray(p.detach()) for p in model.parameters()])

    return Work(run=make(TIMED_RATE)[1], verify=verify)


def layers(nn: Any, sizes: tuple[int, ...]) -> list[Any]:
    """Linear layers with ReLUs between them, of a library's `nn`."""
    made = []
    for inputs, outputs in pairwise(sizes):
        made += [nn.Linear(inputs, outputs), nn.ReLU()]
    return made[:-1]


def flat(weights: Weights) -> list[np.ndarray]:
    """Arrays in the order of a model's parameters."""
    return [array for layer in weights for array in layer]


def flops(sizes: tuple[int, ...], batch: int) -> float:
    """Those of a step's products: forward, and both gradients but that of the input."""
    products = sum(2 * batch * inputs * outputs for inputs, outputs in pairwise(sizes))
    return 3 * products - 2 * batch * sizes[0] * sizes[1]


# Adam divides by the gradient's size: where a gradient is as small as its rounding, the update is free.
TOLERANCES = {"rtol": 1e-3, "atol": 3e-4}


def _case(sizes: tuple[int, ...], batch: int, bar: float) -> Case:
    return Case(
        name=f"step-{'-'.join(map(str, sizes))}-b{batch}",
        sides={
            "fastnn": fastnn_side(partial(_fastnn, sizes, batch)),
            "numpy": numpy_side(partial(_numpy, sizes, batch)),
            "torch": torch_side(partial(_torch, sizes, batch)),
        },
        bar={"torch": bar},
        flops=flops(sizes, batch),
        **TOLERANCES,
        note=f"eager training step, batch {batch}, Adam (torch: fused)",
    )


def compiled_side(sizes: tuple[int, ...], batch: int) -> Side:
    """Our compiled step."""
    return fastnn_side(partial(_fastnn, sizes, batch, compiled=True))


def eager_torch_side(sizes: tuple[int, ...], batch: int) -> Side:
    """torch's step."""
    return torch_side(partial(_torch, sizes, batch))


def compiled_case(name: str, sizes: tuple[int, ...], batch: int, bar: Bar | None = None, **more: Any) -> Case:
    """Our compiled step against torch's."""
    return Case(
        name=name,
        sides={
            "fastnn": compiled_side(sizes, batch),
            "torch": eager_torch_side(sizes, batch),
            "torch-compile": torch_side(partial(_torch, sizes, batch, compiled=True)),
        },
        bar={} if bar is None else {"torch": bar},
        flops=flops(sizes, batch),
        note=f"compiled training step, batch {batch}, Adam, against eager torch (fused)",
        **{**TOLERANCES, **more},
    )


def _even(width: int) -> Case:
    """A step on the threads that are asked for against the same step on one."""
    sizes, batch = (width, width, width, 10), 64
    side = compiled_side(sizes, batch)
    return Case(
        name=f"threads-never-hurt-{width}",
        sides={"fastnn": side, "one-thread": replace(side, threads=1)},
        bar=1 / 1.05,
        threads=(2,),
        retries=2,
        note="compiled step of three layers, batch 64: two threads take at most 1.05 of the time of one",
        **TOLERANCES,
    )


SMALL, DIGITS, WIDE = (4, 64, 64, 2), (784, 128, 10), (784, 1024, 1024, 1024, 10)
COMPILED = [
    compiled_case("compiled-4-64-64-2-b64", SMALL, 64, {1: 10, 2: 12}),
    compiled_case("compiled-784-128-10-b1", DIGITS, 1, {1: 4, 2: 5}),
    compiled_case("compiled-784-128-10-b32", DIGITS, 32, {1: 2.7, 2: 4}),
    compiled_case("compiled-784-128-10-b128", DIGITS, 128, {1: 1.7, 2: 2.2}),
    compiled_case("compiled-784-128-10-b1024", DIGITS, 1024, {1: 1.3, 2: 1.5}),
    compiled_case("compiled-784-1024x3-10-b256", WIDE, 256, 1.15),
    compiled_case("compiled-784-128-10-b32-among-neighbours", DIGITS, 32, {1: 2, 2: 4}, neighbours=2),
]
CASES = [
    _case(DIGITS, 32, 1.2),
    _case(SMALL, 64, 4.0),
    *COMPILED,
    *map(_even, range(16, 97, 8)),
]
