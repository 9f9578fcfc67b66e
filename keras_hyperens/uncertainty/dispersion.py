"""Dispersion of the members' values and predicted classes."""

from collections.abc import Sequence

from keras import ops

from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty.checks import checked_members
from keras_hyperens.uncertainty.checks import checked_probabilities
from keras_hyperens.uncertainty.checks import normalized_weights
from keras_hyperens.uncertainty.combining import combine


def variance(members: Tensor, weights: Tensor | None = None) -> Tensor:
    """Variance of the members' values, `mean_k (x_k - mean)²`, per value.

    Args:
        members: Probabilities or values, `[M, B, ..., C]`.
        weights: `[M]`. Defaults to equal weights.

    Returns:
        `[B, ..., C]`.

    Example:
    >>> import numpy as np
    >>> variance(np.array([[[1.0]], [[3.0]]])).numpy()
    array([[1.]])
    """
    members = checked_members(members, "[M, B, ...]")
    return combine(ops.square(members - combine(members, weights)), weights)


def dirichlet_variance(logits: Tensor) -> Tensor:
    """Variance of class probabilities under a Dirichlet distribution with concentrations `exp(logits)`, per class.

    It is `p (1 - p) / (a + 1)`, with the softmax p of the logits and the sum of concentrations a. The logits are those
    of a network trained by `distill(..., spread=True)`, which then corresponds to `variance` of the members.

    Args:
        logits: `[B, ..., C]`.

    Returns:
        `[B, ..., C]`.

    Example:
    >>> import numpy as np
    >>> dirichlet_variance(np.log([[1.0, 1.0]])).numpy().round(4)  # a uniform distribution
    array([[0.0833, 0.0833]])
    """
    probabilities = ops.softmax(logits, axis=-1)
    concentration = ops.exp(ops.logsumexp(logits, axis=-1, keepdims=True))
    return probabilities * (1 - probabilities) / (concentration + 1)


def standard_deviation(members: Tensor, weights: Tensor | None = None) -> Tensor:
    """Square root of `variance`, in the unit of the values.

    Args:
        members: Probabilities or values, `[M, B, ..., C]`.
        weights: `[M]`. Defaults to equal weights.

    Returns:
        `[B, ..., C]`.

    Example:
    >>> import numpy as np
    >>> standard_deviation(np.array([[[1.0]], [[5.0]]])).numpy()
    array([[2.]])
    """
    return ops.sqrt(variance(members, weights))


def score_range(members: Tensor, weights: Tensor | None = None, classes: Sequence[int] | None = None) -> Tensor:
    """Largest minus smallest score over members and selected classes.

    With one class it is the range of the members' scores of that class.

    Args:
        members: Scores over the last axis, `[M, B, ..., C]`.
        weights: `[M]`; only members of positive weight count. Defaults to all members.
        classes: Indices of the selected classes. Defaults to all classes.

    Returns:
        `[B, ...]`.

    Raises:
        ValueError: If a class is not in [0, C), or no class is selected.

    Example:
    >>> import numpy as np
    >>> members = np.array([[[0.7, 0.2, 0.1]], [[0.5, 0.1, 0.4]]])
    >>> score_range(members, classes=[1]).numpy().round(2), score_range(members, classes=[1, 2]).numpy().round(2)
    (array([0.1]), array([0.3]))
    """
    members = checked_members(members)
    if classes is not None:
        number = members.shape[-1]
        if not len(classes) or not all(0 <= chosen < number for chosen in classes):
            raise ValueError(f"`classes` must be one or more numbers in [0, {number}). Received: classes={classes!r}")
        members = ops.take(members, list(classes), axis=-1)
    counted = (
        ops.ones_like(members) if weights is None else normalized_weights(weights, members) + ops.zeros_like(members)
    )
    highest = ops.max(ops.where(counted > 0, members, -float("inf")), axis=(0, -1))
    return highest - ops.min(ops.where(counted > 0, members, float("inf")), axis=(0, -1))


def variation_ratio(members: Tensor, weights: Tensor | None = None) -> Tensor:
    """Fraction of members that do not predict the most frequent class, `1 - max_c share_c`.

    Args:
        members: Probabilities over the last axis, `[M, B, ..., C]`.
        weights: `[M]`. Defaults to equal weights.

    Returns:
        `[B, ...]`, between 0 (all members agree) and 1 - 1 / min(M, C).

    Example:
    >>> import numpy as np
    >>> variation_ratio(np.array([[[0.9, 0.1]], [[0.6, 0.4]], [[0.2, 0.8]]])).numpy().round(4)
    array([0.3333])
    """
    return 1 - ops.max(_vote_shares(members, weights), axis=-1)


def disagreement(members: Tensor, weights: Tensor | None = None) -> Tensor:
    """Probability that two random members predict different classes, `1 - sum_c share_c²`.

    Members are drawn by weight with replacement. Without replacement and with equal weights it is M / (M - 1) times
    this.

    Args:
        members: Probabilities over the last axis, `[M, B, ..., C]`.
        weights: `[M]`. Defaults to equal weights.

    Returns:
        `[B, ...]`, between 0 and 1 - 1 / min(M, C).

    Example:
    >>> import numpy as np
    >>> disagreement(np.array([[[0.9, 0.1]], [[0.2, 0.8]]])).numpy()
    array([0.5])
    """
    return 1 - ops.sum(ops.square(_vote_shares(members, weights)), axis=-1)


def _vote_shares(members: Tensor, weights: Tensor) -> Tensor:
    """Fraction of members that predict each class, `[B, ..., C]`."""
    members = checked_probabilities(members)
    votes = ops.one_hot(ops.argmax(members, axis=-1), members.shape[-1], dtype=members.dtype)
    return ops.clip(combine(votes, weights), 0.0, 1.0)
