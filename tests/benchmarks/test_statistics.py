import numpy as np
import pytest

from benchmarks.peers.statistics import Estimate, estimate


def test_the_interval_covers_the_median():
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(60):
        shifts = random.normal(0, 0.05, (8, 1))
        found = estimate(np.exp(random.normal(np.log(1.3) + shifts, 0.1, (8, 10))).tolist(), draws=200)
        covered += found.low <= 1.3 <= found.high
    assert covered >= 50


def test_differences_between_processes_widen_the_interval():
    random = np.random.default_rng(2)
    noise = random.normal(1, 0.05, (6, 20))
    same = estimate(noise.tolist(), draws=500)
    apart = estimate((noise + random.normal(0, 0.2, (6, 1))).tolist(), draws=500)
    assert apart.high - apart.low > 3 * (same.high - same.low)


def test_outliers_do_not_move_it():
    values = [1.0] * 18 + [50.0, 100.0]
    assert estimate([values, values], draws=500) == Estimate(1.0, 1.0, 1.0)


def test_the_same_values_give_the_same_estimate():
    values = np.random.default_rng(3).random((3, 5)).tolist()
    assert estimate(values, draws=100) == estimate(values, draws=100)


@pytest.mark.parametrize(("low", "bar", "holds"), [(1.18, 1.2, True), (1.169, 1.2, False), (1.5, 1.2, True)])
def test_a_bar_holds_when_the_lower_bound_reaches_it_less_the_slack(low, bar, holds):
    assert Estimate(2.0, low, 3.0).reaches(bar) is holds


def test_nothing_measured():
    with pytest.raises(ValueError, match="nothing was measured"):
        estimate([[]])
