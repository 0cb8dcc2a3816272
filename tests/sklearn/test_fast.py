"""Estimators around any module."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_multilabel_classification, make_regression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn import nn
from fastnn.sklearn import FastClassifier, FastRegressor

X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
NAMES = np.array(["setosa", "versicolor", "virginica"])
X_VALUES, Y_VALUES = make_regression(200, 5, n_targets=2, random_state=0)
Y_VALUES /= Y_VALUES.std()


def test_words_are_classes():
    own = FastClassifier(max_iter=30, random_state=0).fit(X, NAMES[Y])
    assert own.classes_.tolist() == NAMES.tolist()
    assert own.score(X, NAMES[Y]) > 0.9
    np.testing.assert_allclose(own.predict_proba(X).sum(1), 1)
    assert (NAMES[own.predict_proba(X).argmax(1)] == own.predict(X)).all()


def test_equal_seeds_give_equal_networks_and_copies():
    first, second = (FastClassifier(max_iter=3, dropout=0.2, random_state=0).fit(X, Y) for _ in range(2))
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).predict_proba(X), first.predict_proba(X))
    assert not hasattr(clone(first), "module_")


def test_fitting_leaves_the_default_generator_alone():
    fastnn.manual_seed(3)
    before = fastnn.rand(2).numpy().copy()
    fastnn.manual_seed(3)
    FastClassifier(max_iter=1, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(fastnn.rand(2).numpy(), before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_samples_dtype_is_kept(dtype):
    own = FastRegressor(max_iter=2).fit(X_VALUES.astype(dtype), Y_VALUES)
    assert own.predict(X_VALUES.astype(dtype)).dtype == dtype
    assert {p.dtype for p in own.module_.parameters()} == {np.dtype(dtype)}


def test_layers_are_made_as_asked():
    own = FastClassifier(
        hidden_layer_sizes=(8, 7, 6), activation=["tanh", "silu", lambda x: x * 2], dropout=[0.1, 0, 0],
        batch_norm=True, max_iter=1,
    ).fit(X, Y)  # fmt: skip
    kinds = [type(layer).__name__ for layer in own.module_]
    assert kinds[:4] == ["Linear", "BatchNorm1d", "Tanh", "Dropout"]
    assert kinds.count("BatchNorm1d") == 3
    assert kinds.count("Dropout") == 1
    assert FastClassifier(hidden_layer_sizes=(), max_iter=1).fit(X, Y).module_[0].weight.shape == (3, 4)


def test_any_module_is_the_network():
    digits, labels = load_digits(return_X_y=True)
    model = nn.Sequential(nn.Unflatten(1, (1, 64)), nn.Flatten(), nn.Linear(64, 10))
    before = model[2].weight.detach().numpy().copy()
    own = FastClassifier(model, max_iter=8, learning_rate=0.01, random_state=0).fit(digits[:500] / 16, labels[:500])
    assert own.score(digits[500:700] / 16, labels[500:700]) > 0.75
    np.testing.assert_array_equal(model[2].weight.detach().numpy(), before)
    made = FastRegressor(lambda inputs, outputs: nn.Linear(inputs, outputs), max_iter=1).fit(X_VALUES, Y_VALUES)
    assert made.predict(X_VALUES).shape == Y_VALUES.shape


def test_several_labels_a_sample():
    x, y = make_multilabel_classification(150, random_state=0)
    own = FastClassifier(max_iter=30, random_state=0).fit(x, y)
    assert own.predict(x).shape == y.shape
    assert (own.predict(x) == y).mean() > 0.8
    assert own.predict_proba(x).max() <= 1


def test_class_weights_count_as_sample_weights():
    rare = np.r_[0:50, 50:55]
    x, y = X[rare], Y[rare]
    plain, weighted = (
        FastClassifier(max_iter=5, class_weight=w, random_state=0).fit(x, y) for w in (None, {0: 1, 1: 50})
    )
    assert weighted.predict_proba(x)[:, 1].mean() > plain.predict_proba(x)[:, 1].mean()
    weights = np.where(y == 1, 50.0, 1.0)
    same = FastClassifier(max_iter=5, random_state=0).fit(x, y, sample_weight=weights)
    np.testing.assert_allclose(same.predict_proba(x), weighted.predict_proba(x))


def test_weights_of_zero_take_samples_away():
    weights = np.r_[np.ones(100), np.zeros(100)]
    given = {"max_iter": 4, "batch_size": 200, "shuffle": False, "random_state": 0}
    whole = FastRegressor(**given).fit(X_VALUES, Y_VALUES, sample_weight=weights)
    half = FastRegressor(**given).fit(X_VALUES[:100], Y_VALUES[:100])
    np.testing.assert_allclose(whole.predict(X_VALUES), half.predict(X_VALUES), rtol=1e-9)


def test_validation_has_a_curve_and_ends_training():
    own = FastClassifier(max_iter=4, validation_data=(X[::3], Y[::3]), random_state=0).fit(X, Y)
    assert len(own.validation_loss_curve_) == len(own.loss_curve_) == 4
    own = FastClassifier(max_iter=300, early_stopping=True, n_iter_no_change=1, tol=10.0, random_state=0).fit(X, Y)
    assert own.n_iter_ == 3
    weighted = FastClassifier(max_iter=2, validation_data=(X, Y), class_weight="balanced").fit(X, Y)
    assert len(weighted.validation_loss_curve_) == 2


def test_optimizers_schedules_losses_callbacks_and_time():
    seen = []
    own = FastRegressor(
        optimizer="adamw", learning_rate=0.1, weight_decay=0.01, schedule=lambda epoch: 0.5**epoch, loss="huber",
        callbacks=[lambda run, epoch: seen.append(run.lr)], max_iter=3, n_jobs=1,
    ).fit(X_VALUES, Y_VALUES[:, 0])  # fmt: skip
    assert own._optimizer.__class__ is fastnn.optim.AdamW
    assert len(seen) == 3
    assert own.predict(X_VALUES).shape == (200,)
    ended = FastRegressor(max_iter=100000, max_time=0.2, n_iter_no_change=None).fit(X_VALUES, Y_VALUES)
    assert ended.n_iter_ < 100000
    custom = FastRegressor(loss=lambda y, target: (y - target).abs().mean(), max_iter=2).fit(X_VALUES, Y_VALUES)
    assert custom.loss_ > 0
    with pytest.raises(TypeError, match="reduction"):
        clone(custom).fit(X_VALUES, Y_VALUES, sample_weight=np.ones(200))


def test_partial_fit_and_warm_start_go_on():
    own = FastClassifier(random_state=0)
    own.partial_fit(X[:100], Y[:100], classes=[0, 1, 2])
    own.partial_fit(X[100:], Y[100:])
    assert len(own.loss_curve_) == 2
    assert own.predict_proba(X).shape == (150, 3)
    with pytest.raises(ValueError, match="classes not in"):
        own.partial_fit(X[:2], [0, 7])
    warm = FastClassifier(max_iter=2, warm_start=True, random_state=0).fit(X, Y)
    module = warm.module_
    assert len(warm.fit(X, Y).loss_curve_) == 4
    assert warm.module_ is module


def test_searches_and_pipelines_take_them():
    base = make_pipeline(StandardScaler(), FastClassifier(max_iter=3, random_state=0))
    search = GridSearchCV(base, {"fastclassifier__dropout": [0.0, 0.3]}, cv=2).fit(X, Y)
    assert search.best_score_ > 0.2
    assert len(cross_val_score(FastRegressor(max_iter=2), X_VALUES, Y_VALUES, cv=2)) == 2


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"activation": "relux"}, ValueError, "activation must be"),
        ({"activation": ["relu", "relu"]}, ValueError, "one entry for each of 1"),
        ({"hidden_layer_sizes": (0,)}, ValueError, "must be > 0"),
        ({"module": lambda inputs, outputs: 3}, TypeError, "must give a Module"),
        ({"optimizer": lambda p: None, "learning_rate": 0.1}, TypeError, "name or class"),
    ],
)
def test_wrong_parameters_say_so(wrong, error, text):
    with pytest.raises(error, match=text):
        FastClassifier(**wrong).fit(X, Y)


def test_a_fit_that_failed_leaves_no_classes():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 3))
    classifier = FastClassifier(hidden_layer_sizes=(0,), max_iter=1)
    with pytest.raises(ValueError):
        classifier.fit(x, np.arange(20) % 3)
    classifier.set_params(hidden_layer_sizes=(4,)).fit(x, np.arange(20) % 2)
    assert classifier.classes_.tolist() == [0, 1]
    assert classifier.predict_proba(x).shape == (20, 2)
