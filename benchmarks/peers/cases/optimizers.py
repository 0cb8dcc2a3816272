"""A step of an optimizer alone, eager, its state there and the gradients given: large networks, and many small tensors.

Gradients stay the same, so the rate is one at which the parameters hardly move within the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers.case import Case, Work
from benchmarks.peers.sides import fastnn_side, torch_side

VERIFIED_STEPS, VERIFIED_RATE, TIMED_RATE = 5, 1e-2, 1e-8

# as a network's layers: no two alike, ten million in all
LARGE = tuple(100_000 + 2_260 * i for i in range(60))
SMALL = (1_000,) * 20


def problem(sizes: Sequence[int], seed: int) -> list[np.ndarray]:
    """Parameters and gradients in turn."""
    random = np.random.default_rng(seed)
    return [random.standard_normal(n, np.float32) for n in sizes for _ in range(2)]


def _work(
    make: Callable[[float, list[Any]], Any], leaf: Callable[[np.ndarray], Any], sizes: Sequence[int], seed: int
) -> Work:
    """The calls; `make` makes an optimizer of a rate, `leaf` a parameter or gradient of its own."""

    def prepare(rate: float) -> tuple[Any, list[Any]]:
        arrays = problem(sizes, seed)
        params = [leaf(p).requires_grad_() for p in arrays[::2]]
        for p, g in zip(params, arrays[1::2], strict=True):
            p.grad = leaf(g)
        return make(rate, params), params

    def verify() -> dict[str, np.ndarray]:
        optimizer, params = prepare(VERIFIED_RATE)
        for _ in range(VERIFIED_STEPS):
            optimizer.step()
        return {f"parameter{i}": p.detach().numpy() for i, p in enumerate(params)}

    optimizer, _ = prepare(TIMED_RATE)
    optimizer.step()  # the state is there from now on
    return Work(run=optimizer.step, verify=verify)


def _torch(name: str, options: dict[str, Any], sizes: Sequence[int], seed: int) -> Work:
    import torch

    def make(rate: float, params: list[Any]) -> Any:
        return getattr(torch.optim, name)(params, lr=rate, fused=True, **options)

    return _work(make, torch.from_numpy, sizes, seed)


def _fastnn(name: str, options: dict[str, Any], sizes: Sequence[int], seed: int) -> Work:
    import fastnn

    def make(rate: float, params: list[Any]) -> Any:
        return getattr(fastnn.optim, name)(params, lr=rate, **options)

    return _work(make, fastnn.from_numpy, sizes, seed)


def _case(name: str, options: dict[str, Any], sizes: Sequence[int], label: str, bar: float) -> Case:
    words = "-".join([name.lower(), *options])
    return Case(
        name=f"update-{words}-{label}",
        sides={
            "fastnn": fastnn_side(partial(_fastnn, name, options, sizes)),
            "torch": torch_side(partial(_torch, name, options, sizes)),
        },
        bar=bar,
        rtol=1e-4,
        atol=1e-5,
        note=f"{sum(sizes):,} parameters in {len(sizes)} tensors (torch: fused)",
    )


CASES = [
    _case(name, options, sizes, label, bar)
    for sizes, label, bar in ((LARGE, "large", 1.0), (SMALL, "small", 2.0))
    for name, options in (("Adam", {}), ("AdamW", {}), ("SGD", {"momentum": 0.9}))
]
