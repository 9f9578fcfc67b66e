"""Entropies of the combined prediction and of the members, in nats."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.uncertainty.combining import combine


def predictive_entropy(members: Any, weights: Any = None) -> Any:
    """Total uncertainty: the entropy of the combined prediction, `H[mean_k p_k]`.

    Args:
        members: Probabilities over the last axis, `[M, B, ..., C]`.
        weights: `[M]`. Default: all equal.

    Returns:
        `[B, ...]`, between 0 and ln C.

    Example:
    >>> import numpy as np
    >>> members = np.array([[[1.0, 0.0]], [[0.0, 1.0]]], "float32")
    >>> predictive_entropy(members).numpy().round(4)  # ln 2
    array([0.6931], dtype=float32)
    """
    return _entropy(combine(members, weights))


def mutual_information(members: Any, weights: Any = None) -> Any:
    """Epistemic uncertainty: what the members disagree about, `H[mean_k p_k] - mean_k H[p_k]`.

    Args:
        members: Probabilities over the last axis, `[M, B, ..., C]`.
        weights: `[M]`. Default: all equal.

    Returns:
        `[B, ...]`, between 0 (members agree) and ln min(M, C).

    Example:
    >>> import numpy as np
    >>> members = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]], "float32")
    >>> mutual_information(members).numpy().round(4)  # the members disagree on the first row only
    array([0.6931, 0.    ], dtype=float32)

    References:
        - Depeweg et al., [Decomposition of Uncertainty](https://arxiv.org/abs/1710.07283)
    """
    total = predictive_entropy(members, weights)
    return ops.maximum(total - combine(_entropy(ops.convert_to_tensor(members)), weights), 0.0)  # rounding


def _entropy(probabilities: Any) -> Any:
    floor = keras.config.epsilon() ** 4  # far below any probability that matters, and a legal float32
    return -ops.sum(probabilities * ops.log(ops.maximum(probabilities, floor)), axis=-1)
