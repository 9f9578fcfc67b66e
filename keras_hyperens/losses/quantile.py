"""Pinball loss of predicted quantiles."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_hyperens.checks import is_number


@keras.saving.register_keras_serializable("keras_hyperens")
class Quantile(keras.losses.Loss):
    """Pinball loss `max(l (y - q), (l - 1) (y - q))` of quantiles q at levels l, mean over levels and targets.

    An ensemble compiled with this loss predicts quantiles: the members' mean at each level. `conformalize` turns the
    lowest and the highest quantile into intervals with a given coverage.

    Args:
        levels: Levels of the quantiles, ascending, each in (0, 1).
        reduction, name, dtype: As in every Keras loss.

    Input shape:
        `y_true`: targets `(B, ..., D)`. `y_pred`: raw output of a network `(B, ..., L * D)`: D quantiles of the first
        level, then D of the second one, and so on.

    Raises:
        ValueError: If levels are not ascending numbers in (0, 1), or the number of outputs is not L times the number of
            targets.

    Example:
    >>> import numpy as np
    >>> loss = Quantile(levels=(0.1, 0.9))
    >>> round(float(loss(np.array([[1.0]]), np.array([[0.0, 3.0]]))), 4)  # (0.1 * 1 + 0.1 * 2) / 2
    0.15

    References:
        - Koenker and Bassett, Regression Quantiles, 1978
    """

    def __init__(
        self,
        levels: Sequence[float] = (0.05, 0.95),
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "quantile",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.levels = _checked_levels(levels)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_true = _like_outputs(y_true, y_pred, len(self.levels))
        quantiles = ops.stack(ops.split(y_pred, len(self.levels), axis=-1), axis=-1)  # [B, ..., D, L]
        errors = ops.expand_dims(y_true, -1) - quantiles
        levels = ops.convert_to_tensor(self.levels, y_pred.dtype)
        return ops.mean(ops.maximum(levels * errors, (levels - 1) * errors), axis=(-2, -1))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "levels": list(self.levels)}


def _checked_levels(levels: Any) -> tuple[float, ...]:
    is_sequence = isinstance(levels, Sequence) and not isinstance(levels, str)
    if not is_sequence or not levels or not all(is_number(level) and 0 < level < 1 for level in levels):
        raise ValueError(f"`levels` must be numbers in (0, 1), at least one. Received: levels={levels!r}")
    if list(levels) != sorted(set(levels)):
        raise ValueError(f"`levels` must be ascending and distinct. Received: levels={levels!r}")
    return tuple(float(level) for level in levels)


def _like_outputs(y_true: Any, y_pred: Any, num_levels: int) -> Any:
    """Returns targets `(B, ..., D)`, also from `(B, ...)` if D is 1."""
    if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == num_levels:
        y_true = ops.expand_dims(y_true, -1)
    if len(y_true.shape) != len(y_pred.shape) or num_levels * y_true.shape[-1] != y_pred.shape[-1]:
        raise ValueError(
            f"For targets (B, ..., D) and {num_levels} levels the outputs must be (B, ..., {num_levels} * D). "
            f"Received: shapes {tuple(y_true.shape)} and {tuple(y_pred.shape)}"
        )
    return y_true
