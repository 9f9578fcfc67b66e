"""Gibbs loss: mean negative log-likelihood of the members."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.metrics.classes import ClassRows
from keras_hyperens.metrics.mean_over_rows import MeanOverClassRows
from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty.entropy import logarithm


@keras.saving.register_keras_serializable("keras_hyperens")
class GibbsLoss(MeanOverClassRows):
    """Gibbs loss: mean negative log-likelihood of the members, `mean_k -ln p_ky`, in nats, for `member_metrics`.

    It is at least the `NegativeLogLikelihood` of the mean prediction; the difference is the gain of combining the
    members. Probabilities are clipped at 1e-28.

    Args:
        name: Name of the metric.
        from_logits: Whether predictions are logits. Defaults to `False`.
        multi_label: Whether the C outputs of a sample are probabilities of C binary labels, each of which counts as a
            sample. Defaults to `False`; an ensemble with such outputs sets it.
        ignore_class: A label to ignore. Defaults to `None`; an ensemble whose loss has one sets it.

    Input shape:
        `y_true`: classes `[M, B, ...]` or `[M, B, ..., 1]`, or one-hot or soft
            `[M, B, ..., C]`, repeated for every member.
        `y_pred`: the members' probabilities `[M, B, ..., C]`; with C = 1 the probability of class 1.

    Raises:
        ValueError: If shapes do not match, or values are not classes or not probabilities.

    Example:
    >>> import numpy as np
    >>> metric = GibbsLoss()
    >>> metric.update_state([[0], [0]], np.array([[[0.5, 0.5]], [[0.25, 0.75]]]))  # one sample, two members
    >>> round(float(metric.result()), 4)  # (ln 2 + ln 4) / 2
    1.0397

    References:
        - Ortega et al., [Diversity and Generalization in Neural Network
          Ensembles](https://arxiv.org/abs/2110.13786)
    """

    _direction = "down"  # for `mode="auto"` of callbacks
    _needs_members = True

    def __init__(self, name: str = "gibbs_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def _row_values(self, rows: ClassRows) -> Tensor:
        return -ops.sum(rows.truth * logarithm(rows.probabilities), axis=-1)
