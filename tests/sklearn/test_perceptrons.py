"""Multi-layer perceptrons against scikit-learn's: the same seeds give the same networks."""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning

import fastnn
from fastnn import sklearn as ours
from fastnn.sklearn import _engine

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X, Y = X[:400] / 16, Y[:400]
WEIGHTS = np.random.default_rng(0).random(len(X))
X_VALUES, Y_VALUES = make_regression(300, 20, n_targets=3, random_state=0)
Y_VALUES /= Y_VALUES.std()
X_LABELS, Y_LABELS = make_multilabel_classification(200, random_state=0)

CLASSIFIERS = {
    "adam": {},
    "weights": {"sample_weight": WEIGHTS},
    "falling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 1},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "activation": "tanh", "alpha": 0.1},
    "in order": {"shuffle": False, "activation": "logistic"},
    "two classes": {"y": Y > 4},
    "held out": {"early_stopping": True, "sample_weight": WEIGHTS},
    "labels": {"X": X_LABELS, "y": Y_LABELS},
    "sparse": {"X": sparse.csr_array(X)},
    "one layer": {"hidden_layer_sizes": ()},
    "lbfgs": {"solver": "lbfgs"},
    "lbfgs with weights": {"solver": "lbfgs", "sample_weight": WEIGHTS, "activation": "tanh"},
}
REGRESSORS = {
    "values": {"hidden_layer_sizes": (7, 5), "batch_size": 33},
    "one value": {"y": Y_VALUES[:, 0], "activation": "identity"},
    "counts": {"y": abs(Y_VALUES), "loss": "poisson"},
    "lbfgs": {"solver": "lbfgs", "loss": "poisson", "y": abs(Y_VALUES[:, 0])},
}


def both(name, X, y, sample_weight=None, **parameters):
    parameters = {"random_state": 0, "max_iter": 4, **parameters}
    return [getattr(m, name)(**parameters).fit(X, y, sample_weight) for m in (neural_network, ours)]


def assert_alike(theirs, own, X, tolerance=1e-12):
    assert own.n_iter_ == theirs.n_iter_
    assert type(own.loss_) is type(theirs.loss_)
    np.testing.assert_allclose(own.loss_, theirs.loss_, rtol=tolerance)
    if hasattr(theirs, "loss_curve_"):
        np.testing.assert_allclose(own.loss_curve_, theirs.loss_curve_, rtol=tolerance)
        assert own._optimizer.learning_rate == theirs._optimizer.learning_rate
    for p, q in zip(own.coefs_ + own.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert p.dtype == q.dtype
        np.testing.assert_allclose(p, q, atol=tolerance)
    ask = "predict_proba" if hasattr(theirs, "predict_proba") else "predict"
    np.testing.assert_allclose(getattr(own, ask)(X), getattr(theirs, ask)(X), atol=tolerance)
    assert own.__dict__.keys() == theirs.__dict__.keys()


@pytest.mark.parametrize("case", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_classifiers_follow_the_same_course(case):
    case = {"X": X, "y": Y, **case}
    assert_alike(*both("MLPClassifier", **case), case["X"])


@pytest.mark.parametrize("case", REGRESSORS.values(), ids=REGRESSORS)
def test_regressors_follow_the_same_course(case):
    case = {"X": X_VALUES, "y": Y_VALUES, **case}
    assert_alike(*both("MLPRegressor", **case), case["X"], 1e-9)


def test_float32_stays_float32():
    theirs, own = both("MLPClassifier", X.astype(np.float32), Y)
    assert_alike(theirs, own, X.astype(np.float32), 1e-5)
    assert own.predict_proba(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_goes_on_where_it_was(solver):
    made = [m.MLPClassifier(random_state=0, solver=solver) for m in (neural_network, ours)]
    for first in range(0, 400, 100):
        for own in made:
            own.partial_fit(X[first : first + 100], Y[first : first + 100], classes=range(10))
    assert_alike(*made, X)
    copy = pickle.loads(pickle.dumps(made[1]))
    for own in (*made, copy):
        own.partial_fit(X, Y)
    assert_alike(*made, X)
    assert_alike(made[0], copy, X)


def test_warm_start_goes_on_from_changed_weights():
    made = [m.MLPClassifier(random_state=0, max_iter=2, warm_start=True) for m in (neural_network, ours)]
    for own in made:
        own.fit(X, Y)
        own.coefs_[0] = own.coefs_[0] * 0.5
        own.intercepts_[0] += 1
        own.fit(X, Y)
    assert_alike(*made, X)


def test_fitted_networks_keep_their_weights_when_others_are_fitted():
    first = ours.MLPClassifier(random_state=0, max_iter=2).fit(X, Y)
    before = [w.copy() for w in first.coefs_]
    part = first.coefs_[0][:3]
    second = clone(first).set_params(random_state=1).fit(X, Y)
    assert all((p == q).all() for p, q in zip(before, first.coefs_, strict=True))
    assert not (first.coefs_[0] == second.coefs_[0]).all()
    del first
    clone(second).set_params(random_state=2).fit(X, Y)
    assert (part == before[0][:3]).all()


def test_recorded_steps_serve_the_next_network():
    def fit(seed):
        ours.MLPClassifier((5,), random_state=seed, max_iter=2).fit(X, Y)
        return {id(t) for t in _engine._trainers}

    assert fit(0) == fit(1)


def test_a_changed_forward_pass_is_obeyed():
    class Doubled(ours.MLPClassifier):
        def _compute_loss_grad(self, layer, *args):
            self.calls = getattr(self, "calls", 0) + 1
            super()._compute_loss_grad(layer, *args)

    with pytest.warns(RuntimeWarning, match="_compute_loss_grad"):
        own = Doubled(max_iter=1).fit(X, Y)
    assert own.calls > 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        Doubled(max_iter=1).fit(X, Y)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_parameters_are_the_same(name):
    own, theirs = (getattr(m, name)() for m in (ours, neural_network))
    assert own.get_params() == theirs.get_params()
    assert repr(own) == repr(theirs)
    assert isinstance(own, type(theirs))


def test_interrupted_training_keeps_what_it_has():
    class Interrupting(ours.MLPClassifier):
        def _update_no_improvement_count(self, *args):
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        own = Interrupting(max_iter=5).fit(X, Y)
    assert own.n_iter_ == 1
    assert np.isfinite(own.predict_proba(X)).all()


def test_what_does_not_converge_says_so():
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        ours.MLPClassifier(max_iter=2).fit(X, Y)


def test_a_batch_without_weight_raises():
    weights = np.zeros(len(X))
    weights[:10] = 1
    for module in (neural_network, ours):
        with pytest.raises(ZeroDivisionError, match="Weights sum to zero"):
            module.MLPClassifier(shuffle=False, batch_size=20).fit(X, Y, weights)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_the_numpy_backend_follows_the_same_course(solver):
    with fastnn.use_backend("numpy"):
        made = both("MLPClassifier", X[:50], Y[:50], solver=solver, batch_size=20, max_iter=3)
        assert_alike(*made, X)


def test_an_estimator_that_holds_anothers_array_leaves_the_rest_alone():
    first, second = (ours.MLPClassifier((8,), max_iter=3, random_state=seed).fit(X, Y) for seed in (0, 1))
    kept = [a.copy() for a in (first.coefs_[1], *first.intercepts_)]
    second.coefs_[0] = first.coefs_[0]
    second.partial_fit(X, Y)
    for now, before in zip((first.coefs_[1], *first.intercepts_), kept, strict=True):
        np.testing.assert_array_equal(now, before)
