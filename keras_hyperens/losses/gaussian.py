"""The loss of a network that predicts a Gaussian."""

import math
from typing import Any

import keras
from keras import ops

from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class GaussianNegativeLogLikelihood(keras.losses.Loss):
    """Minus the log density of targets under Gaussians: `(y - m)² / (2 s²) + ln s + ln(2 pi) / 2`, mean over D.

    An ensemble that is compiled with it predicts D means and D variances: those of the members' mixture.

    Args:
        reduction, name, dtype: As in every Keras loss.

    Input shape:
        `y_true`: targets `(B, ..., D)`. `y_pred`: a network's raw output `(B, ..., 2 * D)`: the means m, then the
        natural logarithms of the standard deviations s.

    Raises:
        ValueError: If the outputs are not twice as many as the targets.

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
    """Targets `(B, ..., D)`, also from `(B, ...)` if D is 1."""
    if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 2:
        y_true = ops.expand_dims(y_true, -1)
    if len(y_true.shape) != len(y_pred.shape) or 2 * y_true.shape[-1] != y_pred.shape[-1]:
        raise ValueError(
            "For targets (B, ..., D) the outputs must be (B, ..., 2 * D): means, then logarithms of standard "
            f"deviations. Received: shapes {tuple(y_true.shape)} and {tuple(y_pred.shape)}"
        )
    return y_true
