"""Brier score."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.metrics.classes import one_hot
from keras_hyperens.metrics.classes import probabilities
from keras_hyperens.metrics.mean_over_rows import MeanOverRows


@keras.saving.register_keras_serializable("keras_hyperens")
class BrierScore(MeanOverRows):
    """Squared distance of probabilities from the truth: the mean over rows of `sum_c (p_c - [c = y])²`.

    It is between 0 and 2. With two classes it is twice the score of class 1 alone.

    Args:
        name: Name of the metric.

    Input shape:
        `y_true`: classes `(batch_size, ...)` or `(batch_size, ..., 1)`, or one-hot `(batch_size, ..., C)`.
        `y_pred`: probabilities `(batch_size, ..., C)`; with C = 1 the probability of class 1.

    Raises:
        ValueError: If shapes do not fit, or values are no classes or no probabilities.

    Example:
    >>> import numpy as np
    >>> metric = BrierScore()
    >>> metric.update_state([0, 1], np.array([[1.0, 0.0], [0.5, 0.5]]))  # 0 and 0.25 + 0.25
    >>> float(metric.result())
    0.25

    References:
        - Brier, [Verification of Forecasts Expressed in Terms of
          Probability](https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2)
    """

    def __init__(self, name: str = "brier", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def row_values(self, y_true: Any, y_pred: Any) -> Any:
        y_pred = probabilities(y_pred, self.dtype)
        return ops.sum(ops.square(y_pred - one_hot(y_true, y_pred)), axis=-1)
