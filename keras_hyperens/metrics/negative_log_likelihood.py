"""Negative log-likelihood of classes."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.metrics.classes import ClassRows
from keras_hyperens.metrics.mean_over_rows import MeanOverClassRows
from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty.entropy import logarithm


@keras.saving.register_keras_serializable("keras_hyperens")
class NegativeLogLikelihood(MeanOverClassRows):
    """Negative log-likelihood of class labels, in nats: mean of `-ln p_y` over samples.

    p_y is the probability of the label, clipped at 1e-28, so the maximum per sample is 64.5. (Keras losses clip at
    1e-7, with a maximum of 16.1.)

    Args:
        name: Name of the metric.
        from_logits: Whether predictions are logits. Defaults to `False`.
        multi_label: Whether the C outputs of a sample are probabilities of C binary labels, each of which counts as a
            sample. Defaults to `False`; an ensemble with such outputs sets it.
        ignore_class: A label to ignore. Defaults to `None`; an ensemble whose loss has one sets it.

    Input shape:
        `y_true`: classes `(batch_size, ...)` or `(batch_size, ..., 1)`, or one-hot or soft `(batch_size, ..., C)`.
        `y_pred`: probabilities `(batch_size, ..., C)`; with C = 1 the probability of class 1.

    Raises:
        ValueError: If shapes do not match, or values are not classes or not probabilities.

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

    _direction = "down"  # for `mode="auto"` of callbacks

    def __init__(self, name: str = "nll", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def _row_values(self, rows: ClassRows) -> Tensor:
        return -ops.sum(rows.truth * logarithm(rows.probabilities), axis=-1)
