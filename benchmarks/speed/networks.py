"""Ordinary hypermodels to measure with: an MLP, LeNet and a small ResNet, as `build_model(hp)`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from benchmarks import experiment
from benchmarks.experiment import Hypermodel
from benchmarks.networks import lenet
from keras_hyperens.models import HyperBatchEnsemble

CLASSES = 10


def mlp(l2: float, dropout: float, image_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Three layers of 512 units."""
    dense = partial(keras.layers.Dense, kernel_regularizer=keras.regularizers.L2(l2))
    layers = [keras.Input(image_shape), keras.layers.Flatten()]
    for _ in range(3):
        layers += [dense(512, activation="relu"), keras.layers.Dropout(dropout)]
    return keras.Sequential([*layers, dense(num_classes)])


def resnet(l2: float, dropout: float, image_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """ResNet-8: three blocks of 16, 32 and 64 filters."""
    conv = partial(keras.layers.Conv2D, padding="same", use_bias=False, kernel_regularizer=keras.regularizers.L2(l2))

    def activated(rows: keras.KerasTensor) -> keras.KerasTensor:
        return keras.layers.ReLU()(keras.layers.BatchNormalization()(rows))

    inputs = keras.Input(image_shape)
    rows = conv(16, 3)(inputs)
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        inner = activated(rows)
        beside = conv(filters, 1, strides=strides)(inner) if strides > 1 else rows
        inner = conv(filters, 3)(activated(conv(filters, 3, strides=strides)(inner)))
        rows = keras.layers.Add()([inner, beside])
    rows = keras.layers.Dropout(dropout)(keras.layers.GlobalAveragePooling2D()(activated(rows)))
    return keras.Model(inputs, keras.layers.Dense(num_classes)(rows))


NETWORKS: dict[str, tuple[Callable[..., keras.Model], tuple[int, ...]]] = {
    "MLP": (mlp, (28, 28, 1)),
    "LeNet": (lenet, (32, 32, 3)),
    "ResNet-8": (resnet, (32, 32, 3)),
}


def hypermodel(name: str) -> Hypermodel:
    """An ordinary `build_model(hp)`: L2 and dropout are open."""
    network, shape = NETWORKS[name]

    def build_model(hp: Any) -> keras.Model:
        l2, dropout = hp.Float("l2", 1e-6, 1e-2, sampling="log"), hp.Float("dropout", 0.0, 0.5, default=0.2)
        model = network(l2, dropout, shape, CLASSES)
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    return build_model


def compiled(name: str, members: int, **compile_arguments: Any) -> keras.Model:
    """A hyper-batch ensemble ready for `fit`; with 0 members a plain network."""
    if not members:
        return experiment.with_values(hypermodel(name), {})[0]
    ensemble = HyperBatchEnsemble.from_hypermodel(hypermodel(name), ensemble_size=members, seed=0)
    ensemble.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), **compile_arguments)
    return ensemble


def arrays(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images and labels."""
    generator = np.random.default_rng(0)
    images = generator.normal(size=(count, *NETWORKS[name][1])).astype("float32")
    return images, generator.integers(0, CLASSES, count)
