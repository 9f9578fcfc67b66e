"""Metrics that refuse values which they cannot take, in every mode.

NumPy arrays are looked at when they come. Inside a graph nothing can be looked at: there wrong rows are counted, the
result is not a number, and asking for it outside the graph, as Keras does after every epoch, raises.
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
    """A metric that counts rows which it cannot take. Abstract: a subclass says what their values must be.

    Args:
        name: Name of the metric.
        dtype: Of the sums. Half precision cannot count rows, so its sums are in float32.
    """

    _expected = ("", "")  # what predictions and labels must be, and what to do

    def __init__(self, name: str, dtype: Any = None, **kwargs: Any) -> None:
        dtype = keras.dtype_policies.get(dtype or keras.config.floatx()).compute_dtype
        super().__init__(name=name, dtype="float32" if dtype in ("float16", "bfloat16") else dtype, **kwargs)
        self.refused = self.add_variable((2,), "zeros", name="refused")  # rows of wrong predictions, of wrong labels

    def add_variable(self, shape: Shape, initializer: Any, dtype: Any = None, **keywords: Any) -> keras.Variable:
        return super().add_variable(shape, initializer, dtype or self.dtype, **keywords)

    def _value(self) -> Tensor:
        """The metric of all rows so far."""
        raise NotImplementedError

    def result(self) -> Tensor:
        refused = ops.convert_to_tensor(self.refused) + 0.0  # read: inside a graph a variable passes for known
        if is_known(refused):
            for number, expected in zip(np.asarray(refused), self._expected, strict=True):
                if number > 0:
                    raise ValueError(f"{expected}. Received: {number:.0f} rows with other values in {self.name!r}")
        return ops.where(ops.any(refused > 0), float("nan"), self._value())


class ClassMetric(CheckedMetric):
    """A metric of probabilities of classes. Abstract.

    Args:
        name: Name of the metric.
        from_logits: Whether predictions are logits.
        multi_label: Whether the C outputs of a row are probabilities of C labels of their own: each counts as a row of
            two classes. Default: no, unless an ensemble whose outputs are such says so when it is compiled.
        ignore_class: A label whose rows do not count, or `None`: unless an ensemble whose loss has one says so.
    """

    _expected = (
        "`y_pred` must be probabilities that sum to 1 over the last axis, or one of class 1; of logits make the metric "
        "with `from_logits=True`, of several labels of one row with `multi_label=True`",
        "`y_true` must be classes in [0, C), or one-hot or soft labels that sum to 1; for several labels of one row "
        "make the metric with `multi_label=True`, for a label that does not count with `ignore_class`",
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
        """Rows in one form; those that must be refused are counted."""
        rows = class_rows(y_true, y_pred, sample_weight, self.dtype, self._form, has_labels)
        self.refused.assign_add(rows.refused)
        return rows

    def _tell(self, multi_label: bool | None = None, ignore_class: int | None = None) -> None:
        """Takes from an ensemble what the user has not said."""
        self.multi_label = multi_label if self.multi_label is None else self.multi_label
        self.ignore_class = ignore_class if self.ignore_class is None else self.ignore_class

    def get_config(self) -> dict[str, Any]:
        own = {"from_logits": self.from_logits, "multi_label": self.multi_label, "ignore_class": self.ignore_class}
        return {**super().get_config(), **own}
