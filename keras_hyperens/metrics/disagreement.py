"""Disagreement of the members' predicted classes."""

from typing import Any

import keras
from keras import ops

from keras_hyperens import uncertainty
from keras_hyperens.metrics.checks import spoiled
from keras_hyperens.metrics.classes import ClassRows
from keras_hyperens.metrics.mean_over_rows import MeanOverClassRows
from keras_hyperens.metrics.mean_over_rows import for_every_member
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class Disagreement(MeanOverClassRows):
    """Fraction of pairs of distinct members that predict different classes: a metric for `member_metrics`.

    The fraction is `M / (M - 1)` times `uncertainty.disagreement`, which includes the pairs of a member with itself.
    With one member it is 0. Labels are not used.

    Args:
        name: Name of the metric.
        from_logits: Whether predictions are logits. Defaults to `False`.
        multi_label: Whether the C outputs of a sample are probabilities of C binary labels, each of which counts as a
            sample. Defaults to `False`; an ensemble with such outputs sets it.
        ignore_class: A label to ignore. Defaults to `None`; an ensemble whose loss has one sets it.

    Input shape:
        `y_true`: not used.
        `y_pred`: the members' probabilities `[M, B, ..., C]`; with C = 1 the probability of class 1.

    Raises:
        ValueError: If there is no member axis, or values are not probabilities.

    Example:
    >>> import numpy as np
    >>> metric = Disagreement()
    >>> metric.update_state(None, np.array([[[0.9, 0.1]], [[0.8, 0.2]], [[0.3, 0.7]]]))  # two pairs of three differ
    >>> round(float(metric.result()), 4)
    0.6667

    References:
        - Fort et al., [Deep Ensembles: A Loss Landscape Perspective](https://arxiv.org/abs/1912.02757)
    """

    _has_labels = False
    _needs_members = True

    def __init__(self, name: str = "disagreement", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def _row_values(self, rows: ClassRows) -> Tensor:
        members = rows.probabilities
        number = members.shape[0]
        differing = uncertainty.disagreement(members) * number / max(number - 1, 1)
        return for_every_member(spoiled(differing, ops.sum(members, axis=(0, -1))), members)
