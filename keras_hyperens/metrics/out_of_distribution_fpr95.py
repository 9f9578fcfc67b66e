"""False-positive rate of out-of-distribution detection at 95 % true-positive rate."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.metrics.out_of_distribution import OutOfDistributionMetric
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class OutOfDistributionFPR95(OutOfDistributionMetric):
    """False-positive rate at a true-positive rate of 95 % for out-of-distribution samples. Lower is better.

    Out-of-distribution samples are positive. The threshold is the highest score that detects at least 95 % of them.

    Signed scores are counted in ordered bins 0.27 % wide, from 2^-64 (smaller magnitudes count as 0) to 2^32 (larger
    ones count as equal). Samples in one bin have the same threshold. For scores from two Gaussians the result was
    within 0.001 of the result with sorted samples, from 150 samples on. Subtract a large constant from scores first.
    The result is NaN until there are samples of both kinds.

    Args:
        measure: Score of a sample: name of a measure of `keras_hyperens.uncertainty`, or a callable that maps
            predictions `[M, B, C]` to one score per sample, higher for out-of-distribution samples. For
            `"max_probability"` and `"margin"`, which measure confidence, the score is 1 minus the measure, without
            rounding near 1. With `None`, predictions are scores. Defaults to `"predictive_entropy"`.
        ood_class: The label of out-of-distribution samples. Defaults to -1.
        name: Name of the metric.
        from_logits: Whether predictions are logits. Defaults to `False`.

    Input shape:
        `y_true`: classes `(batch_size,)` or `(batch_size, 1)`; with predictions of all members `[M, B]` or `[M, B, 1]`.
        `y_pred`: predictions `(batch_size, C)`; in `member_metrics` the predictions of all members `[M, B, C]`, which
        measures of their differences require; with `measure=None`, scores `(batch_size,)` or
        `(batch_size, 1)`.

    Raises:
        ValueError: If the measure is unknown, shapes do not match, or values are not classes or not probabilities.

    Example:
    >>> metric = OutOfDistributionFPR95(measure=None)
    >>> metric.update_state([0, 0, -1, -1], [0.1, 0.4, 0.3, 0.8])  # one of two in-distribution samples is positive
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
