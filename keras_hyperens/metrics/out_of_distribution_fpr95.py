"""False-positive rate of out-of-distribution detection at 95 % true-positive rate."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.metrics.out_of_distribution import OutOfDistributionMetric
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class OutOfDistributionFPR95(OutOfDistributionMetric):
    """Share of the rows in distribution that are flagged when 95 % of those out of distribution are. Lower is better.

    Rows out of distribution are positive. The threshold is the highest score that flags at least 95 % of them.

    Scores of either sign are counted in ordered bins 0.27 % wide, from 2^-64 (smaller ones count as 0) to 2^32 (larger
    ones count as equal). Rows in one bin are flagged together. On scores from two Gaussians the result was within 0.001
    of that of sorted rows, from 150 rows on. Of scores around a large constant, take the constant off first. The result
    is not a number until rows of both kinds were seen.

    Args:
        measure: How a row is scored: a measure of `keras_hyperens.uncertainty` by name, or a callable that takes
            predictions `[M, B, C]` and gives a score per row, higher where the row is more likely out of distribution.
            Of `"max_probability"` and `"margin"`, which are higher where a model is surer, it takes 1 minus the
            measure, without rounding near 1. With `None`, predictions are scores. Default `"predictive_entropy"`.
        ood_class: The label of the rows that are out of distribution. Default -1.
        name: Name of the metric.
        from_logits: Whether predictions are logits. Default `False`.

    Input shape:
        `y_true`: classes `(batch_size,)` or `(batch_size, 1)`; with predictions of all members `[M, B]` or `[M, B, 1]`.
        `y_pred`: predictions `(batch_size, C)`; as one of the `member_metrics` the predictions of all members
        `[M, B, C]`, which measures of their differences need; with `measure=None`, scores `(batch_size,)` or
        `(batch_size, 1)`.

    Raises:
        ValueError: If the measure is not known, shapes do not fit, or values are no classes or no probabilities.

    Example:
    >>> metric = OutOfDistributionFPR95(measure=None)
    >>> metric.update_state([0, 0, -1, -1], [0.1, 0.4, 0.3, 0.8])  # flagging both flags one of the others
    >>> round(float(metric.result()), 4)
    0.5

    References:
        - Liang et al., [Enhancing The Reliability of Out-of-distribution Image Detection in Neural
          Networks](https://arxiv.org/abs/1706.02690)
    """

    _direction = "down"  # for `mode="auto"` of callbacks

    def __init__(
        self, measure: Any = "predictive_entropy", ood_class: int = -1, name: str = "ood_fpr95", **kwargs: Any
    ) -> None:
        super().__init__(measure, ood_class, name, **kwargs)

    def _of_bins(self, inside: Tensor, outside: Tensor) -> Tensor:
        flagged = ops.cumsum(outside)
        rounding = 1e-6
        enough = flagged >= (0.95 - rounding) * ops.sum(outside)
        threshold = ops.argmax(ops.cast(enough, "int32"))
        return ops.take(ops.cumsum(inside), threshold) / ops.sum(inside)
