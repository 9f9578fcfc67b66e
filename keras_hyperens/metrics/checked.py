"""Metrics that reject invalid values in every mode.

NumPy arrays are checked immediately. Inside a graph values cannot be checked: invalid samples are counted and the
result is NaN, and reading the result outside of the graph, as Keras does after every epoch, raises an error.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.metrics.checks import is_known
from keras_hyperens.metrics.classes import ClassRows
from keras_hyperens.metrics.classes import Form
from keras_hyperens.metrics.classes import class_rows
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor


class CheckedMetric(keras.metrics.Metric):
    """Metric that counts invalid samples. Abstract: a subclass defines which values are valid.

    Args:
        name: Name of the metric.
        dtype: Type of the sums. Sums are in float32 instead of half precision, which cannot count samples.
    """

    _expected = ("", "")  # valid predictions and labels, and the solution

    def __init__(self, name: str, dtype: Any = None, **kwargs: Any) -> None:
        dtype = keras.dtype_policies.get(dtype or keras.config.floatx()).compute_dtype
        super().__init__(name=name, dtype="float32" if dtype in ("float16", "bfloat16") else dtype, **kwargs)
        self.refused = self.add_variable((2,), "zeros", name="refused")  # samples with invalid predictions, labels

    def add_variable(self, shape: Shape, initializer: Any, dtype: Any = None, **keywords: Any) -> keras.Variable:
        return super().add_variable(shape, initializer, dtype or self.dtype, **keywords)

    def _value(self) -> Tensor:
        """Returns the metric of all samples so far."""
        raise NotImplementedError

    def result(self) -> Tensor:
        refused = ops.convert_to_tensor(self.refused) + 0.0  # a tensor: inside a graph a variable counts as known
        if is_known(refused):
            for number, expected in zip(np.asarray(refused), self._expected, strict=True):
                if number > 0:
                    raise ValueError(f"{expected}. Received: {number:.0f} samples with other values in {self.name!r}")
        return ops.where(ops.any(refused > 0), float("nan"), self._value())


class ClassMetric(CheckedMetric):
    """Metric of class probabilities. Abstract.

    Args:
        name: Name of the metric.
        from_logits: Whether predictions are logits.
        multi_label: Whether the C outputs of a sample are probabilities of C binary labels, each of which counts as a
            sample. Defaults to `False`; an ensemble with such outputs sets it in `compile`.
        ignore_class: A label to ignore, or `None`; an ensemble whose loss has one sets it.
    """

    _expected = (
        "`y_pred` must be probabilities that sum to 1 over the last axis, or that of class 1; for logits create the "
        "metric with `from_logits=True`, for several labels per sample with `multi_label=True`",
        "`y_true` must be classes in [0, C), or one-hot or soft labels that sum to 1; for several labels per sample "
        "create the metric with `multi_label=True`, for an ignored label with `ignore_class`",
    )

    def __init__(
        self,
        name: str,
        from_logits: bool = False,
        multi_label: bool | None = None,
        ignore_class: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.from_logits = from_logits
        self.multi_label = multi_label
        self.ignore_class = ignore_class

    @property
    def _form(self) -> Form:
        return Form(self.from_logits, bool(self.multi_label), self.ignore_class)

    def _rows(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor, has_labels: bool = True) -> ClassRows:
        """Returns samples in a common form; counts invalid samples."""
        rows = class_rows(y_true, y_pred, sample_weight, self.dtype, self._form, has_labels)
        self.refused.assign_add(rows.refused)
        return rows

    def _tell(self, multi_label: bool | None = None, ignore_class: int | None = None) -> None:
        """Sets options from an ensemble that the user has not set."""
        self.multi_label = multi_label if self.multi_label is None else self.multi_label
        self.ignore_class = ignore_class if self.ignore_class is None else self.ignore_class

    def get_config(self) -> dict[str, Any]:
        own = {"from_logits": self.from_logits, "multi_label": self.multi_label, "ignore_class": self.ignore_class}
        return {**super().get_config(), **own}
