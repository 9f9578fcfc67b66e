"""Area under the precision-recall curve of out-of-distribution detection."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.metrics.out_of_distribution import OutOfDistributionMetric
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class OutOfDistributionAUPR(OutOfDistributionMetric):
    """Average precision of out-of-distribution detection, `sum_t (recall_t - recall_(t-1)) precision_t`.

    Thresholds t are the scores in descending order; out-of-distribution samples are positive. The chance level is their
    fraction of the samples.

    Signed scores are counted in ordered bins 0.27 % wide, from 2^-64 (smaller magnitudes count as 0) to 2^32 (larger
    ones count as equal). Samples in one bin have the same threshold. For scores from two Gaussians the result was
    within 0.006 of the result with sorted samples for 150 samples, and 0.0006 for 1,500. Subtract a large constant from
    scores first. The result is NaN until there are samples of both kinds.

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
    >>> metric = OutOfDistributionAUPR(measure=None)
    >>> metric.update_state([0, 0, -1, -1], [0.1, 0.4, 0.3, 0.8])  # precision 1, then 2 / 3
    >>> round(float(metric.result()), 4)
    0.8333

    References:
        - Hendrycks and Gimpel, [A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural
          Networks](https://arxiv.org/abs/1610.02136)
    """

    _direction = "up"  # for `mode="auto"` of callbacks

    def __init__(
        self, measure: Any = "predictive_entropy", ood_class: int = -1, name: str = "ood_aupr", **kwargs: Any
    ) -> None:
        super().__init__(measure, ood_class, name, **kwargs)

    def _of_bins(self, inside: Tensor, outside: Tensor) -> Tensor:
        flagged = ops.cumsum(outside)
        precision = ops.divide_no_nan(flagged, flagged + ops.cumsum(inside))
        return ops.sum(outside / ops.sum(outside) * precision)
