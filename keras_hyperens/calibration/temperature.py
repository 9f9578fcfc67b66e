"""Temperature and variance scale that maximize the likelihood of held-out data."""

from typing import Any

import numpy as np

from keras_hyperens.calibration.member_weights import checked_prior_rows
from keras_hyperens.sample_weights import checked_weights
from keras_hyperens.types import ArrayLike

LARGEST = 1e3  # the smallest temperature is 1 / LARGEST: predictions are then nearly uniform, or a single class
HALVINGS = 60
SMALLEST = 1e-38


def fit_temperature(
    probabilities: ArrayLike, labels: ArrayLike, sample_weight: ArrayLike | None = None, prior_rows: float = 0.0
) -> float:
    """Returns the T for which `p ** (1 / T)`, normalized, has the lowest negative log-likelihood.

    The likelihood is convex in 1 / T, so the temperature is the root of its derivative,
    `mean(ln p_y - sum_c q_c ln p_c)` with q the tempered probabilities, found by bisection.

    Args:
        probabilities: `[N, ..., C]`.
        labels: Classes, `[N, ...]` or `[N, ..., 1]`, or one-hot or soft labels `[N, ..., C]`.
        sample_weight: `[N, ...]`: a sample with a weight of 2 counts as two equal samples. Defaults to equal weights.
        prior_rows: Number of pseudo-samples for which the probabilities are correct (with a label distribution `p_c`).
            They keep the temperature of few samples near 1, and hardly change that of many samples.

    Returns:
        The temperature in [1e-3, 1e3]: above 1 if the probabilities are overconfident.

    Raises:
        ValueError: If probabilities do not sum to 1, or labels or weights do not match them.

    Example:
    >>> import numpy as np
    >>> probabilities = np.tile([[0.9, 0.1]], (4, 1))  # accuracy 0.75, confidence 0.9
    >>> temperature = fit_temperature(probabilities, [0, 0, 0, 1])
    >>> tempered = probabilities[0] ** (1 / temperature)
    >>> (tempered / tempered.sum()).round(3)
    array([0.75, 0.25])

    References:
        - Guo et al., [On Calibration of Modern Neural Networks](https://arxiv.org/abs/1706.04599)
    """
    positions = np.prod(np.shape(probabilities)[1:-1])
    probabilities, truth, weights = checked_truth(probabilities, labels, sample_weight)
    share = _share_of_prior(prior_rows, len(truth) if weights is None else weights.sum(), positions)
    truth = (1 - share) * truth + share * probabilities / probabilities.sum(-1, keepdims=True)
    logarithms = np.log(np.maximum(probabilities, SMALLEST))
    true = (truth * logarithms).sum(-1)

    def is_too_sure(temperature: float) -> bool:
        scaled = logarithms / temperature
        tempered = np.exp(scaled - scaled.max(-1, keepdims=True))
        tempered /= tempered.sum(-1, keepdims=True)
        return bool(np.average(true - (tempered * logarithms).sum(-1), weights=weights) < 0)

    low, high = -np.log(LARGEST), np.log(LARGEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_too_sure(np.exp(middle)) else (low, middle)
    return float(np.exp((low + high) / 2))


def fit_variance_scale(
    means: ArrayLike,
    variances: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    prior_rows: float = 0.0,
) -> float:
    """Returns the factor of Gaussian variances with the lowest negative log-likelihood: `mean((y - m)² / v)`.

    Args:
        means, variances, targets: Arrays of one shape, `[N, ..., D]`.
        sample_weight: `[N, ...]`. Defaults to equal weights.
        prior_rows: Number of pseudo-samples with a factor of 1, as in `fit_temperature`.

    Example:
    >>> fit_variance_scale([[0.0], [0.0]], [[1.0], [1.0]], [[2.0], [-2.0]])
    4.0
    """
    means, variances, targets = (np.asarray(each, "float64") for each in (means, variances, numbers(targets)))
    if not means.shape == variances.shape == targets.shape or not means.size:
        raise ValueError(
            "Means, variances and targets must have the same shape and must not be empty. "
            f"Received: shapes {means.shape}, {variances.shape}, {targets.shape}"
        )
    weights = checked_weights(sample_weight, means.shape[:-1])
    total = np.prod(means.shape[:-1]) if weights is None else weights.sum()
    share = _share_of_prior(prior_rows, total, np.prod(means.shape[1:-1]))
    if weights is not None:
        means, variances, targets, weights = (each[weights > 0] for each in (means, variances, targets, weights))
    if not all(np.isfinite(each).all() for each in (means, variances, targets)) or variances.min() <= 0:
        raise ValueError(
            "Means, variances and targets must be finite, and variances positive. "
            f"Received: variances from {variances.min():.4g} to {variances.max():.4g}"
        )
    scale = np.average((np.square(targets - means) / variances).mean(-1), weights=weights)
    return float((1 - share) * scale + share)


def _share_of_prior(prior_rows: float, total: Any, positions: Any) -> float:
    """Returns the fraction of `prior_rows` in their sum with samples or positions of this total weight."""
    prior_rows = checked_prior_rows(prior_rows)
    return float(prior_rows / (prior_rows + total / positions))


def numbers(values: ArrayLike, name: str = "Labels") -> np.ndarray:
    """Returns values as an array; raises a `ValueError` unless they are numbers."""
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be numbers: encode strings as 0, 1, ... Received: dtype={values.dtype}")
    return values


def checked(
    probabilities: ArrayLike, labels: ArrayLike, sample_weight: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Returns probabilities `[N, C]`, classes `[N]` and weights `[N]` or `None`, without samples of weight 0.

    Raises:
        ValueError: As in `checked_truth`, and if labels are soft.
    """
    probabilities, truth, weights = checked_truth(probabilities, labels, sample_weight)
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("`labels` must be classes, or one-hot. Received: soft labels")
    return probabilities, truth.argmax(-1), weights


def checked_truth(
    probabilities: ArrayLike, labels: ArrayLike, sample_weight: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Returns probabilities `[N, C]`, label distributions `[N, C]` and weights, without samples of weight 0.

    Raises:
        ValueError: If they are empty, not finite, not distributions, of different shapes, or a class is out of range.
    """
    probabilities, labels = numbers(probabilities, "Probabilities").astype("float64"), numbers(labels)
    if probabilities.ndim < 2 or not probabilities.size or probabilities.shape[-1] < 2:
        raise ValueError(
            f"Probabilities [N, ..., C] of at least one sample and two classes are required. Received: shape="
            f"{probabilities.shape}"
        )
    shape, number = probabilities.shape[:-1], probabilities.shape[-1]
    are_distributions = labels.shape == probabilities.shape
    labels = labels[..., 0] if labels.shape == (*shape, 1) else labels
    if not are_distributions and labels.shape != shape:
        raise ValueError(
            "`labels` must be one class per sample of probabilities. "
            f"Received: shapes {labels.shape} and {probabilities.shape}"
        )
    weights = checked_weights(sample_weight, shape)
    counts = np.ones(shape, bool) if weights is None else weights > 0
    probabilities, labels, weights = (
        probabilities[counts],
        labels[counts],
        weights if weights is None else weights[counts],
    )
    _check_distributions(probabilities, "Probabilities must be finite, at least 0, and sum to 1 over the last axis")
    if are_distributions:
        _check_distributions(labels, "One-hot and soft labels must be at least 0 and sum to 1")
        return probabilities, labels, weights
    if not np.isin(labels, np.arange(number)).all():
        raise ValueError(
            f"`labels` must be whole numbers in [0, {number}). Received: labels from {labels.min()} to {labels.max()}"
        )
    return probabilities, np.eye(number)[labels.astype(int)], weights


def _check_distributions(rows: np.ndarray, expected: str) -> None:
    sums = rows.sum(-1)
    if not np.isfinite(rows).all() or rows.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        raise ValueError(f"{expected}. Received: sums from {sums.min():.4g} to {sums.max():.4g}")
