"""Metrics of Gaussian predictions."""

import numpy as np
import pytest

from keras_hyperens.metrics import ContinuousRankedProbabilityScore
from keras_hyperens.metrics import GaussianNegativeLogLikelihood
from keras_hyperens.metrics import IntervalCoverage
from tests.metrics import oracle
from tests.metrics.oracle import GAUSSIANS
from tests.metrics.oracle import TARGETS

ALL = [GaussianNegativeLogLikelihood, ContinuousRankedProbabilityScore, IntervalCoverage]


def score(metric, labels, predictions):
    metric.update_state(labels, predictions)
    return float(metric.result())


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
def test_coverage_equals_scipy(share):
    metric = IntervalCoverage(share)
    assert score(metric, TARGETS, GAUSSIANS) == pytest.approx(oracle.coverage(TARGETS, GAUSSIANS, share), abs=1e-6)


def test_honest_predictions_cover_what_they_say():
    labels = np.random.default_rng(0).normal(3, 2, 20_000)
    assert score(IntervalCoverage(0.7), labels, np.tile([[3.0, 4.0]], (20_000, 1))) == pytest.approx(0.7, abs=0.01)


def test_without_variance():
    labels, predictions = np.array([1.0, 5.0]), np.array([[0.0, 0.0], [5.0, 0.0]])
    assert score(ContinuousRankedProbabilityScore(), labels, predictions) == pytest.approx(0.5, abs=1e-6)
    assert score(IntervalCoverage(), labels, predictions) == 0.5
    assert np.isfinite(score(GaussianNegativeLogLikelihood(), labels, predictions))


@pytest.mark.parametrize("metric", ALL)
def test_axes_between_rows_and_values_and_none_for_one_value(metric):
    expected = pytest.approx(score(metric(), TARGETS, GAUSSIANS), rel=1e-5)
    assert score(metric(), TARGETS.reshape(30, 10, 2), GAUSSIANS.reshape(30, 10, 4)) == expected
    one = TARGETS[:, 0], GAUSSIANS[:, [0, 2]]
    assert score(metric(), *one) == score(metric(), one[0][:, None], one[1])


BAD = [
    (np.zeros((3, 1)), np.ones((3, 3)), r"must be even. Received: shape=\(3, 3\)"),
    (np.zeros(3), np.ones(3), r"`y_pred` must be \(batch_size, ..., 2D\).*Received: shape=\(3,\)"),
    (
        np.zeros((3, 1)),
        np.ones((3, 4)),
        r"`y_true` must have the shape of the means, \(3, 2\). Received: shape=\(3, 1\)",
    ),
    (np.zeros(3), np.ones((3, 4)), r"the shape of the means, \(3, 2\). Received: shape=\(3,\)"),
    (np.zeros((3, 1)), -np.ones((3, 2)), "Variances.*must be at least 0. Received: negative"),
    (np.full((3, 1), np.nan), np.ones((3, 2)), "`y_true` must be finite. Received: 3 values"),
]


@pytest.mark.parametrize("labels, predictions, message", BAD)
@pytest.mark.parametrize("metric", ALL)
def test_bad_inputs_are_named(metric, labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        metric().update_state(labels, predictions)
