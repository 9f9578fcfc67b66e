"""The convex weights of a few members with the lowest score, where the score is convex in them (NumPy only)."""

from typing import Any

import numpy as np

from keras_hyperens.checks import is_number

MOST_STEPS, SMALL = 500, 1e-7  # it ends when no weight changes by more
PRIOR_ROWS = 100.0  # of weights and of temperatures: benchmarks/selection


def most_likely_weights(probabilities: np.ndarray, start: np.ndarray, row_weights: np.ndarray | None) -> np.ndarray:
    """Of a mixture, by expectation maximization: each step makes the rows more likely.

    A weight that should be 0 is reached slowly: the score is then within 1e-4 of the lowest.

    Args:
        probabilities: Of what happened, by each member, `[K, N]`, above 0.
        start: Weights above 0, of sum 1, `[K]`.
        row_weights: `[N]`, or `None`: all are equal.
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
    """For which the weighted sum of residuals is shortest: the best exchange between two members, pair by pair.

    Args:
        products: Inner products of the members' residuals, `[K, K]`.
        start: Weights of at least 0, of sum 1, `[K]`.
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
    """A number of rows; raises a `ValueError` for anything else."""
    if not is_number(prior_rows) or prior_rows < 0:
        raise ValueError(f"`prior_rows` must be a number of at least 0. Received: prior_rows={prior_rows!r}")
    return float(prior_rows)


def shrunk(weights: np.ndarray, towards: np.ndarray, rows: float, prior_rows: float) -> np.ndarray:
    """Weights found on some rows, as if others had been found on `prior_rows` more."""
    return (rows * weights + prior_rows * towards) / (rows + prior_rows)
