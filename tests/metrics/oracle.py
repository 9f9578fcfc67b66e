"""Every metric beside an implementation that shares nothing with it: scikit-learn, SciPy or plain NumPy on all rows."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import numpy as np
import scipy.integrate
import scipy.stats
import sklearn.metrics
import tensorflow as tf
import tensorflow_probability as tfp

from keras_hyperens import metrics

B, C, M, D = 300, 4, 3, 2
GENERATOR = np.random.default_rng(0)


def softmax(logits):
    return scipy.special.softmax(logits, axis=-1).astype("float32")


LABELS = GENERATOR.integers(0, C, B)
LOGITS = GENERATOR.normal(size=(M, B, C)) + 2 * np.eye(C)[LABELS]
MEMBERS = softmax(2 * LOGITS)
PROBABILITIES = MEMBERS.mean(0)
MIXED_LABELS = np.where(GENERATOR.random(B) < 0.3, -1, LABELS)
SCORES = (GENERATOR.normal(size=B) + 1.5 * (MIXED_LABELS == -1)).astype("float32")
WEIGHTS = GENERATOR.integers(0, 3, B)
TARGETS = GENERATOR.normal(size=(B, D)).astype("float32")
GAUSSIANS = np.concatenate([GENERATOR.normal(size=(B, D)), GENERATOR.gamma(2, 0.5, (B, D))], -1).astype("float32")


def calibration_error(labels, probabilities, num_bins=15):
    logits, labels = tf.math.log(probabilities), tf.constant(labels, tf.int32)
    return tfp.stats.expected_calibration_error(num_bins, logits=logits, labels_true=labels)


def most_confident_first(labels, probabilities):
    """Which rows are right, and how confident they are."""
    order = np.argsort(np.sort(probabilities.astype("float64"), -1)[:, :-1].sum(-1), kind="stable")
    return (probabilities.argmax(-1) == labels)[order].astype("float64"), probabilities.max(-1)[order]


def sums_up_to(values, shares):
    """Sum of the first values, up to each share of them; of a value cut in two, a part."""
    sums = np.concatenate([[0], np.cumsum(values)])
    return np.interp(np.asarray(shares) * len(values), np.arange(len(values) + 1), sums)


def adaptive_calibration_error(labels, probabilities, num_bins=15):
    right, confidence = most_confident_first(labels, probabilities)
    gaps = np.diff(sums_up_to(right - confidence, np.linspace(0, 1, num_bins + 1)))
    return np.abs(gaps).sum() / len(right)


def area_under_risk_coverage(labels, probabilities):
    right, _ = most_confident_first(labels, probabilities)
    return np.mean([np.mean(1 - right[:number]) for number in range(1, len(right) + 1)])


def selective_accuracy(labels, probabilities, coverage=0.8):
    right, _ = most_confident_first(labels, probabilities)
    return sums_up_to(right, coverage) / (coverage * len(right))


def nll(labels, probabilities):
    probabilities = probabilities / probabilities.sum(-1, keepdims=True, dtype="float64")
    return sklearn.metrics.log_loss(labels, probabilities, labels=range(probabilities.shape[-1]))


def brier(labels, probabilities):
    return ((probabilities - np.eye(probabilities.shape[-1])[labels]) ** 2).sum(-1).mean()


def gibbs_loss(labels, members):
    return np.mean([nll(*pair) for pair in zip(labels, members)])


def disagreement(_, members):
    votes = members.argmax(-1)
    pairs = [(i, j) for i in range(len(votes)) for j in range(i)]
    return np.mean([votes[i] != votes[j] for i, j in pairs])


def kl_diversity(_, members):
    return np.mean([scipy.stats.entropy(member, members.mean(0), axis=-1) for member in members])


def mutual_information(members):
    entropies = scipy.stats.entropy(members.astype("float64"), axis=-1)
    return scipy.stats.entropy(members.mean(0, dtype="float64"), axis=-1) - entropies.mean(0)


def auroc(labels, scores):
    return sklearn.metrics.roc_auc_score(labels == -1, scores)


def aupr(labels, scores):
    return sklearn.metrics.average_precision_score(labels == -1, scores)


def fpr95(labels, scores):
    false, true, _ = sklearn.metrics.roc_curve(labels == -1, scores, drop_intermediate=False)
    return false[true >= 0.95].min()


def of_members(score):
    return lambda labels, members: score(labels[0], mutual_information(members))


def of_entropy(score):
    return lambda labels, probabilities: score(labels, scipy.stats.entropy(probabilities.astype("float64"), axis=-1))


def normal(predictions):
    means, variances = np.split(predictions.astype("float64"), 2, -1)
    return scipy.stats.norm(means, np.sqrt(variances))


def gaussian_nll(labels, predictions):
    return -normal(predictions).logpdf(labels).mean()


def crps(labels, predictions):
    """By the trapezoid rule, on a grid that has the label in it twice, where the integrand jumps."""
    below = np.linspace(labels - 20, labels, 1001)
    above = np.linspace(labels, labels + 20, 1001)
    left = scipy.integrate.trapezoid(normal(predictions).cdf(below) ** 2, below, axis=0)
    return (left + scipy.integrate.trapezoid(normal(predictions).sf(above) ** 2, above, axis=0)).mean()


def coverage(labels, predictions, share=0.9):
    lower, upper = normal(predictions).interval(share)
    return ((lower <= labels) & (labels <= upper)).mean()


class Case(NamedTuple):
    metric: type
    arguments: dict[str, Any]
    labels: np.ndarray
    predictions: np.ndarray
    exact: Callable[..., float]
    tolerance: float = 1e-5

    def new(self):
        return self.metric(**self.arguments)

    @property
    def rows_axis(self):
        return 1 if self.predictions.shape == MEMBERS.shape else 0


def for_members(labels):
    return np.repeat(labels[None], M, 0)


CLASSES = [
    Case(metrics.NegativeLogLikelihood, {}, LABELS, PROBABILITIES, nll),
    Case(metrics.BrierScore, {}, LABELS, PROBABILITIES, brier),
    Case(metrics.ExpectedCalibrationError, {}, LABELS, PROBABILITIES, calibration_error),
    Case(metrics.AdaptiveCalibrationError, {}, LABELS, PROBABILITIES, adaptive_calibration_error, 5e-3),
    Case(metrics.AreaUnderRiskCoverage, {}, LABELS, PROBABILITIES, area_under_risk_coverage, 5e-4),
    Case(metrics.SelectiveAccuracy, {}, LABELS, PROBABILITIES, selective_accuracy, 5e-3),
]
OOD = [
    Case(metrics.OutOfDistributionAUROC, {}, MIXED_LABELS, PROBABILITIES, of_entropy(auroc), 1e-3),
    Case(metrics.OutOfDistributionAUPR, {}, MIXED_LABELS, PROBABILITIES, of_entropy(aupr), 2e-3),
    Case(metrics.OutOfDistributionFPR95, {}, MIXED_LABELS, PROBABILITIES, of_entropy(fpr95), 1e-2),
]
SCORED = [
    Case(metrics.OutOfDistributionAUROC, {"measure": None}, MIXED_LABELS, SCORES, auroc, 1e-3),
    Case(metrics.OutOfDistributionAUPR, {"measure": None}, MIXED_LABELS, SCORES, aupr, 2e-3),
    Case(metrics.OutOfDistributionFPR95, {"measure": None}, MIXED_LABELS, SCORES, fpr95, 1e-2),
]
BY_MEMBERS = {"measure": "mutual_information"}
OF_MEMBERS = [
    Case(metrics.GibbsLoss, {}, for_members(LABELS), MEMBERS, gibbs_loss),
    Case(metrics.Disagreement, {}, for_members(LABELS), MEMBERS, disagreement),
    Case(metrics.KLDiversity, {}, for_members(LABELS), MEMBERS, kl_diversity),
    Case(metrics.OutOfDistributionAUROC, BY_MEMBERS, for_members(MIXED_LABELS), MEMBERS, of_members(auroc), 1e-3),
]
REGRESSION = [
    Case(metrics.GaussianNegativeLogLikelihood, {}, TARGETS, GAUSSIANS, gaussian_nll),
    Case(metrics.ContinuousRankedProbabilityScore, {}, TARGETS, GAUSSIANS, crps),
    Case(metrics.IntervalCoverage, {}, TARGETS, GAUSSIANS, coverage),
]
CASES = [*CLASSES, *OOD, *SCORED, *OF_MEMBERS, *REGRESSION]


def case_name(case):
    return "-".join([case.metric.__name__, *map(str, case.arguments.values())])
