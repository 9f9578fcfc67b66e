"""Kullback-Leibler divergences of the members from the combined prediction, in nats."""

from keras import ops

from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty.checks import checked_probabilities
from keras_hyperens.uncertainty.combining import combine
from keras_hyperens.uncertainty.entropy import final
from keras_hyperens.uncertainty.entropy import logarithm


def mean_kl_divergence(members: Tensor, weights: Tensor | None = None, prediction: Tensor | None = None) -> Tensor:
    """Mean divergence of the members from the combined prediction, `mean_k KL(p_k || p)`.

    If the combined prediction is the members' mean, this is the mutual information.

    Args:
        members: Probabilities over the last axis, `[M, B, ..., C]`.
        weights: `[M]`. Defaults to equal weights.
        prediction: Combined prediction `[B, ..., C]`. Defaults to the members' mean.

    Returns:
        `[B, ...]`, at least 0; at most ln M if the combined prediction is the mean.

    Example:
    >>> import numpy as np
    >>> mean_kl_divergence(np.array([[[1.0, 0.0]], [[0.0, 1.0]]], "float32")).numpy().round(4)
    array([0.6931], dtype=float32)
    """
    return combine(_divergences(members, weights, prediction), weights)


def sum_kl_divergence(members: Tensor, weights: Tensor | None = None, prediction: Tensor | None = None) -> Tensor:
    """Sum of the divergences of the members from the combined prediction, `sum_k KL(p_k || p)`.

    With weights it is M times the weighted mean, so that the scale of the weights has no effect.

    Args:
        members: Probabilities over the last axis, `[M, B, ..., C]`.
        weights: `[M]`. Defaults to equal weights.
        prediction: Combined prediction `[B, ..., C]`. Defaults to the members' mean.

    Returns:
        `[B, ...]`, at least 0.

    Example:
    >>> import numpy as np
    >>> sum_kl_divergence(np.array([[[1.0, 0.0]], [[0.0, 1.0]]], "float32")).numpy().round(4)
    array([1.3863], dtype=float32)
    """
    return members.shape[0] * mean_kl_divergence(members, weights, prediction)


def _divergences(members: Tensor, weights: Tensor, prediction: Tensor) -> Tensor:
    """Divergence of every member, `[M, B, ...]`."""
    members = checked_probabilities(members)
    ratio = logarithm(members) - ops.expand_dims(logarithm(final(members, weights, prediction)), 0)
    return ops.maximum(ops.sum(members * ratio, axis=-1), 0.0)  # negative only by rounding
