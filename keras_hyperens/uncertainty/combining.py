"""Putting members together: `[M, B, ..., C]` to `[B, ..., C]`."""

from typing import Any

from keras import ops


def combine(members: Any, weights: Any = None) -> Any:
    """Weighted mean over members.

    Args:
        members: Probabilities, or values of a regression, `[M, B, ..., C]`.
        weights: `[M]`, non-negative, of any positive sum. Default: all equal.

    Returns:
        `[B, ..., C]`.

    Raises:
        ValueError: If there is not one weight per member.

    Example:
    >>> import numpy as np
    >>> combine(np.array([[[0.8, 0.2]], [[0.4, 0.6]]], "float32")).numpy().round(2)
    array([[0.6, 0.4]], dtype=float32)
    """
    members = ops.convert_to_tensor(members)
    if weights is None:
        return ops.mean(members, axis=0)
    weights = ops.convert_to_tensor(weights, members.dtype)
    if tuple(weights.shape) != (members.shape[0],):
        raise ValueError(
            f"`weights` must be one per member, shape ({members.shape[0]},). Received: shape={tuple(weights.shape)}"
        )
    weights = ops.reshape(weights / ops.sum(weights), (-1, *[1] * (len(members.shape) - 1)))
    return ops.sum(members * weights, axis=0)
