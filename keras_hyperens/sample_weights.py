"""Sample weights: a weight of 2 counts as two equal samples, a weight of 0 as none. Requires only NumPy."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_hyperens.checks import is_integer
from keras_hyperens.checks import is_number


def checked_weights(sample_weight: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """Returns one weight per sample, `shape`, in float64; `None`, for equal weights, is returned unchanged.

    Args:
        sample_weight: `[N]`, `[N, 1]` or `[N, ...]`; with fewer axes than the samples, it applies to all last axes.
        shape: Shape of the samples, `(N, ...)`.

    Raises:
        ValueError: If weights have another shape, are negative or not finite, or are all 0.
    """
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, "float64")
    if weights.ndim > 1 and weights.shape[-1] == 1 and weights.shape != shape[: weights.ndim]:
        weights = weights[..., 0]
    if not 1 <= weights.ndim <= len(shape) or weights.shape != shape[: weights.ndim]:
        raise ValueError(
            f"`sample_weight` must be one number for each sample, of shape {shape} or its first axes. "
            f"Received: sample_weight of shape {np.shape(sample_weight)}"
        )
    if not np.isfinite(weights).all() or weights.min() < 0 or not weights.any():
        raise ValueError(
            "`sample_weight` must be finite, at least 0, and not all 0. "
            f"Received: sample_weight from {weights.min()} to {weights.max()}"
        )
    return np.broadcast_to(weights.reshape(weights.shape + (1,) * (len(shape) - weights.ndim)), shape)


def check_class_weight(class_weight: Any) -> None:
    """Raises a `ValueError` unless the argument is `None` or a dictionary from classes to weights."""
    if class_weight is None:
        return
    is_dictionary = isinstance(class_weight, Mapping)
    if not is_dictionary or not all(is_integer(label) and _is_weight(w) for label, w in class_weight.items()):
        raise ValueError(
            "`class_weight` must be a dictionary from classes to finite weights of at least 0. "
            f"Received: class_weight={class_weight!r}"
        )


def _is_weight(weight: Any) -> bool:
    return is_number(weight) and weight >= 0
