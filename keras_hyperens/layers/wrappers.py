"""Copies of layers, and Keras wrappers around layers of members or plain layers."""

import tempfile
from collections.abc import Callable
from typing import Any

import keras

from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.time_distributed import HyperBatchTimeDistributed

Pair = tuple[keras.layers.Layer, keras.layers.Layer]  # an old layer, and its replacement


def copy_of(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns a copy of a layer or operation by its configuration, or the layer itself if that may be incomplete."""
    if is_kept(layer):
        return layer
    try:
        return type(layer).from_config(layer.get_config())
    except Exception:  # such as a lambda regularizer, which configurations do not support
        return layer


def is_kept(layer: keras.layers.Layer) -> bool:
    """Whether a layer is reused: a custom layer, or one with a state that is not in its configuration."""
    if not isinstance(layer, keras.layers.Layer):
        return False
    own = type(layer).__module__.split(".")[0] not in ("keras", "keras_hyperens")
    adapted = hasattr(layer, "adapt") or getattr(layer, "quantization_mode", None) is not None
    return own or adapted or has_lora(layer) or isinstance(layer, keras.layers.Lambda)


def has_lora(layer: keras.layers.Layer) -> bool:
    """Whether a layer, or a sublayer, has LoRA factors."""
    return any(getattr(each, "lora_enabled", False) for each in layer._flatten_layers())


def weights_of(layer: keras.layers.Layer) -> list[Any]:
    """Returns the weights of a layer, with LoRA factors merged into its kernels."""
    merged: dict[int, Any] = {}
    for each in layer._flatten_layers():
        if getattr(each, "lora_enabled", False):
            name = "embeddings" if hasattr(each, "_embeddings") else "kernel"
            merged[id(getattr(each, f"_{name}"))] = getattr(each, name)
            merged |= {id(getattr(each, f"lora_{name}_{part}")): None for part in "ab"}
    values = [merged.get(id(weight), weight) for weight in layer.weights]
    return [keras.ops.convert_to_numpy(value) for value in values if value is not None]


def take_state(new: keras.layers.Layer, old: keras.layers.Layer) -> None:
    """Copies the complete saved state of a layer: weights, custom variables, and files such as a vocabulary."""
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
    """Whether `rewrapped` supports the wrapper."""
    return type(layer) in (keras.layers.TimeDistributed, HyperBatchTimeDistributed, keras.layers.Bidirectional)


def rewrapped(wrapper: keras.layers.Layer, counterpart: Callable[[Any], Any]) -> tuple[keras.layers.Layer, list[Pair]]:
    """Returns the same wrapper around the counterparts of its inner layers.

    Args:
        wrapper: `TimeDistributed` or `Bidirectional`.
        counterpart: Maps an inner layer to a new layer.

    Returns:
        The new wrapper, and the pairs of old and new inner layers.
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
    return new, list(zip(old, (new.forward_layer, new.backward_layer)))  # it copies the first one
