"""Gibbs loss: the members' own negative log-likelihood."""

from typing import Any

import keras

from keras_hyperens.metrics.checks import check_members
from keras_hyperens.metrics.classes import probability_of_truth
from keras_hyperens.metrics.mean_over_rows import MeanOverRows
from keras_hyperens.uncertainty.entropy import logarithm


@keras.saving.register_keras_serializable("keras_hyperens")
class GibbsLoss(MeanOverRows):
    """Mean of the members' own negative log-likelihoods, `mean_k -ln p_ky`, in nats: a metric for `member_metrics`.

    It is at least the `NegativeLogLikelihood` of the members' mean; the difference is what combining them gains. A
    probability below 1e-28 counts as 1e-28.

    Args:
        name: Name of the metric.

    Input shape:
        `y_true`: classes `[M, B, ...]` or `[M, B, ..., 1]`, or one-hot `[M, B, ..., C]`, the same for every member.
        `y_pred`: the members' probabilities `[M, B, ..., C]`; with C = 1 the probability of class 1.

    Raises:
        ValueError: If shapes do not fit, or values are no classes or no probabilities.

    Example:
    >>> import numpy as np
    >>> metric = GibbsLoss()
    >>> metric.update_state([[0], [0]], np.array([[[0.5, 0.5]], [[0.25, 0.75]]]))  # one row, two members
    >>> round(float(metric.result()), 4)  # (ln 2 + ln 4) / 2
    1.0397

    References:
        - Ortega et al., [Diversity and Generalization in Neural Network
          Ensembles](https://arxiv.org/abs/2110.13786)
    """

    def __init__(self, name: str = "gibbs_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def row_values(self, y_true: Any, y_pred: Any) -> Any:
        check_members(y_pred)
        return -logarithm(probability_of_truth(y_true, y_pred, self.dtype))
