"""Convex member weights that minimize a score that is convex in them. Requires only NumPy."""

from typing import Any

import numpy as np

from keras_hyperens.checks import is_number

MOST_STEPS, SMALL = 500, 1e-7  # stops when no weight changes by more
PRIOR_ROWS = 100.0  # for weights and temperatures: benchmarks/selection


def most_likely_weights(probabilities: np.ndarray, start: np.ndarray, row_weights: np.ndarray | None) -> np.ndarray:
    """Weights of a mixture, by expectation maximization: each step increases the likelihood.

    A weight converges slowly to 0: the score is then within 1e-4 of the minimum.

    Args:
        probabilities: Probabilities of the observed labels by each member, `[K, N]`, positive.
        start: Initial weights, positive, with a sum of 1, `[K]`.
        row_weights: `[N]`, or `None` for equal weights.
    """
    counts = np.ones(probabilities.shape[1]) if row_weights is None else row_weights
    weights = start
    for _ in range(MOST_STEPS):
        before = weights
        weights = weights * (probabilities @ (counts / (weights @ probabilities))) / counts.sum()
        if np.abs(weights - before).max() < SMALL:
            break
    return weights / weights.sum()


def shortest_weights(products: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Weights that minimize the norm of the weighted sum of residuals, by optimal exchange between pairs of members.

    Args:
        products: Inner products of the members' residuals, `[K, K]`.
        start: Initial weights, at least 0, with a sum of 1, `[K]`.
    """
    weights = start.copy()
    for _ in range(MOST_STEPS):
        before = weights.copy()
        for i in range(len(weights)):
            for j in range(i):
                curvature = products[i, i] + products[j, j] - 2 * products[i, j]
                if curvature > 0:
                    wanted = (products[j] - products[i]) @ weights / curvature
                    given = np.clip(wanted, -weights[i], weights[j])
                    weights[i] += given
                    weights[j] -= given
        if np.abs(weights - before).max() < SMALL:
            break
    return weights


def checked_prior_rows(prior_rows: Any) -> float:
    """Returns a number of samples; raises a `ValueError` for other values."""
    if not is_number(prior_rows) or prior_rows < 0:
        raise ValueError(f"`prior_rows` must be a number of at least 0. Received: prior_rows={prior_rows!r}")
    return float(prior_rows)


def shrunk(weights: np.ndarray, towards: np.ndarray, rows: float, prior_rows: float) -> np.ndarray:
    """Shrinks weights found on `rows` samples, as if `towards` had been found on `prior_rows` additional samples."""
    return (rows * weights + prior_rows * towards) / (rows + prior_rows)
