"""Metrics of samples ordered by confidence."""

from typing import Any

from keras import ops

from keras_hyperens.metrics.checked import ClassMetric
from keras_hyperens.metrics.checks import spoiled
from keras_hyperens.metrics.confidence import confident_rows
from keras_hyperens.metrics.fine_bins import MAGNITUDES
from keras_hyperens.metrics.fine_bins import magnitude_bins
from keras_hyperens.types import Tensor


class ConfidenceHistogram(ClassMetric):
    """Sums of samples, correct samples and confidence in fine bins, most confident first. Abstract.

    Bins of doubt, 1 - confidence, are fine in relative terms (see `fine_bins`): near a confidence of 1 they are as fine
    as float32, and nowhere wider than 0.0027.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.sums = {
            name: self.add_variable((MAGNITUDES,), "zeros", name=name) for name in ("weight", "confidence", "correct")
        }

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        rows = confident_rows(self._rows(y_true, y_pred, sample_weight))
        bins = magnitude_bins(rows.doubt)
        weight = spoiled(rows.weight, rows.doubt)
        for name, values in (("weight", 1.0), ("confidence", rows.confidence), ("correct", rows.correct)):
            self.sums[name].assign_add(ops.segment_sum(weight * values, bins, MAGNITUDES))

    def _sum_of_most_confident(self, values: Tensor, weight: Tensor) -> Tensor:
        """Sums `values` `[bins]` over the most confident samples, up to each total weight `[n]`.

        The bin in which that weight is reached counts in part.
        """
        in_bin = ops.convert_to_tensor(self.sums["weight"])
        before = ops.cumsum(in_bin) - in_bin
        shares = ops.clip(ops.divide_no_nan(weight[:, None] - before, in_bin), 0.0, 1.0)  # [n, bins]
        return ops.sum(shares * values, axis=-1)
