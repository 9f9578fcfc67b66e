"""Modified training data: a subset, or training and validation data together."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np


def joined_rows(x: Any, y: Any, sample_weight: Any, validation_data: Any) -> dict[str, Any]:
    """Joins training and validation data, as arguments of `fit`; missing weights are 1."""
    if hasattr(x, "concatenate") and hasattr(validation_data, "element_spec"):
        return {"x": _joined_datasets(x, validation_data)}
    leaves = keras.tree.flatten((x, y))
    if not isinstance(validation_data, tuple | list) or not all(hasattr(leaf, "shape") for leaf in leaves):
        raise ValueError(
            "Training and validation data must both be arrays, or both `tf.data` datasets. "
            f"Received: x of type {type(x).__name__}, validation_data of type {type(validation_data).__name__}"
        )
    others = keras.utils.unpack_x_y_sample_weight(tuple(validation_data))
    parts = {"x": (x, others[0]), "y": (y, others[1])}
    weights = sample_weight, others[2]
    if any(each is not None for each in weights):
        parts["sample_weight"] = _with_ones(weights[0], weights[1], x), _with_ones(weights[1], weights[0], others[0])
    return {name: keras.tree.map_structure(_join, *pair) for name, pair in parts.items()}


def _join(first: Any, second: Any) -> Any:
    return np.concatenate([keras.ops.convert_to_numpy(first), keras.ops.convert_to_numpy(second)])


def _with_ones(weights: Any, like: Any, x: Any) -> Any:
    """Returns the weights, or ones for the samples of `x`, in the shape of other weights."""
    rows = len(keras.tree.flatten(x)[0])
    if weights is None:
        return keras.tree.map_structure(lambda other: np.ones((rows, *other.shape[1:]), "float32"), like)
    return weights


def _joined_datasets(first: Any, second: Any) -> Any:
    """Concatenates two `tf.data` datasets; if only one has weights, those of the other are 1."""
    weights = [keras.utils.unpack_x_y_sample_weight(each.element_spec)[2] for each in (first, second)]
    if weights[0] is None and weights[1] is not None:
        first = first.map(partial(_weighted_batch, weights[1]))
    if weights[1] is None and weights[0] is not None:
        second = second.map(partial(_weighted_batch, weights[0]))
    return first.concatenate(second)


def _weighted_batch(like: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    rows = keras.ops.shape(keras.tree.flatten(x)[0])[0]
    ones = keras.tree.map_structure(lambda other: keras.ops.ones((rows, *other.shape[1:]), other.dtype.name), like)
    return x, y, ones


@dataclass(frozen=True)
class Share:
    """Random subset of the training samples for one candidate."""

    fraction: float
    seed: int

    def of_arguments(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Returns the arguments of `fit` with a subset of `x`, `y` and `sample_weight`."""
        named = dict(zip(("x", "y"), args), **kwargs)
        number = len(keras.tree.flatten(named["x"])[0])
        size = max(1, round(self.fraction * number))
        rows = np.sort(np.random.default_rng(self.seed).choice(number, size, replace=False))
        for key in ("x", "y", "sample_weight"):
            if named.get(key) is not None:
                named[key] = keras.tree.map_structure(lambda array: array[rows], named[key])
        return (), named
