"""Network with precomputed kernels of its members, for serving."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_hyperens.hyperparameters import hyperparameter_scope
from keras_hyperens.layers.folding import Stored
from keras_hyperens.layers.folding import one_member
from keras_hyperens.layers.normalization import MemberNormalization
from keras_hyperens.models.export import Servable
from keras_hyperens.models.network import hyper_batch_layers
from keras_hyperens.models.network import hyper_layers
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


def member_by_member(network: keras.Model, members: Sequence[int], values: Tensor, centers: Tensor) -> Servable:
    """Calls the network once per member, with the member's kernels, on the plain batch.

    Only outputs are joined, nothing is tiled, and the memory of one member's step fits the cache. TensorFlow computes
    the common part before the first kernel once.

    Args:
        network: A built network of hyper-batch and ordinary layers.
        members: Indices of members.
        values: `[M, 1, P]`, a NumPy array: constants of the trace.
        centers: Centers of the scope, likewise.
    """
    stored = [Stored(member, {}) for member in members]
    for layer in hyper_batch_layers(network):
        with hyperparameter_scope(values, centers):
            kernels, biases = layer.fold(values)
        for each in stored:
            kernel = kernels[each.member]
            bias = None if biases is None else biases[each.member : each.member + 1]
            each.weights[layer] = keras.tree.map_structure(_variable, (kernel, bias))
    replaced = {
        id(weight)
        for layer in hyper_layers(network)
        if not isinstance(layer, MemberNormalization)
        for weight in layer.weights
    }
    read = [variable.value for variable in network.variables if id(variable) not in replaced]  # including seeds
    read += [
        each for member in stored for each in keras.tree.flatten(list(member.weights.values())) if each is not None
    ]

    def outputs_of(inputs: TensorTree) -> TensorTree:
        outputs = []
        for member in stored:
            with hyperparameter_scope(values, centers), one_member(member):
                outputs.append(network(inputs, training=False))
        return keras.tree.map_structure(lambda *each: ops.stack(each), *outputs)

    return read, outputs_of


def _variable(weight: Any) -> tf.Variable | None:
    return None if weight is None else tf.Variable(weight, trainable=False)
