"""scikit-learn's estimators against those of `fastnn.sklearn`: the same data, parameters and seeds.

Fits agree up to rounding, so losses and scores are compared. Both sides run in the same harness as they would in a
program: validation of the input, warnings and all that an estimator does are part of a call.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.case import Bar, Case, Side, Work
from benchmarks.peers.sides import fastnn_side, numpy_side

Results = dict[str, np.ndarray]


def _estimators(ours: bool) -> Any:
    if ours:
        import fastnn.sklearn as module
    else:
        from sklearn import neural_network as module  # type: ignore[no-redef]
    return module


def digits(dtype: str = "float64") -> Any:
    """scikit-learn's digits from 0 to 1."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(dtype), y


def images(dtype: str) -> Any:
    """Random images of 784 pixels in ten classes."""
    rng = np.random.default_rng(0)
    return rng.random((8000, 784)).astype(dtype), rng.integers(0, 10, 8000)


def cars() -> Any:
    """The car evaluation data."""
    from fastnn.data.datasets import car

    table = car()
    return table.features.astype(np.float64), table.targets


def line() -> Any:
    """A hundred thousand samples of a linear function with noise."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100_000, 20))
    return x, x @ rng.standard_normal(20) / 4 + 0.1 * rng.standard_normal(len(x))


def _sides(setup: Callable[[bool], Work]) -> dict[str, Side]:
    theirs = numpy_side(lambda seed: setup(False))
    theirs.packages = ("scikit-learn", *theirs.packages)
    return {"fastnn": fastnn_side(lambda seed: setup(True)), "sklearn": theirs}


def _fit(name: str, kind: str, data: Callable[[], Any], bar: Bar, dtype: str = "float64", **parameters: Any) -> Case:
    def setup(ours: bool) -> Work:
        warnings.simplefilter("ignore")  # fits end before they converge
        x, y = data()
        estimator = getattr(_estimators(ours), kind)(random_state=0, **parameters)

        def verify() -> Results:
            estimator.fit(x, y)
            if kind == "BernoulliRBM":
                return {"components": estimator.components_}
            return {"loss": np.array(estimator.loss_), "score": np.array(estimator.score(x[:2000], y[:2000]))}

        return Work(run=lambda: estimator.fit(x, y), verify=verify)

    # two hundred iterations of L-BFGS part by rounding: they end as near as two seeds
    tolerance = 0.03 if parameters.get("solver") == "lbfgs" else 1e-3
    return Case(name, _sides(setup), bar=bar, dtype=dtype, rtol=tolerance, atol=tolerance)


def _ask(name: str, rows: int, bar: Bar) -> Case:
    def setup(ours: bool) -> Work:
        warnings.simplefilter("ignore")
        x, y = images("float64")
        estimator = _estimators(ours).MLPClassifier((128,), max_iter=1, random_state=0).fit(x[:2000], y[:2000])
        asked = np.resize(x, (rows, 784))
        return Work(
            run=lambda: estimator.predict_proba(asked),
            verify=lambda: {"probabilities": estimator.predict_proba(asked[:5000])},
        )

    return Case(name, _sides(setup), bar=bar, dtype="float64", rtol=1e-6, atol=1e-9)


def _grid() -> Case:
    grid = {
        "hidden_layer_sizes": [(16,), (32,), (32, 16)],
        "alpha": [1e-4, 1e-2],
        "learning_rate_init": [1e-3, 1e-2],
        "activation": ["relu", "tanh"],
    }

    def setup(ours: bool) -> Work:
        import os

        from sklearn.model_selection import GridSearchCV

        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"  # for the processes of the search
        x, y = digits()
        base = _estimators(ours).MLPClassifier(batch_size=32, max_iter=10, random_state=0)
        if ours:
            search = _estimators(True).GridSearch(base, grid, cv=5, refit=False)
        else:
            search = GridSearchCV(base, grid, cv=5, n_jobs=2, refit=False)
        return Work(
            run=lambda: search.fit(x, y),
            verify=lambda: {"scores": search.fit(x, y).cv_results_["mean_test_score"]},
        )

    return Case("sklearn-grid-24x5", _sides(setup), bar=5.0, dtype="float64", threads=(2,), rtol=1e-2, atol=1e-2)


CASES = [
    *(
        _fit(
            f"sklearn-fit-784-128-10-{dtype}", "MLPClassifier", lambda dtype=dtype: images(dtype), bar, dtype,
            hidden_layer_sizes=(128,), max_iter=2,
        )
        for dtype, bar in (("float32", {1: 2.2, 2: 3.5}), ("float64", {1: 1.8, 2: 3.0}))
    ),
    _fit(
        "sklearn-fit-64-64-64-10-b32", "MLPClassifier", digits, 8.0, hidden_layer_sizes=(64, 64), batch_size=32,
        max_iter=10,
    ),
    _fit("sklearn-fit-digits", "MLPClassifier", digits, 4.0),
    _fit("sklearn-fit-regression-100000x20", "MLPRegressor", line, 4.0, max_iter=2),
    _fit(
        "sklearn-fit-cars-lbfgs", "MLPClassifier", cars, 3.0, solver="lbfgs", hidden_layer_sizes=(3, 2),
        activation="tanh",
    ),
    _fit("sklearn-fit-rbm-256", "BernoulliRBM", digits, 2.0, n_components=256, n_iter=2),
    _ask("sklearn-predict-100000x784", 100_000, 1.5),
    _ask("sklearn-predict-one", 1, 3.0),
    _grid(),
]  # fmt: skip
