"""Brier score."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.metrics.classes import ClassRows
from keras_hyperens.metrics.mean_over_rows import MeanOverClassRows
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class BrierScore(MeanOverClassRows):
    """Squared distance of probabilities from the truth: the mean over rows of `sum_c (p_c - [c = y])²`.

    It is between 0 and 2. With two classes it is twice the score of class 1 alone.

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
    >>> metric = BrierScore()
    >>> metric.update_state([0, 1], np.array([[1.0, 0.0], [0.5, 0.5]]))  # 0 and 0.25 + 0.25
    >>> float(metric.result())
    0.25

    References:
        - Brier, [Verification of Forecasts Expressed in Terms of
          Probability](https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2)
    """

    _direction = "down"  # for `mode="auto"` of callbacks

    def __init__(self, name: str = "brier", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def _row_values(self, rows: ClassRows) -> Tensor:
        return ops.sum(ops.square(rows.probabilities - rows.truth), axis=-1)
