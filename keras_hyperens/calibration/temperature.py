"""The temperature that makes probabilities most likely on rows that were not trained on."""

from typing import Any

import numpy as np

LARGEST = 1e3  # and 1 / LARGEST the smallest temperature: at these a prediction is all but uniform, or a single class
HALVINGS = 60
SMALLEST = 1e-38


def fit_temperature(probabilities: Any, labels: Any, sample_weight: Any = None) -> float:
    """The T for which `p ** (1 / T)`, normalised, has the lowest negative log-likelihood.

    The likelihood is convex in 1 / T, so the temperature is where its derivative,
    `mean(ln p_y - sum_c q_c ln p_c)` with q the tempered probabilities, is 0: found by bisection, exactly.

    Args:
        probabilities: `[N, ..., C]`.
        labels: Classes, `[N, ...]` or `[N, ..., 1]`, or one-hot or soft `[N, ..., C]`.
        sample_weight: `[N, ...]`. Default: all equal.

    Returns:
        The temperature: above 1 if the probabilities were too sure; in [1e-3, 1e3].

    Raises:
        ValueError: If probabilities do not sum to 1, labels do not fit them, or no row has a weight above 0.

    Example:
    >>> import numpy as np
    >>> probabilities = np.tile([[0.9, 0.1]], (4, 1))  # right three times of four, and should say 0.75
    >>> temperature = fit_temperature(probabilities, [0, 0, 0, 1])
    >>> tempered = probabilities[0] ** (1 / temperature)
    >>> (tempered / tempered.sum()).round(3)
    array([0.75, 0.25])

    References:
        - Guo et al., [On Calibration of Modern Neural Networks](https://arxiv.org/abs/1706.04599)
    """
    probabilities, truth = checked_truth(probabilities, labels)
    weights = checked_weights(sample_weight, len(truth))
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


def fit_variance_scale(means: Any, variances: Any, targets: Any, sample_weight: Any = None) -> float:
    """The factor of Gaussian variances with the lowest negative log-likelihood: `mean((y - m)² / v)`.

    Args:
        means, variances, targets: Arrays of one shape, `[N, ..., D]`.
        sample_weight: `[N, ...]`. Default: all equal.

    Example:
    >>> fit_variance_scale([[0.0], [0.0]], [[1.0], [1.0]], [[2.0], [-2.0]])
    4.0
    """
    means, variances, targets = (np.asarray(each, "float64") for each in (means, variances, numbers(targets)))
    if not means.shape == variances.shape == targets.shape or not means.size:
        raise ValueError(
            "Means, variances and targets must have one shape, not empty. "
            f"Received: shapes {means.shape}, {variances.shape}, {targets.shape}"
        )
    ratios = (np.square(targets - means) / variances).mean(-1).reshape(-1)
    return float(np.average(ratios, weights=checked_weights(sample_weight, len(ratios))))


def checked_weights(sample_weight: Any, rows: int) -> np.ndarray:
    """Weights `[rows]`, all 1 by default.

    Raises:
        ValueError: If they are not one for each row, not finite, negative, or all 0.
    """
    weights = np.ones(rows) if sample_weight is None else np.asarray(sample_weight, "float64").reshape(-1)
    if len(weights) != rows or not np.isfinite(weights).all() or weights.min() < 0 or not weights.sum():
        raise ValueError(
            f"`sample_weight` must be one finite number of at least 0 for each of {rows} rows, and not all 0. "
            f"Received: {len(weights)} weights, from {weights.min():.4g} to {weights.max():.4g}"
        )
    return weights


def numbers(labels: Any) -> np.ndarray:
    """Labels as an array; raises a `ValueError` unless they are numbers."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "biuf":
        raise ValueError(f"Labels must be numbers: encode strings as 0, 1, ... Received: dtype={labels.dtype}")
    return labels


def checked(probabilities: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities `[rows, C]` and classes `[rows]`.

    Raises:
        ValueError: If they are empty, not finite, no distributions, of other shapes, or a class is out of range.
    """
    probabilities, truth = checked_truth(probabilities, labels)
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("`labels` must be classes, or one-hot. Received: soft labels")
    return probabilities, truth.argmax(-1)


def checked_truth(probabilities: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities `[rows, C]`, and labels as distributions `[rows, C]`.

    Raises:
        ValueError: As `checked`.
    """
    probabilities, labels = np.asarray(probabilities, "float64"), numbers(labels)
    if probabilities.ndim < 2 or not probabilities.size or probabilities.shape[-1] < 2:
        raise ValueError(
            f"Probabilities [N, ..., C] of at least one row and two classes are needed. Received: shape="
            f"{probabilities.shape}"
        )
    if (
        not np.isfinite(probabilities).all()
        or probabilities.min() < 0
        or np.abs(probabilities.sum(-1) - 1).max() > 1e-3
    ):
        raise ValueError(
            "Probabilities must be finite, at least 0, and sum to 1 over the last axis. Received: sums from "
            f"{probabilities.sum(-1).min():.4g} to {probabilities.sum(-1).max():.4g}"
        )
    number = probabilities.shape[-1]
    if labels.shape == probabilities.shape:
        return probabilities.reshape(-1, number), _distributions(labels).reshape(-1, number)
    if labels.ndim == probabilities.ndim and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if labels.shape != probabilities.shape[:-1]:
        raise ValueError(
            "`labels` must be one class for each row of probabilities. "
            f"Received: shapes {labels.shape} and {probabilities.shape}"
        )
    if (labels != np.floor(labels)).any() or labels.min() < 0 or labels.max() >= number:
        raise ValueError(
            f"`labels` must be whole numbers in [0, {number}). Received: labels from {labels.min()} to {labels.max()}"
        )
    return probabilities.reshape(-1, number), np.eye(number)[labels.reshape(-1).astype(int)]


def _distributions(labels: np.ndarray) -> np.ndarray:
    sums = labels.sum(-1)
    if not np.isfinite(labels).all() or labels.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        raise ValueError(
            "One-hot and soft labels must be at least 0 and sum to 1. "
            f"Received: sums from {sums.min():.4g} to {sums.max():.4g}"
        )
    return labels
