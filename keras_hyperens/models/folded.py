"""A network with its members' kernels built once, for serving."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextlib import ExitStack
from typing import Any

import keras
import tensorflow as tf

from keras_hyperens.hyperparameters import hyperparameter_scope
from keras_hyperens.layers.folding import stored_weights
from keras_hyperens.models.network import hyper_batch_layers
from keras_hyperens.models.network import hyper_layers


def folded(network: keras.Model, values: Any) -> tuple[list[tf.Variable], Callable[[], AbstractContextManager]]:
    """Variables that hold all that a prediction at `values` reads, and a context in which the network reads them.

    Args:
        network: Of hyper-batch and ordinary layers, built.
        values: `[M, 1, P]`, a NumPy array: constants of the trace.
    """
    weights = {}
    for layer in hyper_batch_layers(network):
        kernels, biases = layer.fold(values)
        weights[layer] = keras.tree.map_structure(_variable, (kernels, biases))
    own = {id(weight) for layer in hyper_layers(network) for weight in layer.weights}
    shared = [weight.value for weight in network.weights if id(weight) not in own]

    def context() -> AbstractContextManager:
        stack = ExitStack()
        stack.enter_context(hyperparameter_scope(values))
        stack.enter_context(stored_weights(weights))
        return stack

    stored = [weight for weight in keras.tree.flatten(list(weights.values())) if weight is not None]
    return [*stored, *shared], context


def _variable(weight: Any) -> tf.Variable | None:
    return None if weight is None else tf.Variable(weight, trainable=False)
