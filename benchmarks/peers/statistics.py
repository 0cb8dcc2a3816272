"""Medians and their intervals. No assumption on how times are distributed is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SLACK = 0.03  # how far the lower bound of a ratio's interval may stay below its bar


@dataclass(frozen=True)
class Estimate:
    """A median and the 95% interval around it."""

    median: float
    low: float
    high: float

    def reaches(self, bar: float) -> bool:
        """Whether a ratio reaches a bar: the interval's lower bound does, less the slack."""
        return self.low >= bar - SLACK


def estimate(groups: Sequence[Sequence[float]], draws: int = 4000) -> Estimate:
    """Estimate the median of values that were measured in groups (a group a pair of processes).

    The interval is a percentile bootstrap in two stages: groups are drawn with replacement, then values within
    each drawn group. So what differs from process to process (memory layout, say) widens the interval as it should.
    Source: A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8.
    """
    table = [np.asarray(group, np.float64) for group in groups if len(group)]
    if not table:
        raise ValueError("nothing was measured")
    random = np.random.default_rng(0)
    medians = np.empty(draws)
    for draw in range(draws):
        chosen = [table[i] for i in random.integers(len(table), size=len(table))]
        medians[draw] = np.median(np.concatenate([g[random.integers(len(g), size=len(g))] for g in chosen]))
    low, high = np.percentile(medians, [2.5, 97.5])
    return Estimate(float(np.median(np.concatenate(table))), float(low), float(high))
