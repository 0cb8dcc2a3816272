"""A line search for the strong Wolfe conditions.

Nocedal and Wright, Numerical Optimization, 2nd edition, 2006, algorithms 3.5 (bracketing) and 3.6 (zoom), with the
safeguards of minFunc (Schmidt, 2005), which torch has too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

ARMIJO, CURVATURE = 1e-4, 0.9


class Point(NamedTuple):
    """A point on the line: its distance, the loss there, the gradient, and the loss's slope along the line."""

    t: float
    loss: float
    gradient: np.ndarray[Any, Any]
    slope: float


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points with their slopes is least, within the bounds (by default: between them).

    Halfway where there is no such place.
    """
    low, high = bounds or (min(a.t, b.t), max(a.t, b.t))
    a, b = (a, b) if a.t <= b.t else (b, a)
    if a.t == b.t:
        return (low + high) / 2
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = math.sqrt(square)
    divisor = b.slope - a.slope + 2 * d2
    if divisor == 0:
        return (low + high) / 2
    least = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / divisor)
    return min(max(least, low), high)


class StrongWolfe:
    """A search along a line, from a point at distance 0.

    Parameters
    ----------
    evaluate : gives the point at a distance.
    start : the point at distance 0, whose slope is negative.
    size : the largest element of the direction.
    evaluations : at most this many points are looked at beyond the first.

    Attributes
    ----------
    count : points looked at.
    """

    def __init__(
        self, evaluate: Callable[[float], Point], start: Point, size: float, tolerance: float, evaluations: int
    ) -> None:
        self._evaluate = evaluate
        self.start = start
        self.size = size
        self.tolerance = tolerance
        self.evaluations = evaluations
        self.count = 0

    def _look(self, t: float) -> Point:
        self.count += 1
        return self._evaluate(t)

    def _too_high(self, point: Point) -> bool:
        return point.loss > self.start.loss + ARMIJO * point.t * self.start.slope

    def _flat(self, point: Point) -> bool:
        return abs(point.slope) <= -CURVATURE * self.start.slope

    def search(self, t: float) -> Point:
        """A point that fulfils the conditions, or the best that was found; `t` is looked at first."""
        bracket, done = self._bracket(t)
        return self._zoom(bracket) if not done and len(bracket) > 1 else self._lower(bracket)

    @staticmethod
    def _lower(bracket: list[Point]) -> Point:
        return bracket[0] if bracket[0].loss <= bracket[-1].loss else bracket[-1]

    def _bracket(self, t: float) -> tuple[list[Point], bool]:
        """Two points with a good one between them, or a good one alone and True."""
        before, now = self.start, self._look(t)
        for step in range(self.evaluations):
            if self._too_high(now) or (step > 1 and now.loss >= before.loss):
                return [before, now], False
            if self._flat(now):
                return [now], True
            if now.slope >= 0:
                return [before, now], False
            further = cubic_minimum(before, now, (now.t + 0.01 * (now.t - before.t), now.t * 10))
            before, now = now, self._look(further)
        return [self.start, now], True

    def _zoom(self, bracket: list[Point]) -> Point:
        """Narrow a bracket down."""
        low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
        near_an_end = False
        # the first point, and one for each step of the bracketing, have been looked at
        for _ in range(self.count - 1, self.evaluations):
            left, right = sorted(point.t for point in bracket)
            if (right - left) * self.size < self.tolerance:
                break
            t = cubic_minimum(bracket[0], bracket[1])
            # a place near an end is taken once; the second time, or at the end itself, it is moved inwards
            margin = 0.1 * (right - left)
            if min(right - t, t - left) < margin:
                if near_an_end or t >= right or t <= left:
                    t = right - margin if abs(t - right) < abs(t - left) else left + margin
                    near_an_end = False
                else:
                    near_an_end = True
            else:
                near_an_end = False
            now = self._look(t)
            if self._too_high(now) or now.loss >= bracket[low].loss:
                bracket[high] = now
                low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
                continue
            done = self._flat(now)
            if not done and now.slope * (bracket[high].t - bracket[low].t) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = now
            if done:
                break
        return bracket[low]


__all__ = ["Point", "StrongWolfe", "cubic_minimum"]
