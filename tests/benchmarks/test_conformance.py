"""The parts of the conformance runner that need no torch: converting layouts, comparing values, reading the claims."""

from __future__ import annotations

import collections

import numpy as np
import pytest

from benchmarks.conformance.compare import Different, compare, same_gradient
from benchmarks.conformance.convert import plain, same_layout
from benchmarks.conformance.outcome import Outcome
from benchmarks.conformance.tables import claimed, claims, select
from benchmarks.conformance.ties import allow

Pair = collections.namedtuple("Pair", ["values", "indices"])


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        lambda a: a.T,
        lambda a: a[::2, 1:],
        lambda a: a[::-1, ::-2],
        lambda a: np.broadcast_to(a[:, :1], (4, 6)),
        lambda a: a[:0],
        lambda a: a[1, 2, ...],
    ],
)
def test_copies_keep_strides_and_share_nothing(view):
    array = np.arange(24.0).reshape(4, 6)
    given = view(array)
    made = same_layout(given)
    np.testing.assert_array_equal(made, given)
    assert made.dtype == given.dtype
    assert made.size == 0 or made.strides == given.strides
    assert not np.shares_memory(made, array)
    assert made.flags.writeable


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (np.float32([1, 2]), np.float32([1, 2.1]), r"1 of 2 elements differ, at \(1,\)"),
        (np.float32([np.nan]), np.float32([1]), "differ"),
        (np.float32([1]), np.float32([np.inf]), "differ"),
        (np.float64([1]), np.float32([1]), "expected dtype float32"),
        (np.float32([[1]]), np.float32([1]), r"expected shape \(1,\)"),
        (np.int64([1]), np.int64([2]), "differ"),
        (1.0, np.float32(1), "expected a tensor"),
        ((np.float32(1),), (np.float32(1), np.float32(1)), "expected 2 results"),
        (plain((np.ones(1), np.ones(1))), plain(Pair(np.ones(1), np.ones(1))), "named"),
        ({"a": 1}, {"b": 1}, "keys"),
        (True, 1, "expected 1"),
        (1.1, 1.0, "differ"),
    ],
)
def test_differences_are_seen(ours, theirs, message):
    with pytest.raises(Different, match=message):
        compare(
            np.asarray(ours) if isinstance(ours, np.generic) else ours,
            theirs if not isinstance(theirs, np.generic) else np.asarray(theirs),
        )


def test_equal_values_pass():
    compare(np.float32([1, np.nan, np.inf]), np.float32([1 + 1e-6, np.nan, np.inf]))
    compare(plain(Pair(np.ones(1), np.ones(1))), plain(Pair(np.ones(1), np.ones(1))))
    compare(np.float32([3]), np.float32([4]), values=False)
    same_gradient(None, np.zeros(3, np.float32), factor=1, where="")
    with pytest.raises(Different):
        same_gradient(None, np.ones(3, np.float32), factor=1, where="")


VALUES = np.array([2, 1, 2, np.nan, 1, np.nan])


@pytest.mark.parametrize(
    ("name", "rest", "named", "ours", "theirs", "good"),
    [
        ("argsort", (), {}, [4, 1, 0, 2, 5, 3], [1, 4, 2, 0, 3, 5], True),
        ("argsort", (0, False), {}, [1, 4, 0, 2, 3, 5], [1, 4, 2, 0, 3, 5], True),
        ("argsort", (), {"dim": -1}, [1, 0, 4, 2, 3, 5], [1, 4, 2, 0, 3, 5], False),  # other values
        ("argsort", (), {}, [1, 1, 0, 2, 3, 5], [1, 4, 2, 0, 3, 5], False),  # one twice
        ("argsort", (), {}, [1, 4, 0, 2, 3, 6], [1, 4, 2, 0, 3, 5], False),  # out of range
        ("argsort", (), {"stable": True}, [4, 1, 0, 2, 3, 5], [1, 4, 0, 2, 3, 5], False),  # an order was asked for
        ("argmax", (), {}, 5, 3, False),  # an order is promised
        ("sort", (), {}, ([1, 1, 2, 2, 3, 3], [4, 1, 0, 2, 5, 3]), ([1, 1, 2, 2, 3, 3], [1, 4, 2, 0, 3, 5]), True),
        ("sort", (), {}, ([1, 1, 2, 2, 3, 9], [4, 1, 0, 2, 5, 3]), ([1, 1, 2, 2, 3, 3], [1, 4, 2, 0, 3, 5]), False),
        ("topk", (1, 0), {}, ([3], [5]), ([3], [3]), True),
        ("kthvalue", (2,), {}, (1, 4), (1, 1), True),
        ("kthvalue", (2,), {"keepdim": True}, ([1], [0]), ([1], [1]), False),
        ("mode", (), {}, (1, 4), (1, 1), True),
    ],
)
def test_any_order_among_equal_elements_will_do_where_none_is_promised(name, rest, named, ours, theirs, good):
    def arrays(value):
        return tuple(map(np.asarray, value)) if isinstance(value, tuple) else np.asarray(value)

    ours, theirs = arrays(ours), arrays(theirs)
    allowed = allow(name, VALUES, rest, named, ours, theirs)
    if good:
        compare(ours, allowed)
    else:
        with pytest.raises(Different):
            compare(ours, allowed)


def test_an_outcome_counts_what_happened():
    outcome = Outcome("name")
    assert outcome.status == "skipped"
    with outcome.checking("first"):
        pass
    assert outcome.status == "passed"
    with outcome.checking("second"):
        raise KeyError("no such thing")
    assert outcome.status == "failed"
    assert outcome.failures[0].startswith("second: KeyError: 'no such thing'")
    assert outcome.record()["passed"] == 1


def test_names_are_selected_and_claimed():
    known = ["add", "nn.functional.relu", "std_mean", "std_mean.unbiased", "linalg.norm"]
    assert select(["std_mean", "relu"], known) == ["std_mean", "std_mean.unbiased", "nn.functional.relu"]
    assert select(["linalg.*"], known) == ["linalg.norm"]
    with pytest.raises(ValueError, match="'nothing'"):
        select(["nothing"], known)
    assert claimed("std_mean.unbiased", ["std_mean"])
    assert not claimed("std_mean", ["std"])
    assert "nn.functional.relu" in claims()["ops"]
    with pytest.raises(ValueError, match="must begin"):
        claims("functions add")
