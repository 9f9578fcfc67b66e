"""A step of LeNet: ours, and one written by hand around edward2's layers; forward, backward and Adam, no tuning."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_hyperens as khe
from benchmarks.speed.edward2_layers import Reference
from benchmarks.speed.edward2_layers import of_rows
from keras_hyperens.layers import HyperBatchLayer

SHAPE, CLASSES = (32, 32, 3), 10


def steps(sampling: str, members: int, rows: int) -> dict[str, Callable[[], Any]]:
    """A step of ours and one of theirs, on the same rows and from the same weights."""
    generator = np.random.default_rng(0)
    x = tf.constant(generator.normal(size=(rows, *SHAPE)).astype("float32"))
    y = tf.constant(generator.integers(0, CLASSES, rows))
    ensemble = khe.HyperBatchEnsemble.from_hypermodel(_build_model, ensemble_size=members, seed=0)
    ensemble.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), sampling=sampling)
    ensemble._prepare(tf.TensorSpec((None, *SHAPE)))
    theirs = Lenet(ensemble, sampling)
    values, positions = theirs.draw(rows)
    theirs.outputs(x, values, positions, training=False)  # creates their weights
    theirs.take_weights()
    with khe.hyperparameter_scope(tf.reshape(values, (members, rows, -1))):
        expected = ensemble._member_outputs(x, training=False)  # [M, B, C]
    outputs = theirs.outputs(x, values, positions, training=False)
    np.testing.assert_allclose(tf.reshape(outputs, expected.shape), expected, rtol=1e-3, atol=1e-3)
    ours = tf.function(lambda: ensemble.train_step((x, y)))
    return {
        "ours": lambda: keras.tree.map_structure(np.asarray, ours()),
        "theirs": lambda: np.asarray(theirs.step(x, y)),
    }


def _build_model(hp: Any) -> keras.Model:
    """LeNet, whose penalty is open; the dropout is not, because edward2 has no layer for it."""
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
    penalties = {"kernel_regularizer": l2, "bias_regularizer": l2}
    conv, dense = keras.layers.Conv2D, keras.layers.Dense
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            conv(6, 5, padding="same", activation="relu", **penalties),
            keras.layers.MaxPooling2D(),
            conv(16, 5, activation="relu", **penalties),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.2),
            dense(120, activation="relu", **penalties),
            keras.layers.Dropout(0.2),
            dense(84, activation="relu", **penalties),
            keras.layers.Dropout(0.2),
            dense(CLASSES, **penalties),
        ]
    )


class Lenet:
    """The same network of edward2's layers, and what its scripts do around them."""

    def __init__(self, ensemble: khe.HyperBatchEnsemble, sampling: str) -> None:
        self.members, self.space, self.sampling = ensemble.ensemble_size, ensemble.space, sampling
        self.layers = [self._layer_of(layer) for layer in ensemble.network.layers]
        self.optimizer = tf.keras.optimizers.Adam()

    def _layer_of(self, layer: keras.layers.Layer) -> Any:
        if isinstance(layer, HyperBatchLayer):
            return Reference(layer)
        if isinstance(layer, khe.HyperDropout):
            return tf.keras.layers.Dropout(layer.rate)
        return getattr(tf.keras.layers, type(layer).__name__)()  # pooling and flattening have no arguments here

    @property
    def references(self) -> list[Reference]:
        return [layer for layer in self.layers if isinstance(layer, Reference)]

    def take_weights(self) -> None:
        for layer in self.references:
            layer.take_weights()

    def draw(self, rows: int) -> tuple[Any, Any]:
        """Values and positions `[M*B, 1]`, uniform on the logarithmic scale."""
        positions = tf.random.uniform((self.members, rows if self.sampling == "example" else 1, 1), -1 / 3, 1 / 3)
        return tuple(of_rows(drawn, self.members * rows) for drawn in (self.space.values(positions), positions))

    def outputs(self, x: Any, values: Any, positions: Any, training: bool) -> Any:
        rows = tf.tile(x, [self.members] + [1] * (len(x.shape) - 1))
        for layer in self.layers:
            is_reference = isinstance(layer, Reference)
            rows = layer(rows, values, positions) if is_reference else layer(rows, training=training)
        return rows  # [M*B, C]

    @tf.function
    def step(self, x: Any, y: Any) -> Any:
        variables = [variable for layer in self.references for variable in layer.variables]
        with tf.GradientTape() as tape:
            outputs = self.outputs(x, *self.draw(x.shape[0]), training=True)
            errors = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.tile(y, [self.members]), outputs)
            penalties = [penalty for layer in self.references for penalty in layer.layer.losses]
            loss = tf.reduce_mean(errors) + tf.add_n(penalties)
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss
