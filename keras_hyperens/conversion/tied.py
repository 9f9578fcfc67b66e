"""Weights that several layers or operations of a model use."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_hyperens.conversion.nodes import flat_arguments
from keras_hyperens.conversion.nodes import nodes_of


def tied(model: keras.Model) -> dict[int, str]:
    """Returns the reason for layers, by id, whose weights another layer or an operation uses, at any depth.

    One of them could not become member-specific without the other, and a copy would not be tied.
    """
    users: dict[int, dict[int, Any]] = {}  # by weight, then by user
    for user, weights in _users(model):
        for weight in weights:
            users.setdefault(id(weight), {})[id(user)] = user
    found = {}
    for of_weight in users.values():
        for key, user in of_weight.items():
            others = [each.name for other, each in of_weight.items() if other != key]
            if others and isinstance(user, keras.layers.Layer):
                found[key] = f"{others[0]!r} uses its weights, too"
    return found


def _users(layer: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Yields the layers of a graph with their weights, and operations with the weights among their arguments."""
    if isinstance(layer, keras.Model) and hasattr(layer, "operations"):
        for node in nodes_of(layer):
            yield node.operation, [each for each in flat_arguments(node) if isinstance(each, keras.Variable)]
    if isinstance(layer, keras.Sequential) or (isinstance(layer, keras.Model) and hasattr(layer, "operations")):
        inside = layer.layers
    elif isinstance(layer, keras.layers.TimeDistributed):
        inside = [layer.layer]
    elif isinstance(layer, keras.layers.Bidirectional):
        inside = [layer.forward_layer, layer.backward_layer]
    else:
        yield layer, layer.weights
        return
    for each in inside:
        yield from _users(each)
