"""Expected calibration error."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.metrics.checked import ClassMetric
from keras_hyperens.metrics.checks import check_num_bins
from keras_hyperens.metrics.checks import spoiled
from keras_hyperens.metrics.confidence import confident_rows
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class ExpectedCalibrationError(ClassMetric):
    """Expected calibration error: `sum_b (n_b / n) |accuracy_b - confidence_b|` over bins of confidence.

    Confidence is the largest probability of a sample; bins have equal width over [0, 1]. Shapes are static, so the
    metric works under XLA.

    Args:
        num_bins: Number of bins. Defaults to 15, as in the literature.
        name: Name of the metric.
        from_logits: Whether predictions are logits. Defaults to `False`.
        multi_label: Whether the C outputs of a sample are probabilities of C binary labels, each of which counts as a
            sample. Defaults to `False`; an ensemble with such outputs sets it.
        ignore_class: A label to ignore. Defaults to `None`; an ensemble whose loss has one sets it.

    Input shape:
        `y_true`: classes `(batch_size, ...)` or `(batch_size, ..., 1)`, or one-hot or soft `(batch_size, ..., C)`.
        `y_pred`: probabilities `(batch_size, ..., C)`; with C = 1 the probability of class 1.

    Raises:
        ValueError: If `num_bins` is not an integer in [1, 1000000], shapes do not match, or values are not classes or
            not probabilities.

    Example:
    >>> import numpy as np
    >>> metric = ExpectedCalibrationError()
    >>> metric.update_state([0, 1], np.array([[0.8, 0.2], [0.8, 0.2]]))  # confidence 0.8, accuracy 0.5
    >>> round(float(metric.result()), 4)
    0.3

    References:
        - Guo et al., [On Calibration of Modern Neural Networks](https://arxiv.org/abs/1706.04599)
    """

    _direction = "down"  # for `mode="auto"` of callbacks

    def __init__(self, num_bins: int = 15, name: str = "ece", **kwargs: Any) -> None:
        check_num_bins(num_bins)
        super().__init__(name=name, **kwargs)
        self.num_bins = num_bins
        self.sums = {
            name: self.add_variable((num_bins,), "zeros", name=name) for name in ("weight", "confidence", "correct")
        }

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        rows = confident_rows(self._rows(y_true, y_pred, sample_weight))
        bins = ops.clip(ops.cast(rows.confidence * self.num_bins, "int32"), 0, self.num_bins - 1)
        weight = spoiled(rows.weight, rows.confidence)
        for name, values in (("weight", 1.0), ("confidence", rows.confidence), ("correct", rows.correct)):
            self.sums[name].assign_add(ops.segment_sum(weight * values, bins, self.num_bins))

    def _value(self) -> Tensor:
        gaps = ops.abs(self.sums["correct"] - self.sums["confidence"])
        return ops.divide_no_nan(ops.sum(gaps), ops.sum(self.sums["weight"]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bins": self.num_bins}
