"""Members that predict Gaussians: the last axis has D means, then D variances."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty.checks import checked_members
from keras_hyperens.uncertainty.checks import normalized_weights
from keras_hyperens.uncertainty.combining import combine
from keras_hyperens.uncertainty.dispersion import variance

HALVINGS = 40  # of the bracket of a quantile, below the precision of float32


def gaussian_mixture(members: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean and variance of the members' mixture: `mean_k m_k`, and `mean_k v_k + mean_k (m_k - mean)²`.

    Args:
        members: Means and variances, `[M, B, ..., 2D]`.
        weights: `[M]`. Defaults to equal weights.

    Returns:
        Means and variances, `[B, ..., 2D]`.

    Raises:
        ValueError: If the last axis is odd.

    Example:
    >>> import numpy as np
    >>> gaussian_mixture(np.array([[[1.0, 0.5]], [[3.0, 0.5]]])).numpy()  # variance 0.5 within, 1 between
    array([[2. , 1.5]])

    References:
        - Lakshminarayanan et al., [Simple and Scalable Predictive Uncertainty Estimation using Deep
          Ensembles](https://arxiv.org/abs/1612.01474)
    """
    means, _ = _parts(members)
    return ops.concatenate([combine(means, weights), total_variance(members, weights)], axis=-1)


def total_variance(members: Tensor, weights: Tensor | None = None) -> Tensor:
    """Variance of the members' mixture: aleatoric plus epistemic variance.

    Args:
        members: Means and variances, `[M, B, ..., 2D]`.
        weights: `[M]`. Defaults to equal weights.

    Returns:
        `[B, ..., D]`.

    Example:
    >>> import numpy as np
    >>> total_variance(np.array([[[1.0, 0.5]], [[3.0, 0.5]]])).numpy()
    array([[1.5]])
    """
    return aleatoric_variance(members, weights) + epistemic_variance(members, weights)


def aleatoric_variance(members: Tensor, weights: Tensor | None = None) -> Tensor:
    """Aleatoric variance: the mean of the members' variances, which estimates the noise of the data.

    Args:
        members: Means and variances, `[M, B, ..., 2D]`.
        weights: `[M]`. Defaults to equal weights.

    Returns:
        `[B, ..., D]`.

    Example:
    >>> import numpy as np
    >>> aleatoric_variance(np.array([[[1.0, 0.5]], [[3.0, 0.5]]])).numpy()
    array([[0.5]])
    """
    return combine(_parts(members)[1], weights)


def epistemic_variance(members: Tensor, weights: Tensor | None = None) -> Tensor:
    """Epistemic variance: the variance of the members' means.

    Args:
        members: Means and variances, `[M, B, ..., 2D]`.
        weights: `[M]`. Defaults to equal weights.

    Returns:
        `[B, ..., D]`.

    Example:
    >>> import numpy as np
    >>> epistemic_variance(np.array([[[1.0, 0.5]], [[3.0, 0.5]]])).numpy()
    array([[1.]])
    """
    return variance(_parts(members)[0], weights)


def prediction_interval(members: Tensor, weights: Tensor | None = None, coverage: float = 0.9) -> Tensor:
    """Central interval with a probability of `coverage` under the members' mixture, between two of its quantiles.

    Args:
        members: Means and variances, `[M, B, ..., 2D]`.
        weights: `[M]`. Defaults to equal weights.
        coverage: In (0, 1).

    Returns:
        Lower and upper bounds, `[B, ..., D, 2]`.

    Raises:
        ValueError: If the coverage is not in (0, 1).

    Example:
    >>> import numpy as np
    >>> prediction_interval(np.array([[[0.0, 1.0]]]), coverage=0.95).numpy().round(2).squeeze()
    array([-1.96,  1.96])
    """
    if not 0 < coverage < 1:
        raise ValueError(f"`coverage` must be in (0, 1). Received: coverage={coverage}")
    means, variances = _parts(members)
    scales = ops.sqrt(variances)
    weights = normalized_weights(weights, means)
    ends = [_quantile(means, scales, weights, (1 + side * coverage) / 2) for side in (-1, 1)]
    return ops.stack(ends, axis=-1)


def _quantile(means: Tensor, scales: Tensor, weights: Tensor, level: float) -> Tensor:
    """Quantile of the mixture at `level`, by bisection between the extremes of the members."""
    reach = 10 * scales
    lower, upper = ops.min(means - reach, axis=0), ops.max(means + reach, axis=0)
    for _ in range(HALVINGS):
        middle = (lower + upper) / 2
        below = ops.sum(weights * (1 + ops.erf((middle - means) / (scales * math.sqrt(2)))) / 2, axis=0)
        lower, upper = ops.where(below < level, middle, lower), ops.where(below < level, upper, middle)
    return (lower + upper) / 2


def _parts(members: Tensor) -> tuple[Any, Any]:
    """Returns means and variances, `[M, B, ..., D]` each."""
    checked = checked_members(members)
    if checked.shape[-1] % 2:
        raise ValueError(
            "The last axis must have as many variances as means, so its size must be even. "
            f"Received: shape={tuple(checked.shape)}"
        )
    if isinstance(members, np.ndarray) and np.min(np.split(members, 2, axis=-1)[1]) < 0:
        raise ValueError("Variances, the second half of the last axis, must be at least 0. Received: negative ones")
    means, variances = ops.split(checked, 2, axis=-1)
    return means, variances
