"""Divergence of the members from their mean."""

from typing import Any

import keras

from keras_hyperens import uncertainty
from keras_hyperens.metrics.classes import ClassRows
from keras_hyperens.metrics.mean_over_rows import MeanOverClassRows
from keras_hyperens.metrics.mean_over_rows import for_every_member
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class KLDiversity(MeanOverClassRows):
    """Mean KL divergence of the members from their mean, `mean_k KL(p_k || p)`, in nats: for `member_metrics`.

    This is the mean over samples of `uncertainty.mean_kl_divergence`. Labels are not used.

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
    >>> metric = KLDiversity()
    >>> metric.update_state(None, np.array([[[1.0, 0.0]], [[0.0, 1.0]]]))  # maximum for two members
    >>> round(float(metric.result()), 4)  # ln 2
    0.6931

    References:
        - Wenzel et al., [Hyperparameter Ensembles for Robustness and Uncertainty
          Quantification](https://arxiv.org/abs/2006.13570)
    """

    _has_labels = False
    _needs_members = True

    def __init__(self, name: str = "kl_diversity", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def _row_values(self, rows: ClassRows) -> Tensor:
        members = rows.probabilities
        return for_every_member(uncertainty.mean_kl_divergence(members), members)
