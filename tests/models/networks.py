"""Small networks of hyper-batch layers, and data for them."""

import keras
import numpy as np

import keras_hyperens as khe

M = 3
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def space():
    return khe.HyperparameterSpace(
        [khe.Hyperparameter("l2", 1e-6, 1e-1, "log"), khe.Hyperparameter("rate", 0.1, 0.6, "linear")]
    )


def members(size=M):
    return {"ensemble_size": size, "space": space()}


def dense_network(classes=3, rate="rate", size=M, **arguments):
    return keras.Sequential(
        [
            keras.Input((4,)),
            khe.HyperBatchDense(8, activation="relu", kernel_l2="l2", bias_l2="l2", **members(size), **arguments),
            khe.HyperDropout(rate, **members(size)),
            keras.layers.Dense(6, activation="relu"),  # ordinary: shared by all members
            khe.HyperBatchDense(classes, kernel_l2="l2", **members(size), **arguments),
        ]
    )


def conv_network(size=M):
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            khe.HyperBatchConv2D(4, 3, activation="relu", kernel_l2="l2", **members(size)),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.2),
            khe.HyperDropout("rate", **members(size)),
            khe.HyperBatchDense(3, kernel_l2="l2", **members(size)),
        ]
    )


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """A network that only knows its shapes when it is called."""

    def __init__(self, classes=3, **kwargs):
        super().__init__(**kwargs)
        self.classes = classes
        self.first = khe.HyperBatchDense(8, activation="relu", kernel_l2="l2", **members())
        self.drop = khe.HyperDropout("rate", **members())
        self.last = khe.HyperBatchDense(classes, kernel_l2="l2", **members())

    def call(self, inputs, training=None):
        return self.last(self.drop(self.first(inputs), training=training), training=training)

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


def blobs(rows=40, features=4, classes=3, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, rows)
    centers = np.random.default_rng(7).normal(0, 1.5, (classes, features))
    return (centers[labels] + generator.normal(size=(rows, features))).astype("float32"), labels


def images(rows=40, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(rows, 6, 6, 1)).astype("float32"), generator.integers(0, 3, rows)


def compiled(network=None, size=M, seed=0, **arguments):
    """Without a temperature: predictions are means of members' (tests/models/test_tuned_temperature.py has one)."""
    network = dense_network(size=size) if network is None else network
    ensemble = khe.HyperBatchEnsemble(network, **members(size), seed=seed)
    ensemble.compile(**{"optimizer": "adam", "loss": LOGITS, "tune_temperature": False, **arguments})
    return ensemble


def deep(outputs=3, activation=None, loss=LOGITS):
    """A hyper-deep ensemble of two small members, with weights and hyperparameters."""

    def member(units):
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(units, "relu"), keras.layers.Dense(outputs, activation)]
        )
        model.compile("sgd", loss)
        return model

    values = [{"units": 2, "l2": 1e-3}, {"units": 4}]
    ensemble = khe.HyperDeepEnsemble([member(2), member(4)], member_weights=[3, 1], member_hyperparameters=values)
    ensemble.run_eagerly = True
    return ensemble
