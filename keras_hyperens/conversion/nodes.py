"""Calls of a Functional model."""

from typing import Any

import keras


def nodes_of(graph: keras.Model) -> list[Any]:
    """Returns the calls of a Functional model in order."""
    by_depth = graph._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]


def unbatched(model: keras.Model) -> dict[int, str]:
    """Returns the reason for layers, by id, that are called on an input without a batch axis, at any depth."""
    graph = getattr(model, "_functional", None) or model
    if not hasattr(graph, "_nodes_by_depth") or any(each.shape[:1] != (None,) for each in model.inputs or ()):
        found = {}
    else:
        found = {
            id(node.operation): "it does not process the batch"
            for node in nodes_of(graph)
            if node.arguments.keras_tensors and node.arguments.keras_tensors[0].shape[:1] != (None,)
        }
    for layer in getattr(model, "layers", ()):
        inner = layer.layer if type(layer) is keras.layers.TimeDistributed else layer
        found |= unbatched(inner) if isinstance(inner, keras.Model) else {}
        if id(layer) in found and isinstance(inner, keras.Model):
            found |= {id(each): found[id(layer)] for each in inner._flatten_layers()}
    return found


def flat_arguments(node: Any) -> list[Any]:
    """Returns the arguments of a call, except `training`."""
    kwargs = {name: each for name, each in node.arguments.kwargs.items() if name != "training"}
    return keras.tree.flatten((node.arguments.args, kwargs))
