"""Negative log-likelihood of classes."""

from typing import Any

import keras

from keras_hyperens.metrics.classes import probability_of_truth
from keras_hyperens.metrics.mean_over_rows import MeanOverRows
from keras_hyperens.uncertainty.entropy import logarithm


@keras.saving.register_keras_serializable("keras_hyperens")
class NegativeLogLikelihood(MeanOverRows):
    """How surprising the labels are, in nats: the mean of `-ln p_y` over rows, p_y the probability of the label.

    A probability below 1e-28 counts as 1e-28, so one row costs at most 64.5. (The losses of Keras stop at 1e-7, or
    16.1.)

    Args:
        name: Name of the metric.

    Input shape:
        `y_true`: classes `(batch_size, ...)` or `(batch_size, ..., 1)`, or one-hot `(batch_size, ..., C)`.
        `y_pred`: probabilities `(batch_size, ..., C)`; with C = 1 the probability of class 1.

    Raises:
        ValueError: If shapes do not fit, or values are no classes or no probabilities.

    Example:
    >>> import numpy as np
    >>> metric = NegativeLogLikelihood()
    >>> metric.update_state([0, 1], np.array([[0.5, 0.5], [0.75, 0.25]]))
    >>> round(float(metric.result()), 4)  # (ln 2 + ln 4) / 2
    1.0397

    References:
        - Gneiting and Raftery, [Strictly Proper Scoring Rules, Prediction, and
          Estimation](https://doi.org/10.1198/016214506000001437)
    """

    def __init__(self, name: str = "nll", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def row_values(self, y_true: Any, y_pred: Any) -> Any:
        return -logarithm(probability_of_truth(y_true, y_pred, self.dtype))
