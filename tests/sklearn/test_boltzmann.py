"""Boltzmann machines against scikit-learn's: the same seeds give the same machines."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy import sparse
from sklearn import neural_network
from sklearn.datasets import load_digits

from fastnn import sklearn as ours

X = load_digits().data[:203] / 16


def both(X, ask="fit", times=1, **parameters):
    made = [m.BernoulliRBM(24, random_state=0, **parameters) for m in (neural_network, ours)]
    for own in made:
        for _ in range(times):
            getattr(own, ask)(X)
    return made


def assert_alike(theirs, own, X, tolerance):
    assert own.__dict__.keys() == theirs.__dict__.keys()
    for name in ("components_", "intercept_hidden_", "intercept_visible_", "h_samples_"):
        p, q = getattr(own, name), getattr(theirs, name)
        assert (p.dtype, p.shape, p.strides) == (q.dtype, q.shape, q.strides), name
        np.testing.assert_allclose(p, q, atol=tolerance)
    np.testing.assert_allclose(own.transform(X), theirs.transform(X), atol=tolerance)
    np.testing.assert_allclose(own.score_samples(X), theirs.score_samples(X), atol=100 * tolerance)


@pytest.mark.parametrize("batch_size", [10, 7, 400])
def test_machines_follow_the_same_course(batch_size):
    assert_alike(*both(X, n_iter=3, batch_size=batch_size), X, 1e-12)


def test_float32_stays_float32():
    assert_alike(*both(X.astype(np.float32), n_iter=2), X.astype(np.float32), 1e-5)


def test_sparse_samples_serve():
    assert_alike(*both(sparse.csr_array(X), n_iter=2), sparse.csr_array(X), 1e-12)


def test_partial_fit_goes_on_where_it_was():
    assert_alike(*both(X[:20], "partial_fit", 6), X, 1e-12)


def test_the_learning_rate_may_change():
    made = both(X[:20], "partial_fit", 4)
    for own in made:
        own.set_params(learning_rate=0.01)
        own.partial_fit(X[:20])
    assert_alike(*made, X, 1e-12)
