"""Checks of the arguments of measures: shapes always, values only of NumPy arrays and lists."""

import keras
import numpy as np
from keras import ops

from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor


def is_concrete(values: Tensor) -> bool:
    """Whether values can be read, which is impossible inside a graph, and slow for eager tensors."""
    return isinstance(values, np.ndarray | list | tuple)


def shape_of(values: Tensor) -> Shape:
    """Returns the static shape; unknown sizes are `None`."""
    return tuple(np.shape(values) if isinstance(values, list | tuple) else values.shape)


def checked_members(members: Tensor, axes: str = "[M, B, ..., C]") -> Tensor:
    """Returns the members' predictions as a tensor in float32 or higher precision.

    Raises:
        ValueError: If the member or batch axis is missing, an axis is empty, or a value is not finite.
    """
    shape = shape_of(members)
    if len(shape) < axes.count(",") + (0 if "..." in axes else 1):
        raise ValueError(f"Predictions of members must have the axes {axes}. Received: shape={shape}")
    if 0 in shape:
        raise ValueError(f"There must be at least one member, one sample and one value. Received: shape={shape}")
    if is_concrete(members) and not np.isfinite(members).all():
        raise ValueError(
            f"Predictions of members must be finite. Received: {np.sum(~np.isfinite(members))} values that are not"
        )
    members = ops.convert_to_tensor(members)
    dtype = keras.backend.standardize_dtype(members.dtype)
    return members if dtype in ("float32", "float64") else ops.cast(members, "float32")


def checked_probabilities(members: Tensor) -> Tensor:
    """Returns the members' probabilities over the classes of the last axis.

    Raises:
        ValueError: Also if there are fewer than two classes, or probabilities are negative or do not sum to 1.
    """
    tensor = checked_members(members)
    if tensor.shape[-1] < 2:
        raise ValueError(
            "Probabilities need at least two classes; for a single probability p of class 1 pass [1 - p, p]. "
            f"Received: shape={tuple(tensor.shape)}"
        )
    if is_concrete(members):
        check_sums(members)
    return tensor


def check_sums(probabilities: Tensor) -> None:
    """Raises a `ValueError` unless every sample is a distribution over the last axis."""
    probabilities = np.asarray(probabilities)
    sums = probabilities.sum(-1, dtype="float64")
    rounding = 1e-2 if probabilities.dtype == np.float16 else 1e-3
    if probabilities.min() < 0 or np.abs(sums - 1).max() > rounding:
        raise ValueError(
            "Probabilities must be at least 0 and sum to 1 over the last axis; apply a softmax to logits first. "
            f"Received: values from {probabilities.min():.4g}, sums from {sums.min():.4g} to {sums.max():.4g}"
        )


def normalized_weights(weights: Tensor, members: Tensor) -> Tensor:
    """Returns weights that sum to 1 and broadcast to `members`, `[M, 1, ..., 1]`.

    Raises:
        ValueError: If there is not one weight per member, or they are negative, not finite or all 0.
    """
    number = members.shape[0]
    if weights is None:
        weights = np.ones(number)
    shape = shape_of(weights)
    if shape != (number,):
        raise ValueError(f"`weights` must be one per member, shape ({number},). Received: shape={shape}")
    if is_concrete(weights):
        values = np.asarray(weights, "float64")
        if not np.isfinite(values).all() or values.min() < 0 or values.sum() <= 0:
            raise ValueError(f"`weights` must be at least 0, and not all 0. Received: weights={list(values)}")
        weights = values / values.sum()
    weights = ops.cast(weights, members.dtype)
    return ops.reshape(weights / ops.sum(weights), (-1, *[1] * (len(members.shape) - 1)))
