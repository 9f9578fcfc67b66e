"""Combination of members: `[M, B, ..., C]` to `[B, ..., C]`."""

from keras import ops

from keras_hyperens.checks import is_integer
from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty.checks import checked_members
from keras_hyperens.uncertainty.checks import normalized_weights


def combine(members: Tensor, weights: Tensor | None = None) -> Tensor:
    """Weighted mean over members.

    Args:
        members: Probabilities, or values of a regression, `[M, B, ..., C]`.
        weights: `[M]`, nonnegative, with a positive sum. Defaults to equal weights.

    Returns:
        `[B, ..., C]`.

    Raises:
        ValueError: If there is not one weight per member, or the members are empty or not finite.

    Example:
    >>> import numpy as np
    >>> combine(np.array([[[0.8, 0.2]], [[0.4, 0.6]]], "float32")).numpy().round(2)
    array([[0.6, 0.4]], dtype=float32)
    """
    members = checked_members(members, "[M, B, ...]")
    if weights is None:
        return ops.mean(members, axis=0)
    return ops.sum(members * normalized_weights(weights, members), axis=0)


def log_mean_exp(members: Tensor, weights: Tensor | None = None) -> Tensor:
    """Logarithm of the weighted mean of exponentials: `ln sum_k w_k exp(l_k)`, without underflow.

    For log probabilities this is the log probability of the ensemble, even if every member's probability underflows.

    Args:
        members: Logarithms, `[M, B, ..., C]`.
        weights: `[M]`, nonnegative, with a positive sum. Defaults to equal weights.

    Returns:
        `[B, ..., C]`.

    Example:
    >>> import numpy as np
    >>> log_mean_exp(np.log(np.array([[[0.8, 0.2]], [[0.4, 0.6]]], "float32"))).numpy().round(4)  # ln of 0.6, 0.4
    array([[-0.5108, -0.9163]], dtype=float32)
    >>> log_mean_exp(np.array([[[-1000.0]], [[-1000.0]]])).numpy()
    array([[-1000.]])
    """
    members = checked_members(members, "[M, B, ...]")
    if weights is None:
        return ops.logsumexp(members, axis=0) - ops.log(ops.cast(members.shape[0], members.dtype))
    return ops.logsumexp(members + ops.log(normalized_weights(weights, members)), axis=0)


def median(members: Tensor, weights: Tensor | None = None) -> Tensor:
    """Weighted median over members per value; the mean of two middle values.

    The medians of probabilities need not sum to 1: divide by their sum.

    Args:
        members: `[M, B, ..., C]`.
        weights: `[M]`, nonnegative, with a positive sum. Defaults to equal weights.

    Returns:
        `[B, ..., C]`.

    Example:
    >>> import numpy as np
    >>> median(np.array([[[0.8, 0.2]], [[0.7, 0.3]], [[0.1, 0.9]]], "float32")).numpy()
    array([[0.7, 0.3]], dtype=float32)
    """
    members = checked_members(members, "[M, B, ...]")
    weights = normalized_weights(weights, members)
    order = ops.argsort(members, axis=0)
    ascending = ops.take_along_axis(members, order, axis=0)
    below = ops.cumsum(ops.take_along_axis(weights + ops.zeros_like(members), order, axis=0), axis=0)
    rounding = 1e-5
    first = ops.expand_dims(ops.argmax(ops.cast(below >= 0.5 - rounding, "int32"), axis=0), 0)
    last = ops.expand_dims(ops.argmax(ops.cast(below > 0.5 + rounding, "int32"), axis=0), 0)
    middle = [ops.take_along_axis(ascending, index, axis=0) for index in (first, last)]
    return ops.squeeze(middle[0] + middle[1], 0) / 2


def trimmed_mean(members: Tensor, weights: Tensor | None = None, n_outliers: int = 1) -> Tensor:
    """Weighted mean over members without the largest outliers of each sample.

    The distance of a member is Euclidean over the last axis, to the members' median.

    Args:
        members: `[M, B, ..., C]`.
        weights: `[M]`, nonnegative, with a positive sum. Defaults to equal weights.
        n_outliers: Number of members to exclude per sample, less than M.

    Returns:
        `[B, ..., C]`.

    Raises:
        ValueError: If no member remains.

    Example:
    >>> import numpy as np
    >>> trimmed_mean(np.array([[[0.8, 0.2]], [[0.7, 0.3]], [[0.1, 0.9]]], "float32")).numpy().round(2)
    array([[0.75, 0.25]], dtype=float32)
    """
    members = checked_members(members)
    number = members.shape[0]
    if not (is_integer(n_outliers) and 0 <= n_outliers < number):
        raise ValueError(f"`n_outliers` must be in [0, {number}), the number of members. Received: {n_outliers}")
    weights = normalized_weights(weights, members)
    middle = median(members, ops.reshape(weights, (-1,)))
    distances = ops.sum(ops.square(members - middle), axis=-1, keepdims=True)
    ranks = ops.argsort(ops.argsort(distances, axis=0), axis=0)  # [M, B, ..., 1], ascending distance
    kept = weights * ops.cast(ranks < number - n_outliers, members.dtype)
    return ops.sum(members * kept, axis=0) / ops.sum(kept, axis=0)
