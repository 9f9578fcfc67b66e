"""Labels and Gaussians of regression metrics: the last axis of predictions holds D means, then D variances."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_hyperens.metrics.checks import agree
from keras_hyperens.metrics.checks import check_values
from keras_hyperens.uncertainty.checks import is_concrete
from keras_hyperens.uncertainty.checks import shape_of

SMALLEST_VARIANCE = 1e-28


def residuals_and_scales(y_true: Any, y_pred: Any, dtype: str) -> tuple[Any, Any]:
    """Labels minus means, and standard deviations, `[B, ..., D]` each.

    Raises:
        ValueError: If the last axis is odd, shapes do not fit, or variances are negative.
    """
    shape, size = shape_of(y_pred), shape_of(y_pred)[-1] if shape_of(y_pred) else None
    if len(shape) < 2 or size is None or size % 2:
        raise ValueError(
            "`y_pred` must be (batch_size, ..., 2D), as many variances as means, so the last axis must be even. "
            f"Received: shape={shape}"
        )
    check_values(y_pred, "y_pred")
    if is_concrete(y_pred) and np.min(np.split(np.asarray(y_pred), 2, axis=-1)[1]) < 0:
        raise ValueError("Variances, the second half of the last axis, must be at least 0. Received: negative ones")
    means, variances = ops.split(ops.cast(y_pred, dtype), 2, axis=-1)
    labels = _labels(y_true, (*shape[:-1], size // 2), dtype)
    return labels - means, ops.sqrt(ops.maximum(variances, SMALLEST_VARIANCE))


def _labels(y_true: Any, expected: tuple[int | None, ...], dtype: str) -> Any:
    """Labels `[B, ..., D]`; with D = 1 their last axis may be missing."""
    check_values(y_true, "y_true")
    shape = shape_of(y_true)
    lacks_axis = expected[-1] == 1 and len(shape) == len(expected) - 1
    if not agree((*shape, 1) if lacks_axis else shape, expected):
        raise ValueError(f"`y_true` must have the shape of the means, {expected}. Received: shape={shape}")
    labels = ops.cast(y_true, dtype)
    return ops.expand_dims(labels, -1) if lacks_axis else labels


def distribution(standardized: Any) -> Any:
    """Distribution function of the standard Gaussian."""
    return (1 + ops.erf(standardized / math.sqrt(2))) / 2


def density(standardized: Any) -> Any:
    """Density of the standard Gaussian."""
    return ops.exp(-ops.square(standardized) / 2) / math.sqrt(2 * math.pi)
