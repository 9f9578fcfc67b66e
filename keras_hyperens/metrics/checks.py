"""What every metric asks of its arguments: shapes, and values that can be looked at."""

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
    """Raises a `ValueError` unless there can be so many bins: each has three float32, and some rows to fill it."""
    is_integer = isinstance(num_bins, int) and not isinstance(num_bins, bool)
    if not is_integer or not 1 <= num_bins <= MOST_BINS:
        raise ValueError(
            f"`num_bins` must be a positive integer of at most {MOST_BINS}. Received: num_bins={num_bins!r}"
        )


def is_known(tensor: Tensor) -> bool:
    """Whether a tensor has its values already: inside a graph it has not."""
    return hasattr(tensor, "numpy") or isinstance(tensor, np.ndarray)


def check_values(values: Tensor, name: str) -> None:
    """Raises a `ValueError` if there is no value, or one that is no finite number."""
    dtype = np.asarray(values).dtype if isinstance(values, list | tuple) else values.dtype
    is_array = isinstance(dtype, np.dtype)
    if dtype.kind not in "biuf" if is_array else keras.backend.standardize_dtype(dtype) == "string":
        raise ValueError(f"`{name}` must be numbers: encode strings as classes 0, 1, ... Received: dtype={dtype}")
    if 0 in shape_of(values):
        raise ValueError(f"`{name}` must have at least one row and one value. Received: shape={shape_of(values)}")
    if is_concrete(values):
        wrong = int(np.sum(~np.isfinite(np.asarray(values))))
        if wrong:
            raise ValueError(f"`{name}` must be finite. Received: {wrong} values that are not")


def check_members(y_pred: Tensor) -> None:
    """Raises a `ValueError` unless predictions have an axis of members."""
    if len(shape_of(y_pred)) < 3:
        raise ValueError(
            "`y_pred` must be the predictions of all members, [M, B, ..., C]: give the metric in `member_metrics` "
            f"of `compile`. Received: shape={shape_of(y_pred)}"
        )


def of_one_member(values: Tensor, name: str) -> Tensor:
    """Labels or weights `[B, ...]` of those that are the same for every member, `[M, B, ...]`."""
    if values is None:
        return None
    if len(shape_of(values)) < 2:
        raise ValueError(
            f"With predictions of all members, `{name}` must be repeated for every member, [M, B]. "
            f"Received: shape={shape_of(values)}"
        )
    return values[0]


def agree(one: Shape, other: Shape) -> bool:
    """Whether two static shapes can be the same."""
    return len(one) == len(other) and all(None in (a, b) or a == b for a, b in zip(one, other))


def row_weights(sample_weight: Tensor, rows: Tensor, y_pred: Tensor | None = None) -> Tensor:
    """Weights in the shape of a value per row, `[B, ...]`: all 1 if there are none, and 0 where Keras' mask is.

    Args:
        sample_weight: `[B, ...]`, or `None`.
        rows: A value per row.
        y_pred: The predictions, which carry the mask.

    Raises:
        ValueError: If weights have axes that the rows do not have, are negative or not finite.
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
            f"`sample_weight` must have the leading axes of the rows, {target}. "
            f"Received: shape={shape_of(sample_weight)}"
        )
    missing = len(target) - len(shape)
    weights = ops.cast(sample_weight, rows.dtype)
    return ops.ones_like(rows) * ops.reshape(weights, (*ops.shape(weights)[: len(shape)], *[1] * missing))


def spoiled(results: Tensor, values: Tensor) -> Tensor:
    """Results per row, but not a number where the value behind it is none: such a row must not pass for a good one."""
    return ops.where(ops.isnan(values), float("nan"), results)
