"""Multi-layer perceptrons with scikit-learn's parameters and attributes, on fastnn's kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import neural_network

from fastnn.sklearn._engine import Array
from fastnn.sklearn._fitting import FastPerceptron


class MLPClassifier(FastPerceptron, neural_network.MLPClassifier):  # type: ignore[misc]
    """Classifier of classes or of several labels a sample: `sklearn.neural_network.MLPClassifier`, faster.

    Parameters, attributes, methods, warnings and random numbers are scikit-learn's: with an equal `random_state` both
    start from the same weights and see the same batches. ``hidden_layer_sizes=()`` gives a single layer.
    """

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (N, classes) of samples (N, K), in the order of `classes_`."""
        self._check_fitted()
        y = self._forward_pass_fast(X)
        if self.n_outputs_ > 1:
            return y
        y = y.ravel()
        return np.stack([1 - y, y], axis=1)


class MLPRegressor(FastPerceptron, neural_network.MLPRegressor):  # type: ignore[misc]
    """Regressor of one or several values a sample: `sklearn.neural_network.MLPRegressor`, faster.

    Parameters, attributes, methods, warnings and random numbers are scikit-learn's: with an equal `random_state` both
    start from the same weights and see the same batches. ``hidden_layer_sizes=()`` gives a single layer.
    """
