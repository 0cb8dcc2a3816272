"""Metrics against scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics as sk

from fastnn.training.metrics import METRICS, Metrics, metric


def measured(name, batches):
    one = metric(name)
    one.reset()
    for outputs, targets in batches:
        one.update(outputs, targets)
    return one.value()


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    outputs, targets = rng.standard_normal((90, 4)).astype("f"), rng.integers(0, 4, 90)
    return outputs, targets, [(outputs[i : i + 40], targets[i : i + 40]) for i in range(0, 90, 40)]


def test_classes(scores):
    outputs, targets, batches = scores
    best = outputs.argmax(1)
    odds = np.exp(outputs.astype(float))
    expected = {
        "accuracy": sk.accuracy_score(targets, best),
        "precision": sk.precision_score(targets, best, average="macro"),
        "recall": sk.recall_score(targets, best, average="macro"),
        "f1": sk.f1_score(targets, best, average="macro"),
        "auc": sk.roc_auc_score(targets, odds / odds.sum(1, keepdims=True), multi_class="ovr"),
        "top2": sk.top_k_accuracy_score(targets, outputs, k=2),
        "top-1": sk.accuracy_score(targets, best),
        "top9": 1.0,
    }
    for name, value in expected.items():
        assert measured(name, batches) == pytest.approx(value), name
    np.testing.assert_array_equal(measured("confusion_matrix", batches), sk.confusion_matrix(targets, best))
    assert measured(sk.balanced_accuracy_score, batches) == pytest.approx(sk.balanced_accuracy_score(targets, best))


def test_numbers():
    rng = np.random.default_rng(1)
    outputs, targets = rng.standard_normal((30, 1)), rng.standard_normal(30)
    for name, function in (("mae", sk.mean_absolute_error), ("mse", sk.mean_squared_error), ("r2", sk.r2_score)):
        assert measured(name, [(outputs, targets)]) == pytest.approx(function(targets, outputs))


@pytest.mark.parametrize("shape", [(60,), (60, 1)])
def test_a_single_logit(shape):
    rng = np.random.default_rng(2)
    outputs, targets = rng.standard_normal(shape), rng.integers(0, 2, 60)
    flat = outputs.reshape(60)
    assert measured("accuracy", [(outputs, targets)]) == sk.accuracy_score(targets, flat > 0)
    assert measured("auc", [(outputs, targets)]) == pytest.approx(sk.roc_auc_score(targets, flat))
    assert measured("accuracy", [(outputs, targets.reshape(shape))]) == sk.accuracy_score(targets, flat > 0)


def test_probabilities_as_targets():
    targets = np.eye(3)[[0, 2, 1]]
    assert measured("accuracy", [(np.eye(3)[[0, 2, 2]], targets)]) == pytest.approx(2 / 3)


def test_over_nothing():
    for name in METRICS:
        assert np.isnan(measured(name, []))


def test_names():
    assert [m.name for m in Metrics(["accuracy", "top5", sk.r2_score]).all] == ["accuracy", "top5", "r2_score"]
    assert Metrics("accuracy").all[0].name == "accuracy"
    for given in ("nothing", "top0", 3):
        with pytest.raises((ValueError, TypeError)):
            metric(given)
