"""Confidence of the combined prediction. Unlike the other measures, higher is more confident (except for `energy`)."""

from keras import ops

from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty.checks import checked_members
from keras_hyperens.uncertainty.checks import checked_probabilities
from keras_hyperens.uncertainty.combining import combine
from keras_hyperens.uncertainty.entropy import final


def max_probability(members: Tensor, weights: Tensor | None = None, prediction: Tensor | None = None) -> Tensor:
    """Confidence: the largest probability of the combined prediction, `max_c p_c`. Higher is more confident.

    Args:
        members: Probabilities over the last axis, `[M, B, ..., C]`.
        weights: `[M]`. Defaults to equal weights.
        prediction: Combined prediction `[B, ..., C]`. Defaults to the members' mean.

    Returns:
        `[B, ...]`, between 1 / C and 1.

    Example:
    >>> import numpy as np
    >>> max_probability(np.array([[[0.9, 0.1]], [[0.6, 0.4]]])).numpy()
    array([0.75])
    """
    return ops.max(final(checked_probabilities(members), weights, prediction), axis=-1)


def margin(members: Tensor, weights: Tensor | None = None, prediction: Tensor | None = None) -> Tensor:
    """Difference of the two largest probabilities of the combined prediction. Higher is more confident.

    Args:
        members: Probabilities over the last axis, `[M, B, ..., C]`.
        weights: `[M]`. Defaults to equal weights.
        prediction: Combined prediction `[B, ..., C]`. Defaults to the members' mean.

    Returns:
        `[B, ...]`, between 0 and 1.

    Example:
    >>> import numpy as np
    >>> margin(np.array([[[0.9, 0.1]], [[0.6, 0.4]]])).numpy()
    array([0.5])
    """
    largest, _ = ops.top_k(final(checked_probabilities(members), weights, prediction), 2)  # in descending order
    return largest[..., 0] - largest[..., 1]


def energy(logits: Tensor, weights: Tensor | None = None, temperature: float = 1.0) -> Tensor:
    """Free energy of the members' logits, `mean_k -T ln sum_c exp(logit_kc / T)`. Lower is more confident.

    The energy depends on a common offset of all logits, which a softmax removes.

    Args:
        logits: The members' raw outputs, not probabilities, `[M, B, ..., C]`.
        weights: `[M]`. Defaults to equal weights.
        temperature: T, positive.

    Returns:
        `[B, ...]`.

    Raises:
        ValueError: If the temperature is not positive.

    Example:
    >>> import numpy as np
    >>> energy(np.array([[[0.0, 0.0], [9.0, 0.0]]])).numpy().round(4)
    array([-0.6931, -9.0001])

    References:
        - Liu et al., [Energy-based Out-of-distribution Detection](https://arxiv.org/abs/2010.03759)
    """
    if not temperature > 0:
        raise ValueError(f"`temperature` must be positive. Received: temperature={temperature}")
    logits = checked_members(logits)
    return combine(-temperature * ops.logsumexp(logits / temperature, axis=-1), weights)
