"""Plans that are repeated row by row."""

import numpy as np
import pytest

import fastnn
from fastnn import ops
from fastnn._runtime.plan import replay_series


def summing(total):
    @fastnn.compile
    def add(x, index):
        total.add_(ops.take(x, index, 0).sum())

    return add


def test_rows_are_taken_one_after_the_other():
    x = np.arange(10.0)
    totals = [fastnn.from_numpy(np.zeros(())) for _ in range(3)]
    rows = np.array([[0, 1], [2, 3], [9, 9]])
    jobs = []
    for total in totals:
        add = summing(total)
        add(x, rows[0])
        add(x, rows[0])
        jobs.append((add.plan, [x, rows[0]], 1, rows, np.empty((3, 0))))
    before = [float(t) for t in totals]
    assert replay_series(jobs[:1]) is None
    assert replay_series(jobs) is None
    assert [float(t) - b for t, b in zip(totals, before, strict=True)] == [48, 24, 24]
    add(x, rows[1])
    assert float(totals[2]) - before[2] == 29


def test_what_does_not_fit_changes_nothing():
    x, total = np.arange(10.0), fastnn.from_numpy(np.zeros(()))
    add = summing(total)
    rows = np.array([[0, 1], [2, 3]])
    add(x, rows[0])
    before = float(total)
    given = [x, rows[0]]
    for values, own in ((np.empty((2, 1)), rows), (np.empty((3, 0)), rows), (np.empty((2, 0)), rows.astype(np.int32))):
        assert replay_series([(add.plan, given, 1, own, values)]) == "stale"
    doubled = fastnn.compile(lambda x: x * 2)
    doubled(x[:2])
    doubled(x[:2])
    assert replay_series([(doubled.plan, [x[:2]], 0, x.reshape(5, 2), np.empty((5, 0)))]) == "stale"
    assert float(total) == before


def test_a_row_that_raises_ends_the_series():
    x, total = np.arange(10.0), fastnn.from_numpy(np.zeros(()))
    add = summing(total)
    rows = np.array([[0, 1], [2, 3], [4, 99], [5, 6]])
    add(x, rows[0])
    add(x, rows[0])
    total.array[...] = 0
    with pytest.raises(IndexError, match="got 99 at 1"):
        replay_series([(add.plan, [x, rows[0]], 1, rows, np.empty((4, 0)))])
    assert float(total) == 6
    add(x, rows[3])
    assert float(total) == 17
