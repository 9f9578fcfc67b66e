"""Metrics that are the mean of a value per row."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.metrics.checks import row_weights


class MeanOverRows(keras.metrics.Metric):
    """Weighted mean of a value per row. Abstract: a subclass says what the value is."""

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.total = self.add_variable((), "zeros", name="total")
        self.count = self.add_variable((), "zeros", name="count")

    def row_values(self, y_true: Any, y_pred: Any) -> Any:
        """The value of each row, `[B, ...]`, in the metric's `dtype`."""
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        values = self.row_values(y_true, y_pred)
        weights = row_weights(sample_weight, values)
        self.total.assign_add(ops.sum(values * weights))
        self.count.assign_add(ops.sum(weights))

    def result(self) -> Any:
        return ops.divide_no_nan(self.total, self.count)


def for_every_member(values: Any, members: Any) -> Any:
    """Values `[B, ...]` repeated as `[M, B, ...]`: the mean stays, and weights may have the axes of the labels."""
    return ops.expand_dims(values, 0) + ops.zeros_like(members[..., 0])
