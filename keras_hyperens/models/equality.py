"""Verification of a conversion: with rank-1 factors of one, every member predicts as the model."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops

from keras_hyperens.hyperparameters import hyperparameter_scope
from keras_hyperens.models.ensemble import Ensemble
from keras_hyperens.models.export import input_specs
from keras_hyperens.models.members import Members
from keras_hyperens.models.network import accepted_rows
from keras_hyperens.models.network import hyper_batch_layers
from keras_hyperens.models.network import may_mix_rows
from keras_hyperens.types import TensorTree

ROWS = 2
TOLERANCES = {"float16": 3e-2, "bfloat16": 1e-1}  # relative to the largest output; otherwise:
TOLERANCE = 1e-3


def check_conversion(ensemble: Ensemble, model: keras.Model) -> None:
    """Checks the ensemble of a converted model, unless its network only has layers of Keras and this package.

    Raises:
        ValueError: If the network drops, adds, reorders or mixes samples, or a member differs from the model.
    """
    if may_mix_rows(ensemble.network):
        specs = input_specs(ensemble)
        ensemble._members.check_rows(specs)
        check_equality(model, ensemble._members, specs)


def check_equality(model: keras.Model, members: Members, batch: TensorTree) -> None:
    """Checks on synthetic inputs that every member predicts as the model.

    Args:
        model: The model.
        members: Members in the converted network, with the model's weights.
        batch: Shapes and dtypes of a batch, a structure of objects with `shape` and `dtype`.

    Raises:
        ValueError: If a member differs; the error names the first layer that differs.
    """
    if any(keras.backend.standardize_dtype(spec.dtype) == "string" for spec in keras.tree.flatten(batch)):
        return  # strings have no synthetic inputs
    rows = accepted_rows(model, batch, ROWS)
    of_members = keras.tree.map_structure(lambda array: np.concatenate([array] * members.ensemble_size), rows)
    network, values = members.network, members.values()
    with _factors_of_one(network), hyperparameter_scope(values, values):
        wrong = _difference(model, network, rows, of_members)
        if not wrong or _difference(model, model, rows, rows):  # random numbers always differ
            return
        layer = _first_that_differs(model, network, rows, of_members)
    raise ValueError(
        "Every member must initially predict the same as the model, but a layer has state besides its weights "
        "and its configuration. Include that state in `get_config`, or in `save_own_variables` and "
        f"`load_own_variables`. Received: {layer}, with a largest difference of {wrong:.2g}"
    )


@contextmanager
def _factors_of_one(network: keras.Model) -> Iterator[None]:
    factors = [factor for layer in hyper_batch_layers(network) if layer.is_shared for factor in (layer.r, layer.s)]
    before = [ops.convert_to_numpy(factor) for factor in factors]
    for factor in factors:
        factor.assign(ops.ones_like(factor))
    try:
        yield
    finally:
        for factor, value in zip(factors, before, strict=True):
            factor.assign(value)


def _difference(model: keras.Model, other: keras.Model, rows: TensorTree, others: TensorTree) -> float:
    """Returns the largest difference of outputs, relative to the largest output; 0 within tolerance."""
    worst = 0.0
    pairs = zip(*(keras.tree.flatten(each) for each in (model(rows, training=False), other(others, training=False))))
    for left, right in pairs:
        dtype = keras.backend.standardize_dtype(left.dtype)
        left, right = (ops.convert_to_numpy(ops.cast(each, "float32")) for each in (left, right))
        left = np.concatenate([left] * (len(right) // len(left)))
        if (np.isnan(left) != np.isnan(right)).any():
            return float("inf")
        left, right = np.nan_to_num(left), np.nan_to_num(right)
        difference = np.abs(left - right).max(initial=0.0) / max(np.abs(left).max(initial=0.0), 1e-6)
        worst = max(worst, difference if difference > TOLERANCES.get(dtype, TOLERANCE) else 0.0)
    return float(worst)


def _first_that_differs(model: keras.Model, network: keras.Model, rows: TensorTree, of_members: TensorTree) -> str:
    """Describes the first layer that differs, or the model if its parts cannot be called separately."""
    for layer in model.layers:
        try:
            one, other = (keras.Model(each.input, each.get_layer(layer.name).output) for each in (model, network))
            differs = _difference(one, other, rows, of_members)
        except (AttributeError, ValueError):  # called more than once, or unknown name
            continue
        if differs:
            return f"layer {layer.name!r} of type {type(layer).__name__}"
    return f"model {model.name!r}"
