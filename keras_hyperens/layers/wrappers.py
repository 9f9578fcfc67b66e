"""Copies of layers, and Keras' wrappers around a layer of members or around a plain one."""

import tempfile
from collections.abc import Callable
from typing import Any

import keras

from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.time_distributed import HyperBatchTimeDistributed

Pair = tuple[keras.layers.Layer, keras.layers.Layer]  # an old layer, and the new one in its place


def copy_of(layer: Any) -> Any:
    """A new layer, or bare operation, of the same configuration; a function stays the same object."""
    return layer if isinstance(layer, keras.layers.Lambda) else type(layer).from_config(layer.get_config())


def take_state(new: keras.layers.Layer, old: keras.layers.Layer) -> None:
    """All that Keras would save of a layer: weights, variables of its own kind, and files such as a vocabulary."""
    new.set_weights(old.get_weights())
    if type(old).save_own_variables is not keras.layers.Layer.save_own_variables:
        store: dict[str, Any] = {}
        old.save_own_variables(store)
        new.load_own_variables(store)
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)


def is_wrapper(layer: Any) -> bool:
    """Whether a layer is one of the wrappers that `rewrapped` knows."""
    return type(layer) in (keras.layers.TimeDistributed, HyperBatchTimeDistributed, keras.layers.Bidirectional)


def rewrapped(wrapper: Any, counterpart: Callable[[Any], Any]) -> tuple[keras.layers.Layer, list[Pair]]:
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
        kind = HyperBatchTimeDistributed if isinstance(inner, HyperLayer) else keras.layers.TimeDistributed
        return kind(inner, **own), [(wrapper.layer, inner)]
    old = wrapper.forward_layer, wrapper.backward_layer
    forward, backward = map(counterpart, old)
    new = keras.layers.Bidirectional(forward, wrapper.merge_mode, backward_layer=backward, **own)
    return new, list(zip(old, (new.forward_layer, new.backward_layer)))  # it makes its own copy of the first
