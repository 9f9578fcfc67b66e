"""Adaptive calibration error."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.metrics.checks import check_num_bins
from keras_hyperens.metrics.confidence_histogram import ConfidenceHistogram
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class AdaptiveCalibrationError(ConfidenceHistogram):
    """How far confidence is from accuracy, `mean_b |accuracy_b - confidence_b|` over groups of equally many rows.

    Confidence is the largest probability of a row; the groups follow its order over all rows seen. Bins of equal width
    (`ExpectedCalibrationError`) leave most bins nearly empty where a network is nearly always sure.

    Rows are sorted into fine bins of confidence, at most 0.27 % of `1 - confidence` wide. A bin that two groups share
    is divided between them in proportion, and so are rows of the same confidence; everything else is exact. The
    result was within 0.02 of that of sorted rows for 100 rows, 0.003 for 1,000 and 0.0006 for 10,000.

    Args:
        num_bins: Number of groups. Default 15.
        name: Name of the metric.
        from_logits: Whether predictions are logits. Default `False`.
        multi_label: Whether the C outputs of a row are probabilities of C labels, each of which counts as a row of two
            classes. Default: no; an ensemble with such outputs says so itself.
        ignore_class: A label whose rows do not count. Default: none; an ensemble whose loss has one says so itself.

    Input shape:
        `y_true`: classes `(batch_size, ...)` or `(batch_size, ..., 1)`, or one-hot or soft `(batch_size, ..., C)`.
        `y_pred`: probabilities `(batch_size, ..., C)`; with C = 1 the probability of class 1.

    Raises:
        ValueError: If `num_bins` is no integer in [1, 1000000], shapes do not fit, or values are no classes or no
            probabilities.

    Example:
    >>> import numpy as np
    >>> metric = AdaptiveCalibrationError(num_bins=2)
    >>> metric.update_state([0, 1], np.array([[0.9, 0.1], [0.8, 0.2]]))  # gaps of 0.1 and 0.8, one row each
    >>> round(float(metric.result()), 4)
    0.45

    References:
        - Nixon et al., [Measuring Calibration in Deep Learning](https://arxiv.org/abs/1904.01685)
    """

    _direction = "down"  # for `mode="auto"` of callbacks

    def __init__(self, num_bins: int = 15, name: str = "ace", **kwargs: Any) -> None:
        check_num_bins(num_bins)
        super().__init__(name=name, **kwargs)
        self.num_bins = num_bins

    def _value(self) -> Tensor:
        total = ops.sum(self.sums["weight"])
        ends = total * np.linspace(0, 1, self.num_bins + 1, dtype=self.dtype)
        gaps = self._sum_of_most_confident(self.sums["correct"] - self.sums["confidence"], ends)
        return ops.divide_no_nan(ops.sum(ops.abs(gaps[1:] - gaps[:-1])), total)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bins": self.num_bins}
