"""scikit-learn's neural networks on fastnn's kernels: change the import, and the rest of the program stays.

Needs scikit-learn: ``pip install fastnn-cpu[sklearn]``.
"""

from __future__ import annotations

try:
    import sklearn  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise
    raise ModuleNotFoundError(
        "fastnn.sklearn needs scikit-learn, which is not installed: pip install fastnn-cpu[sklearn]", name="sklearn"
    ) from None

from fastnn.sklearn.boltzmann import BernoulliRBM
from fastnn.sklearn.fast import FastClassifier, FastRegressor
from fastnn.sklearn.multilayer_perceptron import MLPClassifier, MLPRegressor
from fastnn.sklearn.patching import patch, unpatch
from fastnn.sklearn.search import GridSearch

__all__ = [
    "BernoulliRBM",
    "FastClassifier",
    "FastRegressor",
    "GridSearch",
    "MLPClassifier",
    "MLPRegressor",
    "patch",
    "unpatch",
]
