"""The temperature that makes probabilities most likely on rows that were not trained on."""

from typing import Any

import numpy as np

from keras_hyperens.sample_weights import checked_weights

LARGEST = 1e3  # and 1 / LARGEST the smallest temperature: at these a prediction is all but uniform, or a single class
HALVINGS = 60
SMALLEST = 1e-38


def fit_temperature(probabilities: Any, labels: Any, sample_weight: Any = None) -> float:
    """The T for which `p ** (1 / T)`, normalised, has the lowest negative log-likelihood.

    The likelihood is convex in 1 / T, so the temperature is where its derivative,
    `mean(ln p_y - sum_c q_c ln p_c)` with q the tempered probabilities, is 0: found by bisection, exactly.

    Args:
        probabilities: `[N, ..., C]`.
        labels: Classes, `[N, ...]` or `[N, ..., 1]`, or one-hot `[N, ..., C]`.
        sample_weight: `[N, ...]`: a sample of weight 2 counts as two equal ones. Default: all equal.

    Returns:
        The temperature: above 1 if the probabilities were too sure; in [1e-3, 1e3].

    Raises:
        ValueError: If probabilities do not sum to 1, or labels or weights do not fit them.

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
    probabilities, labels, weights = checked(probabilities, labels, sample_weight)
    logarithms = np.log(np.maximum(probabilities, SMALLEST))
    true = logarithms[np.arange(len(labels)), labels]

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
        sample_weight: `[N, ...]`: a sample of weight 2 counts as two equal ones. Default: all equal.

    Example:
    >>> fit_variance_scale([[0.0], [0.0]], [[1.0], [1.0]], [[2.0], [-2.0]])
    4.0
    """
    means, variances, targets = (np.asarray(each, "float64") for each in (means, variances, targets))
    if not means.shape == variances.shape == targets.shape or not means.size:
        raise ValueError(
            "Means, variances and targets must have one shape, not empty. "
            f"Received: shapes {means.shape}, {variances.shape}, {targets.shape}"
        )
    ratios = (np.square(targets - means) / variances).mean(-1)
    weights = checked_weights(sample_weight, ratios.shape)
    if weights is not None:
        ratios, weights = ratios[weights > 0], weights[weights > 0]
    return float(np.average(ratios, weights=weights))


def checked(
    probabilities: Any, labels: Any, sample_weight: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Probabilities `[rows, C]`, classes `[rows]` and weights `[rows]` or `None`, without what has a weight of 0.

    Raises:
        ValueError: If they are empty, not finite, no distributions, of other shapes, or a class is out of range.
    """
    probabilities, labels = np.asarray(probabilities, "float64"), np.asarray(labels)
    if probabilities.ndim < 2 or not probabilities.size or probabilities.shape[-1] < 2:
        raise ValueError(
            f"Probabilities [N, ..., C] of at least one row and two classes are needed. Received: shape="
            f"{probabilities.shape}"
        )
    if labels.ndim == probabilities.ndim:
        labels = labels[..., 0] if labels.shape[-1] == 1 else _of_one_hot(labels)
    if labels.shape != probabilities.shape[:-1]:
        raise ValueError(
            "`labels` must be one class for each row of probabilities. "
            f"Received: shapes {labels.shape} and {probabilities.shape}"
        )
    weights = checked_weights(sample_weight, labels.shape)
    kept = ... if weights is None else weights > 0
    probabilities, labels = probabilities[kept].reshape(-1, probabilities.shape[-1]), labels[kept].reshape(-1)
    _check_values(probabilities, labels)
    return probabilities, labels.astype(int), None if weights is None else weights[kept]


def _of_one_hot(labels: np.ndarray) -> np.ndarray:
    if not (np.isin(labels, (0, 1)).all() and (labels.sum(-1) == 1).all()):
        raise ValueError(
            "`labels` must be classes or one-hot: of soft labels take `argmax(-1)`. "
            f"Received: rows such as {labels.reshape(-1, labels.shape[-1])[0]}"
        )
    return labels.argmax(-1)


def _check_values(probabilities: np.ndarray, labels: np.ndarray) -> None:
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
    if labels.min() < 0 or labels.max() >= number:
        raise ValueError(f"`labels` must be in [0, {number}). Received: labels from {labels.min()} to {labels.max()}")
