"""Negative log-likelihood of Gaussian predictions."""

import math
from typing import Any

import keras
from keras import ops

from keras_hyperens.metrics.gaussians import MeanOverGaussians
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens.metrics")  # a loss has the same name
class GaussianNegativeLogLikelihood(MeanOverGaussians):
    """Negative log-likelihood of Gaussians, in nats: `(ln 2πv + (y - m)² / v) / 2`, mean over samples and values.

    Each label y has a Gaussian with mean m and variance v. The D values of a sample count as independent and are
    averaged; D times the result is the value per sample. Variances are clipped at 1e-28.

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
    >>> metric = GaussianNegativeLogLikelihood()
    >>> metric.update_state(np.array([1.0]), np.array([[0.0, 1.0]]))  # (ln 2π + 1) / 2
    >>> round(float(metric.result()), 4)
    1.4189

    References:
        - Gneiting and Raftery, [Strictly Proper Scoring Rules, Prediction, and
          Estimation](https://doi.org/10.1198/016214506000001437)
    """

    _direction = "down"  # for `mode="auto"` of callbacks

    def __init__(self, name: str = "gaussian_nll", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def _row_values(self, residuals: Tensor, scales: Tensor) -> Tensor:
        surprise = ops.log(scales) + ops.square(residuals / scales) / 2 + math.log(2 * math.pi) / 2
        return ops.mean(surprise, axis=-1)
