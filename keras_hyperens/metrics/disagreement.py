"""How often members vote for different classes."""

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
    """Share of the pairs of two different members that vote for different classes: a metric for `member_metrics`.

    A member votes for its most probable class. The share is `M / (M - 1)` times `uncertainty.disagreement`, which
    counts each member paired with itself too; with one member it is 0. Labels are not looked at.

    Args:
        name: Name of the metric.
        from_logits: Whether predictions are logits. Default `False`.
        multi_label: Whether the C outputs of a row are probabilities of C labels, each of which counts as a row of two
            classes. Default: no; an ensemble with such outputs says so itself.
        ignore_class: A label whose rows do not count. Default: none; an ensemble whose loss has one says so itself.

    Input shape:
        `y_true`: anything.
        `y_pred`: the members' probabilities `[M, B, ..., C]`; with C = 1 the probability of class 1.

    Raises:
        ValueError: If there is no axis of members, or values are no probabilities.

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
