"""Metrics that are the mean of one value per sample."""

from typing import Any

from keras import ops

from keras_hyperens.metrics.checked import CheckedMetric
from keras_hyperens.metrics.checked import ClassMetric
from keras_hyperens.metrics.checks import check_members
from keras_hyperens.metrics.classes import ClassRows
from keras_hyperens.types import Tensor


class MeanOverRows(CheckedMetric):
    """Weighted mean of one value per sample. Abstract: a subclass defines the value."""

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.total = self.add_variable((), "zeros", name="total")
        self.count = self.add_variable((), "zeros", name="count")

    def _add(self, values: Tensor, weight: Tensor) -> None:
        """Adds samples `[B, ...]`; samples of weight 0 are ignored, whatever their value."""
        self.total.assign_add(ops.sum(ops.where(weight > 0, values * weight, 0.0)))
        self.count.assign_add(ops.sum(weight))

    def _value(self) -> Tensor:
        return ops.divide_no_nan(self.total, self.count)


class MeanOverClassRows(ClassMetric, MeanOverRows):
    """Weighted mean of one value per sample of probabilities. Abstract: a subclass defines the value."""

    _has_labels = True
    _needs_members = False

    def _row_values(self, rows: ClassRows) -> Tensor:
        """Returns the value of each sample, `[B, ...]`."""
        raise NotImplementedError

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        if self._needs_members:
            check_members(y_pred)
        rows = self._rows(y_true, y_pred, sample_weight, self._has_labels)
        self._add(self._row_values(rows), rows.weight)


def for_every_member(values: Tensor, members: Tensor) -> Tensor:
    """Repeats values `[B, ...]` as `[M, B, ...]`, which keeps the mean and lets weights have the axes of the labels."""
    return ops.expand_dims(values, 0) + ops.zeros_like(members[..., 0])
