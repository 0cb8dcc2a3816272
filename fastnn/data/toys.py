"""Points in the plane, drawn from a seed: moons, circles, spirals, clouds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = tuple[NDArray[np.float32], NDArray[np.int64]]


def _finished(x: NDArray[np.float64], y: NDArray[np.int64], noise: float, rng: np.random.Generator) -> Points:
    x = x + noise * rng.standard_normal(x.shape)
    order = rng.permutation(len(x))
    return x[order].astype(np.float32), y[order].astype(np.int64)


def _start(name: str, samples: int, classes: int, noise: float, seed: int) -> tuple[np.random.Generator, list[int]]:
    if samples < 0 or classes < 1 or noise < 0:
        raise ValueError(
            f"{name}: samples and noise must be at least 0 and classes 1, got {samples}, {noise} and {classes}"
        )
    sizes = [samples // classes + (i < samples % classes) for i in range(classes)]
    return np.random.Generator(np.random.Philox(seed)), sizes


def moons(samples: int = 500, *, noise: float = 0.1, seed: int = 0) -> Points:
    """Two half circles that reach into each other: points (N, 2) as float32 and their classes, 0 or 1."""
    rng, sizes = _start("moons", samples, 2, noise, seed)
    upper, lower = (np.linspace(0, np.pi, n) for n in sizes)
    x = np.concatenate(
        [np.stack([np.cos(upper), np.sin(upper)], 1), np.stack([1 - np.cos(lower), 0.5 - np.sin(lower)], 1)]
    )
    return _finished(x, np.repeat([0, 1], sizes), noise, rng)


def circles(samples: int = 500, *, noise: float = 0.05, factor: float = 0.5, seed: int = 0) -> Points:
    """A circle (class 0) around a smaller one (class 1), whose radius is `factor`."""
    if not 0 <= factor < 1:
        raise ValueError(f"circles: factor must lie from 0 to below 1, got {factor}")
    rng, sizes = _start("circles", samples, 2, noise, seed)
    rings = []
    for radius, n in zip((1.0, factor), sizes, strict=True):
        angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
        rings.append(radius * np.stack([np.cos(angle), np.sin(angle)], 1))
    return _finished(np.concatenate(rings), np.repeat([0, 1], sizes), noise, rng)


def spirals(samples: int = 500, *, classes: int = 2, turns: float = 1.0, noise: float = 0.02, seed: int = 0) -> Points:
    """As many arms of a spiral as there are classes, each winding so many times about the origin, out to radius 1."""
    rng, sizes = _start("spirals", samples, classes, noise, seed)
    arms = []
    for arm, n in enumerate(sizes):
        radius = np.linspace(0.05, 1, n)
        angle = 2 * np.pi * (turns * radius + arm / classes)
        arms.append(radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1))
    return _finished(np.concatenate(arms), np.repeat(np.arange(classes), sizes), noise, rng)


def clouds(samples: int = 500, *, classes: int = 3, noise: float = 0.25, seed: int = 0) -> Points:
    """Round clouds about points of the unit circle, one a class."""
    rng, sizes = _start("clouds", samples, classes, noise, seed)
    angle = 2 * np.pi * np.arange(classes) / classes
    centres = np.stack([np.cos(angle), np.sin(angle)], 1)
    y = np.repeat(np.arange(classes), sizes)
    return _finished(centres[y], y, noise, rng)
