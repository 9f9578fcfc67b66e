"""Copies of layers, and Keras' wrappers around a layer of members or around a plain one."""

import tempfile
from collections.abc import Callable
from typing import Any

import keras

from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.time_distributed import HyperBatchTimeDistributed

Pair = tuple[keras.layers.Layer, keras.layers.Layer]  # an old layer, and the new one in its place


def copy_of(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A new layer, or bare operation, of the same configuration; itself where that may not be all that it is."""
    if is_kept(layer):
        return layer
    try:
        return type(layer).from_config(layer.get_config())
    except Exception:  # such as a regularizer that is a lambda, which no configuration holds
        return layer


def is_kept(layer: keras.layers.Layer) -> bool:
    """Whether a layer is used as it is: somebody's own, or with a state that is not in its configuration."""
    if not isinstance(layer, keras.layers.Layer):
        return False
    own = type(layer).__module__.split(".")[0] not in ("keras", "keras_hyperens")
    adapted = hasattr(layer, "adapt") or getattr(layer, "quantization_mode", None) is not None
    return own or adapted or has_lora(layer) or isinstance(layer, keras.layers.Lambda)


def has_lora(layer: keras.layers.Layer) -> bool:
    """Whether a layer, or a part of it, was given low-rank factors."""
    return any(getattr(each, "lora_enabled", False) for each in layer._flatten_layers())


def weights_of(layer: keras.layers.Layer) -> list[Any]:
    """The weights of a layer, its low-rank factors merged into its kernels."""
    merged: dict[int, Any] = {}
    for each in layer._flatten_layers():
        if getattr(each, "lora_enabled", False):
            name = "embeddings" if hasattr(each, "_embeddings") else "kernel"
            merged[id(getattr(each, f"_{name}"))] = getattr(each, name)
            merged |= {id(getattr(each, f"lora_{name}_{part}")): None for part in "ab"}
    values = [merged.get(id(weight), weight) for weight in layer.weights]
    return [keras.ops.convert_to_numpy(value) for value in values if value is not None]


def take_state(new: keras.layers.Layer, old: keras.layers.Layer) -> None:
    """All that Keras would save of a layer: weights, variables of its own kind, and files such as a vocabulary."""
    new.set_weights(old.get_weights())
    plain = keras.layers.Layer
    if (
        type(old).save_own_variables is not plain.save_own_variables
        or type(old).load_own_variables is not plain.load_own_variables
    ):
        store: dict[str, Any] = {}
        old.save_own_variables(store)
        new.load_own_variables(store)
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)


def is_wrapper(layer: keras.layers.Layer) -> bool:
    """Whether a layer is one of the wrappers that `rewrapped` knows."""
    return type(layer) in (keras.layers.TimeDistributed, HyperBatchTimeDistributed, keras.layers.Bidirectional)


def rewrapped(wrapper: keras.layers.Layer, counterpart: Callable[[Any], Any]) -> tuple[keras.layers.Layer, list[Pair]]:
    """The same wrapper around the counterparts of the layers inside.

    Args:
        wrapper: `TimeDistributed` or `Bidirectional`.
        counterpart: From a layer inside to a new one.

    Returns:
        The new wrapper, and which layer inside is in the place of which.
    """
    own = {"name": wrapper.name, "dtype": wrapper.dtype_policy}
    if isinstance(wrapper, keras.layers.TimeDistributed):
        inner = counterpart(wrapper.layer)
        has_members = any(isinstance(each, HyperLayer) for each in inner._flatten_layers())
        kind = HyperBatchTimeDistributed if has_members else keras.layers.TimeDistributed
        return kind(inner, **own), [(wrapper.layer, inner)]
    old = wrapper.forward_layer, wrapper.backward_layer
    forward, backward = map(counterpart, old)
    new = keras.layers.Bidirectional(forward, wrapper.merge_mode, backward_layer=backward, **own)
    return new, list(zip(old, (new.forward_layer, new.backward_layer)))  # it makes its own copy of the first
