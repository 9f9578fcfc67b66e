"""Predictions that tile nothing: which networks allow it, and that they are the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.layers.members import plain_batches_for
from keras_hyperens.models.untiled import first_layers

M = 3
SPACE = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-2), khe.Hyperparameter("rate", 0.1, 0.5)])
MEMBERS = {"ensemble_size": M, "hyperparameters": SPACE}


def conv(filters, **arguments):
    return khe.HyperBatchConv2D(filters, 3, padding="same", kernel_l2="l2", **MEMBERS, **arguments)


def dense(units):
    return khe.HyperBatchDense(units, kernel_l2="l2", **MEMBERS)


def chain():
    layers = [keras.layers.Rescaling(2.0), khe.HyperDropout("rate", **MEMBERS), conv(7, activation="relu")]
    return keras.Sequential([keras.Input((4, 4, 2)), *layers, keras.layers.Flatten(), dense(3)])


def dense_first():
    return keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Flatten(), dense(5), dense(3)])


def branches():
    inputs = keras.Input((4, 4, 2))
    rows = keras.layers.Rescaling(2.0)(inputs)
    both = keras.layers.Concatenate()([conv(7)(rows), conv(5)(rows)])
    return keras.Model(inputs, dense(3)(keras.layers.Flatten()(both)))


def einsum_first():
    inputs = keras.Input((4, 4, 2))
    rows = khe.layers.HyperBatchEinsumDense("abcd,de->abce", (None, None, 5), bias_axes="e", **MEMBERS)(inputs)
    return keras.Model(inputs, dense(3)(keras.layers.Flatten()(rows)))


def residual():
    inputs = keras.Input((4, 4, 2))
    return keras.Model(inputs, dense(3)(keras.layers.Flatten()(inputs + conv(2)(inputs))))


def twice():
    inputs, layer = keras.Input((4, 4, 2)), conv(2)
    return keras.Model(inputs, dense(3)(keras.layers.Flatten()(layer(layer(inputs)))))


def normalised():
    layers = [khe.layers.MemberBatchNormalization(ensemble_size=M), keras.layers.Flatten(), dense(3)]
    return keras.Sequential([keras.Input((4, 4, 2)), *layers])


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.flatten, self.dense = keras.layers.Flatten(), dense(3)

    def build(self, input_shape):
        self.dense.build((None, 32))

    def call(self, inputs):
        return self.dense(self.flatten(inputs))


@pytest.mark.parametrize("rows", [2, 200])
@pytest.mark.parametrize(("make", "number"), [(chain, 1), (dense_first, 1), (branches, 2), (einsum_first, 1)])
def test_the_first_layers_read_the_batch_itself_and_predictions_are_the_same(make, number, rows):
    network = make()
    batch = np.random.default_rng(0).normal(size=(rows, 4, 4, 2)).astype("float32")
    network.set_weights([np.random.default_rng(1).normal(0.3, 0.3, w.shape) for w in network.get_weights()])
    ensemble = khe.HyperBatchEnsemble(network, **MEMBERS, output_activation="softmax", seed=0)
    assert len(first_layers(network)) == number
    with khe.hyperparameter_scope(ensemble.mean_values()):
        expected = np.reshape(network(np.concatenate([batch] * M), training=False), (M, rows, 3))
    np.testing.assert_allclose(ensemble.member_outputs(batch, training=False), expected, rtol=1e-4, atol=1e-4)
    assert not any(_copies(batch.shape, operation) for operation in _traced(ensemble, batch))


@pytest.mark.parametrize("make", [residual, twice, normalised, Subclassed])
def test_where_rows_would_be_mixed_or_the_graph_is_unknown_the_batch_is_tiled(make):
    network = make()
    batch = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype("float32")
    ensemble = khe.HyperBatchEnsemble(network, **MEMBERS, output_activation="softmax", seed=0)
    assert ensemble.predict(batch, verbose=0).shape == (2, 3)
    assert first_layers(network) == frozenset()


def test_a_training_step_tiles_because_noise_differs_between_members():
    network = chain()
    ensemble = khe.HyperBatchEnsemble(network, **MEMBERS, output_activation="softmax", seed=0)
    values = np.tile(np.asarray([1e-3, 0.5], "float32"), (M, 1, 1))
    with khe.hyperparameter_scope(values), plain_batches_for(frozenset()):
        outputs = ensemble.member_outputs(np.ones((2, 4, 4, 2), "float32"), training=True)
    assert outputs.shape == (M, 2, 3)


def _traced(ensemble, batch):
    step = tf.function(lambda: ensemble.member_outputs(batch, training=False))
    return step.get_concrete_function().graph.get_operations()


def _copies(shape, operation):
    """Whether an operation makes M copies of the batch, in whatever shape."""
    sizes = [output.shape.num_elements() for output in operation.outputs if output.shape.rank]
    return operation.type in ("ConcatV2", "Tile") and M * int(np.prod(shape)) in sizes
