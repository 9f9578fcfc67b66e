"""Which layers can read a plain batch, so that a prediction tiles nothing: all before them is computed once."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_hyperens.layers import HyperBatchLayer
from keras_hyperens.layers import HyperLayer
from keras_hyperens.layers.noise import HyperNoise

Step = tuple[Any, list[int], list[int]]  # an operation, and what names its inputs and its outputs


def first_layers(network: keras.Model) -> frozenset[HyperBatchLayer]:
    """The layers of a graph at which rows of M members begin, in inference.

    Before them are ordinary layers alone, which treat rows one by one. There are none, and a batch must be tiled, where
    the graph is unknown, calls a layer twice, or has an operation that would see plain and tiled rows together.
    """
    first: set[HyperBatchLayer] = set()
    tiled: set[int] = set()
    for operation, inputs, outputs in _steps(network):
        are_tiled = {name in tiled for name in inputs}
        if len(are_tiled) != 1:
            return frozenset()
        if are_tiled == {False}:
            if isinstance(operation, HyperBatchLayer):
                first.add(operation)
            elif _has_members(operation):
                return frozenset()
            else:
                continue
        tiled.update(outputs)
    ends = (
        {len(network.layers)}
        if isinstance(network, keras.Sequential)
        else set(map(id, getattr(network, "outputs", ())))
    )
    return frozenset(first) if ends <= tiled else frozenset()


def _has_members(operation: Any) -> bool:
    """Whether an operation needs rows of members; noise and dropout do nothing in inference."""
    inside = operation._flatten_layers() if isinstance(operation, keras.layers.Layer) else ()
    return any(isinstance(layer, HyperLayer) and not isinstance(layer, HyperNoise) for layer in inside)


def _steps(network: keras.Model) -> Iterator[Step]:
    if isinstance(network, keras.Sequential):
        for place, layer in enumerate(network.layers):
            yield layer, [place], [place + 1]
        return
    for operation in getattr(network, "operations", ()):
        nodes = operation._inbound_nodes
        if isinstance(operation, keras.layers.InputLayer):
            continue
        if len(nodes) != 1:
            yield operation, [], []  # of what: unknown
            return
        yield operation, [id(each) for each in nodes[0].input_tensors], [id(each) for each in nodes[0].output_tensors]
