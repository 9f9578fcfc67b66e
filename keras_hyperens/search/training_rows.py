"""Putting data together for retraining, and trained models into an ensemble."""

from functools import partial
from typing import Any

import keras
import numpy as np

from keras_hyperens.conversion.compiled import compile_arguments_of
from keras_hyperens.conversion.compiled import fresh_metrics
from keras_hyperens.models import HyperDeepEnsemble


def joined_rows(x: Any, y: Any, sample_weight: Any, validation_data: Any) -> dict[str, Any]:
    """Training and validation rows together, as arguments of `fit`; rows without a weight have one of 1."""
    if hasattr(x, "concatenate") and hasattr(validation_data, "element_spec"):
        return {"x": _joined_datasets(x, validation_data)}
    leaves = keras.tree.flatten((x, y))
    if not isinstance(validation_data, tuple | list) or not all(hasattr(leaf, "shape") for leaf in leaves):
        raise ValueError(
            "Training and validation rows must both be arrays, or both `tf.data` datasets. "
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
    """The weights, or ones for the rows of `x`, shaped like those of other rows."""
    rows = len(keras.tree.flatten(x)[0])
    if weights is None:
        return keras.tree.map_structure(lambda other: np.ones((rows, *other.shape[1:]), "float32"), like)
    return weights


def _joined_datasets(first: Any, second: Any) -> Any:
    """Two `tf.data` datasets, one after the other; if only one has weights, those of the other are 1."""
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


def compile_like(ensemble: HyperDeepEnsemble, model: keras.Model) -> None:
    """Compiles an ensemble with a member's loss and metrics; metrics get probabilities, so they take no logits."""
    arguments = compile_arguments_of(model)
    if arguments:
        metrics = {name: fresh_metrics(arguments.get(name)) for name in ("metrics", "weighted_metrics")}
        ensemble.compile(loss=model.loss, loss_weights=arguments.get("loss_weights"), **metrics)
