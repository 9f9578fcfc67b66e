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
    """How surprising the labels are, in nats: the mean of `-ln p_y` over rows, p_y the probability of the label.

    A probability below 1e-28 counts as 1e-28, so one row costs at most 64.5. (The losses of Keras stop at 1e-7, or
    16.1.)

    Args:
        name: Name of the metric.
        from_logits: Whether predictions are logits. Default `False`.
        multi_label: Whether the C outputs of a row are probabilities of C labels, each of which counts as a row of two
            classes. Default: no; an ensemble with such outputs says so itself.
        ignore_class: A label whose rows do not count. Default: none; an ensemble whose loss has one says so itself.

    Input shape:
        `y_true`: classes `(batch_size, ...)` or `(batch_size, ..., 1)`, or one-hot or soft `(batch_size, ..., C)`.
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

    _direction = "down"  # for `mode="auto"` of callbacks

    def __init__(self, name: str = "nll", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def _row_values(self, rows: ClassRows) -> Tensor:
        return -ops.sum(rows.truth * logarithm(rows.probabilities), axis=-1)
