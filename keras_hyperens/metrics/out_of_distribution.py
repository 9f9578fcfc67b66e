"""Metrics of out-of-distribution detection by a score."""

from typing import Any

from keras import ops

from keras_hyperens.metrics import measures
from keras_hyperens.metrics.checked import CheckedMetric
from keras_hyperens.metrics.checks import of_one_member
from keras_hyperens.metrics.checks import row_weights
from keras_hyperens.metrics.checks import spoiled
from keras_hyperens.metrics.classes import Form
from keras_hyperens.metrics.classes import complain
from keras_hyperens.metrics.classes import label_values
from keras_hyperens.metrics.classes import no_classes
from keras_hyperens.metrics.classes import refused_rows
from keras_hyperens.metrics.fine_bins import SIGNED
from keras_hyperens.metrics.fine_bins import signed_bins
from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty.checks import shape_of


class OutOfDistributionMetric(CheckedMetric):
    """In-distribution and out-of-distribution samples in fine bins of their score (see `fine_bins`). Abstract."""

    _expected = (
        "`y_pred` must be probabilities that sum to 1 over the last axis, or that of class 1; for logits create the "
        "metric with `from_logits=True`",
        "`y_true` must be classes, or `ood_class` for out-of-distribution samples",
    )

    def __init__(self, measure: Any, ood_class: int, name: str, from_logits: bool = False, **kwargs: Any) -> None:
        if not isinstance(ood_class, int):
            raise ValueError(f"`ood_class` must be an integer. Received: ood_class={ood_class!r}")
        measure = measures.checked_measure(measure)
        super().__init__(name=name, **kwargs)
        self.measure = measure
        self.ood_class = ood_class
        self.from_logits = from_logits
        self.inside = self.add_variable((SIGNED,), "zeros", name="inside")
        self.outside = self.add_variable((SIGNED,), "zeros", name="outside")

    def _of_bins(self, inside: Tensor, outside: Tensor) -> Tensor:
        """Returns the metric, from the weights of in- and out-of-distribution samples per bin, highest scores first."""
        raise NotImplementedError

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        form = Form(self.from_logits, ignore_class=self.ood_class)
        score, wrong_predictions = measures.scores(y_pred, self.measure, self.dtype, form)
        if self.measure is not None and len(shape_of(y_pred)) == 3:
            y_true, sample_weight = of_one_member(y_true, "y_true"), of_one_member(sample_weight, "sample_weight")
        number = max(shape_of(y_pred)[-1] or 0, 2) if self.measure in measures.OF_CLASSES else None
        labels = label_values(y_true, shape_of(score), None)
        is_outside = labels == self.ood_class
        wrong_labels = no_classes(labels, number) & ~is_outside
        weight = row_weights(sample_weight, score)
        refused = refused_rows(weight > 0, wrong_predictions, wrong_labels, self.dtype)
        self.refused.assign_add(refused)
        complain(refused, y_true, y_pred, number, form)
        weight = spoiled(weight, score)
        bins = signed_bins(score)
        for variable, rows in ((self.inside, ~is_outside), (self.outside, is_outside)):
            variable.assign_add(ops.segment_sum(ops.where(rows, weight, 0.0), bins, SIGNED))

    def _value(self) -> Tensor:
        inside, outside = ops.flip(self.inside), ops.flip(self.outside)
        both = (ops.sum(inside) > 0) & (ops.sum(outside) > 0)
        return ops.where(both, self._of_bins(inside, outside), float("nan"))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "measure": measures.measure_config(self.measure),
            "ood_class": self.ood_class,
            "from_logits": self.from_logits,
        }
