"""Area under the risk-coverage curve."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.metrics.confidence_histogram import ConfidenceHistogram
from keras_hyperens.types import Tensor

EXACT = 6  # terms of the harmonic series that are summed before the expansion, whose error is then below 4e-6


@keras.saving.register_keras_serializable("keras_hyperens")
class AreaUnderRiskCoverage(ConfidenceHistogram):
    """Area under the risk-coverage curve: mean error rate among the n most confident samples, `mean_n errors_n / n`.

    `errors_n` is the number of errors among the n samples with the largest probability, for n from 1 to all. Lower is
    better: 0 without errors, and low if errors have low confidence.

    Samples are sorted into fine bins of confidence, at most 0.27 % of `1 - confidence` wide. Samples in one bin count
    as equally confident, and the result is the mean over all their orders. It was within 0.003 of the result with
    sorted samples for 100 samples, 0.0003 for 1,000 and 0.00006 for 10,000.

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
    >>> metric = AreaUnderRiskCoverage()
    >>> metric.update_state([0, 1], np.array([[0.9, 0.1], [0.8, 0.2]]))  # error rates 0 / 1 and 1 / 2
    >>> round(float(metric.result()), 4)
    0.25

    References:
        - Geifman et al., [Bias-Reduced Uncertainty Estimation for Deep Neural
          Classifiers](https://arxiv.org/abs/1805.08206)
    """

    _direction = "down"  # for `mode="auto"` of callbacks

    def __init__(self, name: str = "aurc", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def _value(self) -> Tensor:
        rows = ops.convert_to_tensor(self.sums["weight"])
        errors = rows - self.sums["correct"]
        rows_before, errors_before = ops.cumsum(rows) - rows, ops.cumsum(errors) - errors
        rate = ops.divide_no_nan(errors, rows)
        # In a bin, sum_j (errors_before + j rate) / (rows_before + j), for j from 1 to its number of samples.
        risks = rate * rows + (errors_before - rate * rows_before) * _harmonic(rows_before, rows)
        return ops.divide_no_nan(ops.sum(risks), ops.sum(rows))


def _harmonic(start: Tensor, number: Tensor) -> Tensor:
    """`1 / (start + 1) + ... + 1 / (start + number)`, by the digamma function, also for non-integers."""
    exact = sum(number / ((start + k) * (start + number + k)) for k in range(1, EXACT + 1))
    first, last = start + EXACT + 0.5, start + number + EXACT + 0.5
    return exact + ops.log1p(number / first) + (1 / ops.square(last) - 1 / ops.square(first)) / 24
