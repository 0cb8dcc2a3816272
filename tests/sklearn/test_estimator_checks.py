"""scikit-learn's checks of every estimator, on fastnn's."""

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn import sklearn as ours

# with the reasons that scikit-learn gives for its own
EXPECTED = {
    "BernoulliRBM": {
        "check_methods_subset_invariance": "fails for the decision_function method",
        "check_methods_sample_order_invariance": "fails for the score_samples method",
    },
}
ESTIMATORS = [
    ours.MLPClassifier(max_iter=100),
    ours.MLPRegressor(max_iter=100),
    ours.BernoulliRBM(n_iter=5),
    ours.FastClassifier(max_iter=50),
    ours.FastRegressor(max_iter=50),
]


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=lambda own: EXPECTED.get(type(own).__name__, {}))
@pytest.mark.filterwarnings("ignore")
def test_estimator(estimator, check):
    check(estimator)
