"""Entropies of the combined prediction and of the members, and their difference, in nats."""

import keras
from keras import ops

from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty.checks import checked_probabilities
from keras_hyperens.uncertainty.combining import combine


def predictive_entropy(members: Tensor, weights: Tensor | None = None, prediction: Tensor | None = None) -> Tensor:
    """Total uncertainty: the entropy of the combined prediction, `H[p]`, `p = mean_k p_k`.

    Args:
        members: Probabilities over the last axis, `[M, B, ..., C]`.
        weights: `[M]`. Defaults to equal weights.
        prediction: Combined prediction `[B, ..., C]`. Defaults to the members' mean.

    Returns:
        `[B, ...]`, between 0 and ln C.

    Example:
    >>> import numpy as np
    >>> members = np.array([[[1.0, 0.0]], [[0.0, 1.0]]], "float32")
    >>> predictive_entropy(members).numpy().round(4)  # ln 2
    array([0.6931], dtype=float32)
    """
    return _entropy(final(checked_probabilities(members), weights, prediction))


def expected_entropy(members: Tensor, weights: Tensor | None = None) -> Tensor:
    """Aleatoric uncertainty: the mean entropy of the members, `mean_k H[p_k]`.

    Args:
        members: Probabilities over the last axis, `[M, B, ..., C]`.
        weights: `[M]`. Defaults to equal weights.

    Returns:
        `[B, ...]`, between 0 and ln C.

    Example:
    >>> import numpy as np
    >>> members = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]], "float32")
    >>> expected_entropy(members).numpy().round(4)  # each member is certain about the first sample
    array([0.    , 0.6931], dtype=float32)
    """
    return combine(_entropy(checked_probabilities(members)), weights)


def mutual_information(members: Tensor, weights: Tensor | None = None, prediction: Tensor | None = None) -> Tensor:
    """Epistemic uncertainty: the disagreement between members, `H[p] - mean_k H[p_k]`.

    Args:
        members: Probabilities over the last axis, `[M, B, ..., C]`.
        weights: `[M]`. Defaults to equal weights.
        prediction: Combined prediction `[B, ..., C]`. Defaults to the members' mean; otherwise the difference may be
            negative.

    Returns:
        `[B, ...]`, between 0 (members agree) and ln min(M, C).

    Example:
    >>> import numpy as np
    >>> members = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]], "float32")
    >>> mutual_information(members).numpy().round(4)  # the members disagree about the first sample only
    array([0.6931, 0.    ], dtype=float32)

    References:
        - Depeweg et al., [Decomposition of Uncertainty](https://arxiv.org/abs/1710.07283)
    """
    difference = predictive_entropy(members, weights, prediction) - expected_entropy(members, weights)
    return ops.maximum(difference, 0.0) if prediction is None else difference  # negative only by rounding


def final(members: Tensor, weights: Tensor, prediction: Tensor) -> Tensor:
    """Returns the combined prediction: the given one, or the mean."""
    return combine(members, weights) if prediction is None else ops.cast(prediction, members.dtype)


def logarithm(probabilities: Tensor) -> Tensor:
    """Natural logarithm; 0 is replaced by a positive float32 far below any relevant probability."""
    return ops.log(ops.maximum(probabilities, keras.config.epsilon() ** 4))


def _entropy(probabilities: Tensor) -> Tensor:
    return -ops.sum(probabilities * logarithm(probabilities), axis=-1)
