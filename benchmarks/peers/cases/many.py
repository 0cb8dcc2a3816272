"""Training many small models: side by side with `fit_many`, one after the other, in a pool of processes.

All models see the same batches in the same order for some epochs, and every side begins anew in each call: making the
optimizers, recording the steps and whatever else a user waits for is part of it. torch's models begin with our weights
and must end with the same; scikit-learn draws its own, ends in one logistic output, and must learn as much.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers.case import Bar, Case, Side, Unavailable, Work
from benchmarks.peers.cases.steps import TOLERANCES, flat, layers, problem
from benchmarks.peers.sides import fastnn_side, torch_side

SIZES, BATCH, SAMPLES, RATE = (20, 32, 32, 2), 32, 512, 1e-3
VERIFIED_EPOCHS = 1
Data = tuple[np.ndarray, np.ndarray]


def data(seed: int) -> Data:
    """Points whose class is the sign of a product, which no linear model learns."""
    x = np.random.default_rng(seed).standard_normal((SAMPLES, SIZES[0])).astype(np.float32)
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int64)


def _results(models: list[list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {f"parameter{i}": np.stack(arrays) for i, arrays in enumerate(zip(*models, strict=True))}


def _accuracy(found: list[float]) -> dict[str, np.ndarray]:
    return {"accuracy": np.array(np.mean(found))}


def _fastnn(count: int, epochs: int, alike: bool, seed: int) -> Work:
    import fastnn

    if not hasattr(fastnn, "fit_many"):
        raise Unavailable("fastnn has no fit_many")
    x, y = data(seed)

    def make(i: int) -> Any:
        model = fastnn.nn.Sequential(*layers(fastnn.nn, SIZES))
        with fastnn.no_grad():
            for p, value in zip(model.parameters(), flat(problem(SIZES, 1, seed + i)[0]), strict=True):
                p.copy_(fastnn.from_numpy(value))
        return model

    def train(models: list[Any], epochs: int) -> list[Any]:
        fastnn.fit_many(
            models, (x, y), loss="cross_entropy", optimizer=partial(fastnn.optim.Adam, lr=RATE), epochs=epochs,
            batch_size=BATCH, shuffle=False,
        )  # fmt: skip
        return models

    def verify() -> dict[str, np.ndarray]:
        models = train([make(i) for i in range(count)], VERIFIED_EPOCHS if alike else epochs)
        if alike:
            return _results([[np.asarray(p.detach()) for p in model.parameters()] for model in models])
        with fastnn.no_grad():
            return _accuracy([(np.asarray(model(fastnn.from_numpy(x))).argmax(1) == y).mean() for model in models])

    kept = [make(i) for i in range(count)]
    return Work(run=lambda: train(kept, epochs), verify=verify)


def _torch(count: int, epochs: int, seed: int) -> Work:
    import torch

    x, y = map(torch.from_numpy, data(seed))
    batches = [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, SAMPLES, BATCH)]

    def make(i: int) -> Any:
        model = torch.nn.Sequential(*layers(torch.nn, SIZES))
        with torch.no_grad():
            for p, value in zip(model.parameters(), flat(problem(SIZES, 1, seed + i)[0]), strict=True):
                p.copy_(torch.from_numpy(value))
        return model

    def train(models: list[Any], epochs: int) -> list[Any]:
        for model in models:
            optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
            for _ in range(epochs):
                for inputs, targets in batches:
                    optimizer.zero_grad(set_to_none=True)
                    torch.nn.functional.cross_entropy(model(inputs), targets).backward()
                    optimizer.step()
        return models

    def verify() -> dict[str, np.ndarray]:
        models = train([make(i) for i in range(count)], VERIFIED_EPOCHS)
        return _results([[p.detach().numpy() for p in model.parameters()] for model in models])

    kept = [make(i) for i in range(count)]
    return Work(run=lambda: train(kept, epochs), verify=verify)


_processes = 1  # of the pool


def _pool_size(threads: int) -> int:
    global _processes
    _processes = threads
    return threads


def _alone() -> None:
    """Let a process of the pool use one thread, for as long as it lives."""
    import sklearn.neural_network  # noqa: F401 - its BLAS must be loaded before it can be limited
    from threadpoolctl import threadpool_limits

    global _limit
    _limit = threadpool_limits(1)


def _trained(data: Data, epochs: int, seed: int) -> float:
    """Train scikit-learn's classifier; gives its accuracy."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        SIZES[1:-1], solver="adam", alpha=0, batch_size=BATCH, learning_rate_init=RATE, max_iter=epochs, shuffle=False,
        random_state=seed, tol=0, n_iter_no_change=epochs + 1,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(*data)
    return float(model.score(*data))


def _sklearn(count: int, epochs: int, seed: int) -> Work:
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise Unavailable("sklearn is not installed (benchmarks/requirements.txt)") from None
    pool = ProcessPoolExecutor(_processes, multiprocessing.get_context("spawn"), _alone)
    train: Callable[[int], float] = partial(_trained, data(seed), epochs)

    def run() -> list[float]:
        return list(pool.map(train, range(seed, seed + count), chunksize=max(1, count // (4 * _processes))))

    return Work(run=run, verify=lambda: _accuracy(run()))


def against_torch(count: int, epochs: int, bar: Bar) -> Case:
    """Compare with a loop over torch's models."""
    return Case(
        name=f"many-{count}-models",
        sides={
            "fastnn": fastnn_side(partial(_fastnn, count, epochs, True)),
            "torch": torch_side(partial(_torch, count, epochs)),
        },
        bar=bar,
        note=f"{count} models {'-'.join(map(str, SIZES))}, batch {BATCH}, {epochs} epochs of {SAMPLES} samples",
        **TOLERANCES,
    )


def against_sklearn(count: int, epochs: int, bar: Bar) -> Case:
    """Compare with a pool of processes, one a thread of ours, that train scikit-learn's classifiers."""
    return Case(
        name=f"many-{count}-models-pool",
        sides={
            "fastnn": fastnn_side(partial(_fastnn, count, epochs, False)),
            "sklearn": Side(partial(_sklearn, count, epochs), ("scikit-learn", "numpy"), _pool_size, peer_python=True),
        },
        bar=bar,
        atol=0.1,
        note=f"the same {count} models against a pool of processes",
    )


CASES = [against_torch(64, 10, {1: 15, 2: 25}), against_sklearn(64, 10, 5)]
