"""Continuous ranked probability score of Gaussian predictions."""

import math
from typing import Any

import keras
from keras import ops

from keras_hyperens.metrics.gaussians import MeanOverGaussians
from keras_hyperens.metrics.gaussians import density
from keras_hyperens.metrics.gaussians import distribution
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class ContinuousRankedProbabilityScore(MeanOverGaussians):
    """Continuous ranked probability score of Gaussians, `∫ (F(x) - [x ≥ y])² dx`, in the unit of y.

    For a Gaussian with mean m and standard deviation s, and z = (y - m) / s, it is
    `s (z (2Φ(z) - 1) + 2φ(z) - 1 / √π)`. Without variance it is the absolute error. The score is averaged over samples
    and the D values of a sample. Variances are clipped at 1e-28.

    Args:
        name: Name of the metric.
        from_log_scale: Whether predictions are means and logarithms of standard deviations (raw outputs of a network)
            instead of means and variances (predictions of an ensemble). Defaults to `False`.

    Input shape:
        `y_true`: labels `(batch_size, ..., D)`; with D = 1 the last axis is optional.
        `y_pred`: means and variances `(batch_size, ..., 2D)`.

    Raises:
        ValueError: If the last axis of predictions is odd, shapes do not match, or variances are negative.

    Example:
    >>> import numpy as np
    >>> metric = ContinuousRankedProbabilityScore()
    >>> metric.update_state(np.array([1.0]), np.array([[0.0, 1.0]]))
    >>> round(float(metric.result()), 4)
    0.6024

    References:
        - Gneiting and Raftery, [Strictly Proper Scoring Rules, Prediction, and
          Estimation](https://doi.org/10.1198/016214506000001437)
    """

    _direction = "down"  # for `mode="auto"` of callbacks

    def __init__(self, name: str = "crps", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def _row_values(self, residuals: Tensor, scales: Tensor) -> Tensor:
        standardized = residuals / scales
        spread = 2 * density(standardized) - 1 / math.sqrt(math.pi)
        return ops.mean(residuals * (2 * distribution(standardized) - 1) + scales * spread, axis=-1)
