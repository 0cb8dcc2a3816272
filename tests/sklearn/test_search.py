"""A grid's candidates side by side: what GridSearchCV finds."""

import threading
import time
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastnn import sklearn as ours
from fastnn.sklearn._meeting import current

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X, Y = X[:300], Y[:300]


def assert_alike(own, theirs):
    for name in ("mean_test_score", "split0_test_score", "rank_test_score"):
        np.testing.assert_array_equal(own.cv_results_[name], theirs.cv_results_[name])
    assert own.cv_results_["params"] == theirs.cv_results_["params"]
    assert own.best_params_ == theirs.best_params_
    np.testing.assert_array_equal(own.predict(X), theirs.predict(X))


def test_results_are_those_of_grid_search_cv():
    base = ours.MLPClassifier(random_state=0, max_iter=5)
    grid = {
        "hidden_layer_sizes": [(5,), (7, 3)],
        "solver": ["adam", "sgd"],
        "early_stopping": [False, True],
    }
    searches = [kind(base, grid, cv=2) for kind in (ours.GridSearch, GridSearchCV)]
    assert_alike(*(search.fit(X, Y) for search in searches))
    assert searches[0].n_jobs is None
    assert searches[0].get_params(deep=False).keys() == searches[1].get_params(deep=False).keys()
    assert current() is None


def test_pipelines_are_candidates_too():
    base = make_pipeline(StandardScaler(), ours.MLPClassifier(random_state=0, max_iter=5))
    grid = {"mlpclassifier__learning_rate_init": [1e-3, 1e-2]}
    assert_alike(*(kind(base, grid, cv=2).fit(X, Y) for kind in (ours.GridSearch, GridSearchCV)))


def test_candidates_that_fail_do_not_hold_the_others_up():
    base = ours.MLPClassifier(random_state=0, max_iter=3)
    grid = {"hidden_layer_sizes": [(5,), (-5,), (6,)]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = ours.GridSearch(base, grid, cv=2).fit(X, Y)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True, False]


def test_a_search_leaves_no_threads():
    before = set(threading.enumerate())
    ours.GridSearch(ours.MLPClassifier(max_iter=2), {"alpha": [0.1, 1]}, cv=2).fit(X, Y)
    until = time.monotonic() + 20  # kernels that are compiled ahead have threads of their own, for a while
    while (left := [t for t in threading.enumerate() if t not in before]) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left
