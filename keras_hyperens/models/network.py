"""Analysis of the network of an ensemble: hyper-batch layers, separation of samples, and single members."""

from contextlib import suppress
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.conversion.tied import tied
from keras_hyperens.hyperparameters import HyperparameterSpace
from keras_hyperens.layers import HyperBatchLayer
from keras_hyperens.layers import HyperLayer
from keras_hyperens.layers.wrappers import Pair
from keras_hyperens.layers.wrappers import copy_of
from keras_hyperens.layers.wrappers import is_wrapper
from keras_hyperens.layers.wrappers import rewrapped
from keras_hyperens.layers.wrappers import take_state
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree

UNKNOWN_AXES = (32, 16, 64, 4, 224)  # sizes for unknown axes of synthetic inputs


def hyper_layers(network: keras.Model) -> list[HyperLayer]:
    """Returns all layers of the network, at any depth, that depend on hyperparameters or members."""
    return [layer for layer in network._flatten_layers() if isinstance(layer, HyperLayer)]


def hyper_batch_layers(network: keras.Model) -> list[HyperBatchLayer]:
    """Returns those of them with member-specific kernels."""
    return [layer for layer in hyper_layers(network) if isinstance(layer, HyperBatchLayer)]


def checked_network(
    network: keras.Model, space: HyperparameterSpace | None = None, ensemble_size: int | None = None
) -> tuple[HyperparameterSpace, int]:
    """Returns the space and ensemble size of a network: the given ones, or those of its layers.

    Raises:
        TypeError: If `network` is not a Keras model, or `space` is not a space.
        ValueError: If it has no hyper-batch layer, layers of different ensembles, a layer that does not match the given
            values, or one that does not use float32.
    """
    if not isinstance(space, HyperparameterSpace | None):
        raise TypeError(f"`space` must be a `HyperparameterSpace`. Received: space={space!r}")
    if not isinstance(network, keras.Model):
        raise TypeError(f"`network` must be a `keras.Model`. Received: network={network!r}")
    layers = hyper_layers(network)
    if not hyper_batch_layers(network):
        raise ValueError(
            "`network` has no hyper-batch layer, so its members would be equal: use for example "
            "`HyperBatchDense(...)` instead of `Dense(...)`. A subclassed network must create its layers in "
            f"`__init__`. Received: network={network.name!r} with layers {[layer.name for layer in network.layers]}"
        )
    if space is None:
        space = next((layer.space for layer in layers if len(layer.space)), HyperparameterSpace())
    if ensemble_size is None:
        ensemble_size = layers[0].ensemble_size
    for layer in layers:
        if layer.variable_dtype != "float32" or keras.config.floatx() != "float32":
            raise ValueError(
                "Variables of hyper-batch layers, and losses, must be in float32: do not change `keras.config.floatx`, "
                'and use the policies "float32", "mixed_float16" or "mixed_bfloat16". Received: layer '
                f"{layer.name!r} with dtype={layer.dtype_policy.name!r}, floatx={keras.config.floatx()!r}"
            )
        if layer.ensemble_size != ensemble_size or layer.space not in (space, HyperparameterSpace()):
            raise ValueError(
                f"Layer {layer.name!r} must have the ensemble's `ensemble_size={ensemble_size!r}` and `space`, with "
                f"{list(space)}. Received: ensemble_size={layer.ensemble_size}, space={layer.space}"
            )
    return space, layers[0].ensemble_size


def unused_hyperparameters(network: keras.Model, space: HyperparameterSpace) -> list[str]:
    """Returns the names of hyperparameters that no layer uses."""
    used = set().union(*(layer.hyperparameters_used() for layer in hyper_layers(network)))
    return [name for name in space.names if name not in used]


def check_rows(network: keras.Model, inputs: TensorTree, ensemble_size: int) -> None:
    """Checks that every output depends on the input sample at the same position only.

    Changes one sample at a time and compares the predictions. Requires a hyperparameter scope.

    Args:
        network: A network, built or not.
        inputs: Shapes and dtypes of a batch, a structure of objects with `shape` and `dtype`.
        ensemble_size: M.

    Raises:
        ValueError: If the network drops, adds, reorders or mixes samples.
    """
    number = 2 * ensemble_size
    rows = accepted_rows(network, inputs, number)
    try:
        _probe_rows(network, rows, number)
    except ValueError as error:
        raise ValueError(f"{error}{_first_to_mix(network, rows, number)}") from None


def may_mix_rows(network: keras.Model) -> bool:
    """Whether a network has other layers than those of Keras and this package: functions, operations, custom layers."""
    parts = [part for model in network._flatten_layers() for part in getattr(model, "operations", [model])]
    known = ("keras.", "keras_hyperens.")
    return any(
        not isinstance(part, keras.layers.Layer)
        or isinstance(part, keras.layers.Lambda)
        or not type(part).__module__.startswith(known)
        for part in parts
    )


def _probe_rows(network: keras.Model, rows: TensorTree, number: int) -> None:
    before, again = (keras.tree.flatten(network(rows, training=False)) for _ in range(2))
    if not all(map(_is_same, before, again)):
        return  # random numbers hide the effect of other samples
    for changed in {0, number - 1}:
        after = keras.tree.flatten(network(_change_row(rows, changed), training=False))
        for left, right in zip(before, after, strict=True):
            left, right = ops.convert_to_numpy(left), ops.convert_to_numpy(right)
            _check_only_row_changed(network.name, left, right, number, changed)


def _is_same(left: Tensor, right: Tensor) -> bool:
    left, right = (ops.convert_to_numpy(ops.cast(each, "float32")) for each in (left, right))
    return np.allclose(left, right, equal_nan=True)


def _first_to_mix(network: keras.Model, rows: TensorTree, number: int) -> str:
    """Describes the first operation of a graph that mixes samples; empty if unknown."""
    for operation in getattr(network, "operations", getattr(network, "layers", ())):
        try:
            inputs = network.inputs[0] if isinstance(network, keras.Sequential) else network.input
            part = keras.Model(inputs, operation.output)
        except (AttributeError, ValueError):  # never called, or called more than once
            continue
        try:
            _probe_rows(part, rows, number)
        except ValueError:
            return f"; it happens first in {operation.name!r}"
    return ""


def accepted_rows(network: keras.Model, inputs: TensorTree, number: int) -> TensorTree:
    """Returns synthetic inputs for a network, with an accepted size of unknown axes."""
    if not any(None in spec.shape[1:] for spec in keras.tree.flatten(inputs)):
        return made_up_rows(inputs, number)
    for length in UNKNOWN_AXES:
        rows = made_up_rows(inputs, number, length)
        with suppress(Exception):  # of a network that does not support this size
            network(rows, training=False)
            return rows
    return made_up_rows(inputs, number)


def made_up_rows(inputs: TensorTree, number: int, length: int = UNKNOWN_AXES[0]) -> TensorTree:
    """Returns zeros and ones for objects with `shape` and `dtype`: valid pixels, features and indices."""
    return keras.tree.map_structure(lambda spec: _random_rows(spec, number, length), inputs)


def _random_rows(spec: Any, number: int, length: int) -> np.ndarray:
    shape = [length if axis is None else axis for axis in spec.shape[1:]]
    dtype = keras.backend.standardize_dtype(spec.dtype)
    return np.random.default_rng(0).integers(0, 2, (number, *shape)).astype(dtype)


def _change_row(rows: TensorTree, index: int) -> TensorTree:
    def change(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array[:index], 1 - array[index : index + 1], array[index + 1 :]])

    return keras.tree.map_structure(change, rows)


def _check_only_row_changed(name: str, before: np.ndarray, after: np.ndarray, number: int, changed: int) -> None:
    if before.shape[0] != number:
        raise ValueError(
            f"Network {name!r} must return one output per input sample, in the same order; it drops or adds "
            f"samples. Received: {before.shape[0]} outputs for {number} samples"
        )
    before, after = before.reshape(number, -1).astype("float64"), after.reshape(number, -1).astype("float64")
    differs = ~np.isclose(before, after, rtol=1e-3, atol=1e-4, equal_nan=True).all(1)
    others = [int(row) for row in np.flatnonzero(differs) if row != changed]
    if others:
        raise ValueError(
            f"Network {name!r} must keep samples separate and in order (their position identifies the member); it "
            f"reorders or mixes them. Received: a change of sample {changed} changed the outputs of samples {others}"
        )


def member_network(network: keras.Model, member: int, space: HyperparameterSpace, values: np.ndarray) -> keras.Model:
    """Returns a plain Keras model of one member, with its own weights. Requires a hyperparameter scope.

    Shared custom layers, and layers with common weights, are reused.

    Args:
        network: Sequential, Functional, or nested of those.
        member: k.
        space: Space of the ensemble.
        values: `[M, 1, P]`, the values at which kernels are folded.

    Raises:
        ValueError: If the network, or a part of it, is a subclassed model or a layer that contains hyper-batch layers.
    """
    by_name = dict(zip(space.names, map(float, values[member, 0]), strict=True))
    pairs: list[Pair] = []
    kept = tied(network)

    def plain_of(layer: keras.layers.Layer) -> keras.layers.Layer:
        is_hyper = isinstance(layer, HyperLayer)
        if is_hyper:
            return layer.member_layer(by_name)
        return layer if id(layer) in kept else copy_of(layer)

    def inside_wrapper(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return keras.models.clone_model(layer, clone_function=clone, recursive=True)
        return plain_of(layer)

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if is_wrapper(layer):
            plain, inside = rewrapped(layer, inside_wrapper)
            pairs.extend(pair for pair in inside if not isinstance(pair[0], keras.Model))
            return plain
        plain = plain_of(layer)
        if isinstance(layer, keras.layers.Layer):  # not an operation such as a slice
            pairs.append((layer, plain))
        return plain

    for part in (layer for layer in network._flatten_layers() if isinstance(layer, keras.Model)):
        is_graph = type(part).__name__ in ("Sequential", "Functional") or type(part) is keras.Model
        if not is_graph and hyper_layers(part):
            raise _cannot_extract(part)
    plain_network = keras.models.clone_model(network, clone_function=clone, recursive=True)
    for layer, plain in pairs:
        is_hyper = isinstance(layer, HyperLayer)
        if is_hyper:
            plain.set_weights(layer.member_weights(member, values))
        elif plain is not layer:
            take_state(plain, layer)
    for hidden in hyper_layers(plain_network):
        raise _cannot_extract(hidden)
    return plain_network


def _cannot_extract(part: keras.layers.Layer) -> ValueError:
    return ValueError(
        "A single member can be extracted from Sequential and Functional networks, also nested, with hyper-batch "
        "layers in the graph; define the network that way, or use `predict_members`. "
        f"Received: {part.name!r} of type {type(part).__name__}"
    )
