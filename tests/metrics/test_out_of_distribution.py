"""Scores of any range, by any measure."""

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from keras_hyperens import uncertainty
from keras_hyperens.metrics import OutOfDistributionAUPR
from keras_hyperens.metrics import OutOfDistributionAUROC
from keras_hyperens.metrics import OutOfDistributionFPR95
from keras_hyperens.metrics.measures import OF_ONE_MEMBER
from tests.metrics import oracle
from tests.metrics.oracle import MEMBERS
from tests.metrics.oracle import MIXED_LABELS
from tests.metrics.oracle import SCORES
from tests.metrics.oracle import for_members

EXACT = {
    OutOfDistributionAUROC: oracle.auroc,
    OutOfDistributionAUPR: oracle.aupr,
    OutOfDistributionFPR95: oracle.fpr95,
}


def score(metric, labels, predictions):
    metric.update_state(labels, predictions)
    return float(metric.result())


@pytest.mark.parametrize("metric", EXACT)
@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e3])
@pytest.mark.parametrize("shape", [np.exp, np.positive, lambda values: np.sinh(4 * values)])
def test_scores_of_any_range(metric, scale, shape):
    scores = scale * shape(SCORES)
    expected = EXACT[metric](MIXED_LABELS, scores)
    assert score(metric(measure=None), MIXED_LABELS, scores) == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("metric", EXACT)
def test_ties_and_infinitesimal_and_huge_scores(metric):
    scores = np.random.default_rng(0).choice([-1e30, -2.0, -1e-30, 0.0, 1e-25, 1.0, 3.0, 1e30], len(MIXED_LABELS))
    capped = np.where(np.abs(scores) < 1e-20, 0, scores)
    expected = EXACT[metric](MIXED_LABELS, capped)
    assert score(metric(measure=None), MIXED_LABELS, scores) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("metric, best, worst", [
    (OutOfDistributionAUROC, 1, 0), (OutOfDistributionAUPR, 1, None), (OutOfDistributionFPR95, 0, 1),
])  # fmt: skip
def test_perfect_and_inverted(metric, best, worst):
    is_outside = (MIXED_LABELS == -1).astype("float32")
    assert score(metric(measure=None), MIXED_LABELS, is_outside) == pytest.approx(best, abs=1e-6)
    if worst is not None:
        assert score(metric(measure=None), MIXED_LABELS, -is_outside) == pytest.approx(worst, abs=1e-6)


@pytest.mark.parametrize("metric", EXACT)
def test_both_kinds_of_rows_are_needed(metric):
    assert np.isnan(score(metric(measure=None), [0, 1], [0.1, 0.2]))
    assert np.isnan(score(metric(measure=None), [-1, -1], [0.1, 0.2]))


@pytest.mark.parametrize("measure", sorted(OF_ONE_MEMBER))
def test_measures_of_one_model(measure):
    """By name, and as the function itself."""
    values = oracle.GAUSSIANS[:, [0, 2]] if measure.endswith("variance") else oracle.PROBABILITIES
    scores = np.asarray(getattr(uncertainty, measure)(values[None])).reshape(-1)
    if measure in ("max_probability", "margin"):
        scores = 1 - scores
    expected = pytest.approx(oracle.auroc(MIXED_LABELS, scores), abs=1e-3)
    assert score(OutOfDistributionAUROC(measure), MIXED_LABELS, values) == expected
    assert score(OutOfDistributionAUROC(getattr(uncertainty, measure)), MIXED_LABELS, values) == expected


OF_DIFFERENCES = ["mutual_information", "sum_kl_divergence", "disagreement", "variation_ratio"]


@pytest.mark.parametrize("measure", OF_DIFFERENCES)
def test_measures_of_members(measure):
    scores = np.asarray(getattr(uncertainty, measure)(MEMBERS)).round(6)
    expected = pytest.approx(oracle.auroc(MIXED_LABELS, scores), abs=1e-3)
    assert score(OutOfDistributionAUROC(measure), for_members(MIXED_LABELS), MEMBERS) == expected
    with pytest.raises(ValueError, match=rf"For measure='{measure}', .*\[M, B, C\].*Received: shape=\(300, 4\)"):
        OutOfDistributionAUROC(measure).update_state(MIXED_LABELS, MEMBERS[0])


def test_epistemic_variance_of_gaussian_members():
    members = np.stack([oracle.GAUSSIANS[:, [0, 2]], oracle.GAUSSIANS[:, [1, 3]]])
    expected = oracle.auroc(MIXED_LABELS, members[:, :, 0].var(0))
    labels = np.repeat(MIXED_LABELS[None], 2, 0)
    assert score(OutOfDistributionAUROC("epistemic_variance"), labels, members) == pytest.approx(expected, abs=1e-3)


@keras.saving.register_keras_serializable("tests")
def second_logit(members):
    return members[0, :, 1]


def test_own_measure_of_logits_and_its_config():
    logits = 20 * oracle.LOGITS[0]
    metric = OutOfDistributionAUROC(second_logit)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert twin.measure is second_logit
    expected = pytest.approx(oracle.auroc(MIXED_LABELS, logits[:, 1]), abs=1e-3)
    assert score(metric, MIXED_LABELS, logits) == score(twin, MIXED_LABELS, logits) == expected
    energies = -scipy.special.logsumexp(logits, axis=-1)
    expected = pytest.approx(oracle.auroc(MIXED_LABELS, energies), abs=1e-3)
    assert score(OutOfDistributionAUROC("energy"), MIXED_LABELS, logits) == expected


def test_another_class_is_out_of_distribution():
    labels = np.where(MIXED_LABELS == -1, 7, MIXED_LABELS)
    expected = score(OutOfDistributionAUROC(), MIXED_LABELS, oracle.PROBABILITIES)
    assert score(OutOfDistributionAUROC(ood_class=7), labels, oracle.PROBABILITIES) == expected
    assert score(OutOfDistributionAUROC(ood_class=7), labels[:, None], oracle.PROBABILITIES) == expected


P = oracle.softmax(np.zeros((5, 3)))
BAD = [
    ({"measure": None}, [0] * 5, P, r"one score per sample.*measure=None, scores of shape=\(5, 3\)"),
    ({"measure": "variance"}, np.zeros((2, 5)), np.stack([P, P]), r"measure='variance', scores of shape=\(5, 3\)"),
    ({}, [0, -2, 0, 0, 0], P, r"classes in \[0, 3\) or -1. Received: \[-2\]"),
    ({"measure": None}, [0, 0.5], [0.1, 0.2], r"whole numbers or -1. Received: \[0.5\]"),
    ({}, np.eye(5, 3), P, r"with or without a last axis of 1. Received: shape=\(5, 3\)"),
    ({}, [0] * 5, np.stack([P, P]), r"`y_true` must be repeated for every member, \[M, B\]. Received: shape=\(5,\)"),
    ({}, np.zeros((5, 2, 2)), np.zeros((5, 2, 2, 3)), r"\(batch_size, C\), or of all members.*shape=\(5, 2, 2, 3\)"),
    ({}, [0] * 5, 2 * P, "sum to 1"),
    ({}, tf.zeros(4), tf.constant(P), r"classes of shape \(5,\).*Received: shape=\(4,\)"),
]


@pytest.mark.parametrize("arguments, labels, predictions, message", BAD)
def test_bad_inputs_are_named(arguments, labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        OutOfDistributionFPR95(**arguments).update_state(labels, predictions)


@pytest.mark.parametrize("measure", ["max_probability", "margin"])
def test_order_survives_where_probabilities_round_to_one(measure):
    doubts = np.array([1e-18, 1e-16, 1e-14, 1e-12], "float32")
    probabilities = np.stack([1 - doubts, doubts], -1)
    assert score(OutOfDistributionAUROC(measure), [0, 0, -1, -1], probabilities) == 1
