"""Metrics of rows in the order of their confidence, on many rows and where confidence is nearly 1."""

import numpy as np
import pytest

from keras_hyperens.metrics import AdaptiveCalibrationError
from keras_hyperens.metrics import AreaUnderRiskCoverage
from keras_hyperens.metrics import SelectiveAccuracy
from tests.metrics import oracle


def score(metric, labels, predictions):
    metric.update_state(labels, predictions)
    return float(metric.result())


def rows(number, scale, seed=0):
    """Labels, and probabilities that are too sure of them."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(number, 10)) * scale
    honest = oracle.softmax(logits * 0.6)
    labels = (honest.cumsum(-1) > generator.random((number, 1))).argmax(-1)
    return labels, oracle.softmax(logits)


METRICS = [
    (AdaptiveCalibrationError, oracle.adaptive_calibration_error, {"num_bins": 15}, 6e-4),
    (AdaptiveCalibrationError, oracle.adaptive_calibration_error, {"num_bins": 4}, 6e-4),
    (AreaUnderRiskCoverage, oracle.area_under_risk_coverage, {}, 5e-5),
    (SelectiveAccuracy, oracle.selective_accuracy, {"coverage": 0.8}, 6e-4),
    (SelectiveAccuracy, oracle.selective_accuracy, {"coverage": 0.25}, 1.5e-3),
    (SelectiveAccuracy, oracle.selective_accuracy, {"coverage": 1}, 1e-6),
]


@pytest.mark.parametrize("scale", [1, 4, 12, 20])  # at 20, half of the rows are surer than 1 - 1e-8
@pytest.mark.parametrize("metric, exact, arguments, tolerance", METRICS)
def test_equals_sorted_rows(metric, exact, arguments, tolerance, scale):
    labels, probabilities = rows(10_000, scale)
    expected = exact(labels, probabilities, **arguments)
    assert score(metric(**arguments), labels, probabilities) == pytest.approx(expected, abs=tolerance)


def test_groups_of_equally_many_rows():
    """Six rows in three groups of two, by hand."""
    confidence = np.array([0.95, 0.9, 0.8, 0.75, 0.7, 0.6])
    labels = np.array([0, 0, 1, 0, 1, 1])
    gaps = [abs(2 - 1.85), abs(1 - 1.55), abs(0 - 1.3)]
    probabilities = np.stack([confidence, 1 - confidence], -1)
    assert score(AdaptiveCalibrationError(3), labels, probabilities) == pytest.approx(sum(gaps) / 6, rel=1e-5)


def test_order_survives_where_confidence_rounds_to_one():
    doubts = np.array([1e-18, 1e-16, 1e-14, 1e-12], "float32")
    probabilities = np.stack([1 - doubts, doubts], -1)
    assert (probabilities[:, 0] == 1).all()
    assert score(AreaUnderRiskCoverage(), [0, 0, 0, 1], probabilities) == pytest.approx(1 / 16, rel=1e-4)
    assert score(SelectiveAccuracy(0.75), [0, 0, 0, 1], probabilities) == pytest.approx(1)
    assert score(SelectiveAccuracy(0.75), [1, 0, 0, 0], probabilities) == pytest.approx(2 / 3)


@pytest.mark.parametrize("number, errors", [(1, 1), (3, 1), (10, 4), (5000, 30)])
def test_risk_of_equally_confident_rows_is_the_mean_over_their_orders(number, errors):
    """One bin: every prefix has the same expected error rate."""
    labels = (np.arange(number) < errors).astype(int)
    probabilities = np.tile([[0.7, 0.3]], (number, 1))
    assert score(AreaUnderRiskCoverage(), labels, probabilities) == pytest.approx(errors / number, rel=1e-5)


@pytest.mark.parametrize("before, tied", [(1, 1), (1, 7), (5, 100), (3000, 2)])
def test_risk_after_errors_is_the_harmonic_sum(before, tied):
    labels = np.r_[np.ones(before), np.zeros(tied)].astype(int)
    confidence = np.r_[np.full(before, 0.9), np.full(tied, 0.8)]
    risks = np.r_[np.ones(before), before / (before + 1 + np.arange(tied))]
    got = score(AreaUnderRiskCoverage(), labels, np.stack([confidence, 1 - confidence], -1))
    assert got == pytest.approx(risks.mean(), rel=1e-4)
