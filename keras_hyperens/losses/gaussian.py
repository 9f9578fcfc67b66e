"""Negative log-likelihood of a Gaussian with predicted mean and standard deviation."""

import math
from typing import Any

import keras
from keras import ops

from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class GaussianNegativeLogLikelihood(keras.losses.Loss):
    """Negative log-density of targets under Gaussians: `(y - m)² / (2 s²) + ln s + ln(2 pi) / 2`, mean over D.

    An ensemble compiled with this loss predicts D means and D variances, those of the mixture of its members.

    Args:
        reduction, name, dtype: As in every Keras loss.

    Input shape:
        `y_true`: targets `(B, ..., D)`. `y_pred`: raw output of a network `(B, ..., 2 * D)`: the means m, followed by
        the natural logarithms of the standard deviations s.

    Raises:
        ValueError: If the number of outputs is not twice the number of targets.

    Example:
    >>> import numpy as np
    >>> loss = GaussianNegativeLogLikelihood()
    >>> round(float(loss(np.array([[1.0]]), np.array([[1.0, 0.0]]))), 4)  # ln(2 pi) / 2
    0.9189

    References:
        - Nix and Weigend, Estimating the Mean and Variance of the Target Probability Distribution, 1994
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "gaussian_negative_log_likelihood",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        y_true = _like_outputs(y_true, y_pred)
        means, log_scales = ops.split(y_pred, 2, axis=-1)
        errors = ops.square((y_true - means) * ops.exp(-log_scales)) / 2
        return ops.mean(errors + log_scales + math.log(2 * math.pi) / 2, axis=-1)


def _like_outputs(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Returns targets `(B, ..., D)`, also from `(B, ...)` if D is 1."""
    if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 2:
        y_true = ops.expand_dims(y_true, -1)
    if len(y_true.shape) != len(y_pred.shape) or 2 * y_true.shape[-1] != y_pred.shape[-1]:
        raise ValueError(
            "For targets (B, ..., D) the outputs must be (B, ..., 2 * D): means, then logarithms of standard "
            f"deviations. Received: shapes {tuple(y_true.shape)} and {tuple(y_pred.shape)}"
        )
    return y_true
