"""What a served network reads: its members' kernels, built once, or the shared ones."""

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

Servable = tuple[list[tf.Variable], Callable[[], AbstractContextManager]]


def with_member_kernels(network: keras.Model, values: Any) -> Servable:
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


def with_shared_kernels(network: keras.Model, values: Any) -> Servable:
    """The same with the weights as they were trained: fewer of them, and each call builds the members' kernels."""
    return [weight.value for weight in network.weights], lambda: hyperparameter_scope(values)


def _variable(weight: Any) -> tf.Variable | None:
    return None if weight is None else tf.Variable(weight, trainable=False)
