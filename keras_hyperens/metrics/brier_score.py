"""Brier score."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.metrics.classes import ClassRows
from keras_hyperens.metrics.mean_over_rows import MeanOverClassRows
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class BrierScore(MeanOverClassRows):
    """Brier score: mean squared distance between probabilities and labels, `sum_c (p_c - [c = y])²`.

    It is between 0 and 2. With two classes it is twice the score of class 1.

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
