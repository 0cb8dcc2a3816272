"""A search over a grid of parameters whose candidates are trained side by side."""

from __future__ import annotations

from typing import Any

import joblib
from sklearn.model_selection import GridSearchCV

from fastnn.sklearn._meeting import meeting

LANES = 32  # fits at a time; each holds a fold of the data


class GridSearch(GridSearchCV):  # type: ignore[misc]
    """`sklearn.model_selection.GridSearchCV` that trains fastnn's candidates side by side, one a core.

    Parameters, attributes and results are GridSearchCV's, and equal it; the candidates may be pipelines. What is fitted
    by "adam" or "sgd" is trained in one call an epoch for all that are under way (up to 32), on fastnn's threads; no
    processes are started. `n_jobs` is accepted and ignored: `fastnn.set_num_threads` says on how many cores. The
    candidates' fit times overlap, so their sum is not the time that the search took.
    """

    n_jobs: Any
    pre_dispatch: Any

    def fit(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Fit all candidates on all folds, then (with `refit`) the best one on everything."""
        given = self.n_jobs, self.pre_dispatch
        self.n_jobs, self.pre_dispatch = LANES, "all"
        try:
            with meeting(), joblib.parallel_config(backend="threading"):
                return super().fit(X, y, **params)
        finally:
            self.n_jobs, self.pre_dispatch = given


__all__ = ["GridSearch"]
