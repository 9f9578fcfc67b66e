"""Labels and Gaussians of regression metrics: the last axis of predictions has D means, then D variances."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_hyperens.metrics.checks import agree
from keras_hyperens.metrics.checks import check_values
from keras_hyperens.metrics.checks import row_weights
from keras_hyperens.metrics.mean_over_rows import MeanOverRows
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty.checks import is_concrete
from keras_hyperens.uncertainty.checks import shape_of

SMALLEST_VARIANCE = 1e-28


class MeanOverGaussians(MeanOverRows):
    """Weighted mean of one value per Gaussian sample. Abstract: a subclass defines the value.

    Args:
        name: Name of the metric.
        from_log_scale: Whether predictions are means and logarithms of standard deviations (raw outputs for
            `keras_hyperens.losses.GaussianNegativeLogLikelihood`) instead of means and variances.
    """

    _expected = (
        "`y_pred` must be means, then variances of at least 0; for means and logarithms of standard deviations create "
        "the metric with `from_log_scale=True`",
        "",
    )

    def __init__(self, name: str, from_log_scale: bool = False, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.from_log_scale = from_log_scale

    def _row_values(self, residuals: Tensor, scales: Tensor) -> Tensor:
        """Returns the value of each sample, `[B, ...]`, from residuals and standard deviations, `[B, ..., D]` each."""
        raise NotImplementedError

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        means, scales, is_wrong = means_and_scales(y_pred, self.dtype, self.from_log_scale)
        residuals = _labels(y_true, shape_of(means), self.dtype) - means
        values = self._row_values(residuals, scales)
        weight = row_weights(sample_weight, values, y_pred)
        wrong = ops.sum(ops.cast(is_wrong & (weight > 0), self.dtype))
        self.refused.assign_add(ops.stack([wrong, ops.zeros_like(wrong)]))
        self._add(values, weight)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "from_log_scale": self.from_log_scale}


def means_and_scales(y_pred: Tensor, dtype: str, from_log_scale: bool = False) -> tuple[Any, Any, Any]:
    """Returns means and standard deviations `[B, ..., D]`, and which samples have a negative variance, `[B, ...]`.

    Raises:
        ValueError: If the last axis is odd, values are not finite, or variances outside of graphs are negative.
    """
    shape, size = shape_of(y_pred), shape_of(y_pred)[-1] if shape_of(y_pred) else None
    if len(shape) < 2 or size is None or size % 2:
        raise ValueError(
            "`y_pred` must be (batch_size, ..., 2D), as many variances as means, so the last axis must be even. "
            f"Received: shape={shape}"
        )
    check_values(y_pred, "y_pred")
    if not from_log_scale and is_concrete(y_pred) and np.min(np.split(np.asarray(y_pred), 2, axis=-1)[1]) < 0:
        raise ValueError("Variances, the second half of the last axis, must be at least 0. Received: negative ones")
    means, variances = ops.split(ops.cast(y_pred, dtype), 2, axis=-1)
    if from_log_scale:
        return means, ops.exp(variances), ops.zeros_like(means[..., 0], "bool")
    return means, ops.sqrt(ops.maximum(variances, SMALLEST_VARIANCE)), ops.any(variances < 0, axis=-1)


def _labels(y_true: Tensor, expected: Shape, dtype: str) -> Tensor:
    """Returns labels `[B, ..., D]`; with D = 1 their last axis is optional."""
    check_values(y_true, "y_true")
    shape = shape_of(y_true)
    lacks_axis = expected[-1] == 1 and len(shape) == len(expected) - 1
    if not agree((*shape, 1) if lacks_axis else shape, expected):
        raise ValueError(f"`y_true` must have the shape of the means, {expected}. Received: shape={shape}")
    labels = ops.cast(y_true, dtype)
    return ops.expand_dims(labels, -1) if lacks_axis else labels


def distribution(standardized: Tensor) -> Tensor:
    """Distribution function of the standard Gaussian."""
    return (1 + ops.erf(standardized / math.sqrt(2))) / 2


def density(standardized: Tensor) -> Tensor:
    """Density of the standard Gaussian."""
    return ops.exp(-ops.square(standardized) / 2) / math.sqrt(2 * math.pi)
