"""Checks of metric arguments: shapes, and values outside of graphs."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty.checks import is_concrete
from keras_hyperens.uncertainty.checks import shape_of

MOST_BINS = 1_000_000


def check_num_bins(num_bins: Any) -> None:
    """Raises a `ValueError` unless the number of bins is valid: each takes three float32 and requires samples."""
    is_integer = isinstance(num_bins, int) and not isinstance(num_bins, bool)
    if not is_integer or not 1 <= num_bins <= MOST_BINS:
        raise ValueError(
            f"`num_bins` must be a positive integer of at most {MOST_BINS}. Received: num_bins={num_bins!r}"
        )


def is_known(tensor: Tensor) -> bool:
    """Whether a tensor has values, which is not the case inside a graph."""
    return hasattr(tensor, "numpy") or isinstance(tensor, np.ndarray)


def check_values(values: Tensor, name: str) -> None:
    """Raises a `ValueError` if there are no values, or a value is not a finite number."""
    dtype = np.asarray(values).dtype if isinstance(values, list | tuple) else values.dtype
    is_array = isinstance(dtype, np.dtype)
    if dtype.kind not in "biuf" if is_array else keras.backend.standardize_dtype(dtype) == "string":
        raise ValueError(f"`{name}` must be numbers: encode strings as classes 0, 1, ... Received: dtype={dtype}")
    if 0 in shape_of(values):
        raise ValueError(f"`{name}` must have at least one sample and one value. Received: shape={shape_of(values)}")
    if is_concrete(values):
        wrong = int(np.sum(~np.isfinite(np.asarray(values))))
        if wrong:
            raise ValueError(f"`{name}` must be finite. Received: {wrong} values that are not")


def check_members(y_pred: Tensor) -> None:
    """Raises a `ValueError` unless predictions have a member axis."""
    if len(shape_of(y_pred)) < 3:
        raise ValueError(
            "`y_pred` must be the predictions of all members, [M, B, ..., C]: pass the metric to `member_metrics` "
            f"of `compile`. Received: shape={shape_of(y_pred)}"
        )


def of_one_member(values: Tensor, name: str) -> Tensor:
    """Returns labels or weights `[B, ...]` from those repeated for every member, `[M, B, ...]`."""
    if values is None:
        return None
    if len(shape_of(values)) < 2:
        raise ValueError(
            f"With predictions of all members, `{name}` must be repeated for every member, [M, B]. "
            f"Received: shape={shape_of(values)}"
        )
    return values[0]


def agree(one: Shape, other: Shape) -> bool:
    """Whether two static shapes are compatible."""
    return len(one) == len(other) and all(None in (a, b) or a == b for a, b in zip(one, other))


def row_weights(sample_weight: Tensor, rows: Tensor, y_pred: Tensor | None = None) -> Tensor:
    """Returns weights with one value per sample, `[B, ...]`: 1 by default, and 0 where the Keras mask is `False`.

    Args:
        sample_weight: `[B, ...]`, or `None`.
        rows: One value per sample.
        y_pred: Predictions that carry the mask.

    Raises:
        ValueError: If weights have additional axes, are negative or not finite.
    """
    mask = getattr(y_pred, "_keras_mask", None)
    if mask is not None:
        return row_weights(sample_weight, rows) * row_weights(ops.cast(mask, rows.dtype), rows)
    if sample_weight is None:
        return ops.ones_like(rows)
    check_values(sample_weight, "sample_weight")
    if is_concrete(sample_weight) and np.min(sample_weight) < 0:
        raise ValueError(f"`sample_weight` must be at least 0. Received: values from {np.min(sample_weight)}")
    shape, target = shape_of(sample_weight), shape_of(rows)
    if len(shape) == len(target) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    own = target[: len(shape)]
    if not agree(shape, tuple(1 if size == 1 else length for size, length in zip(shape, own))):
        raise ValueError(
            f"`sample_weight` must have the leading axes of the samples, {target}. "
            f"Received: shape={shape_of(sample_weight)}"
        )
    missing = len(target) - len(shape)
    weights = ops.cast(sample_weight, rows.dtype)
    return ops.ones_like(rows) * ops.reshape(weights, (*ops.shape(weights)[: len(shape)], *[1] * missing))


def spoiled(results: Tensor, values: Tensor) -> Tensor:
    """Replaces results of samples with NaN values by NaN, so that they do not count as correct."""
    return ops.where(ops.isnan(values), float("nan"), results)
