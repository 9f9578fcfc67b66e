"""Small ordinary Keras networks, and the hypermodel `build_model(hp)` that gives every method here."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import keras_tuner

from benchmarks.data import Data
from benchmarks.experiment import Hypermodel
from benchmarks.experiment import Schedule
from benchmarks.experiment import classifier

GROUPS = ("convolutions", "dense", "output")  # of layers
Strength = float | Mapping[str, float]  # one for all layers, or one for each group


def small_conv(l2: Strength, dropout: float, image_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Two convolutions and a dense layer, for images of 8x8."""
    conv = partial(
        keras.layers.Conv2D, kernel_size=3, padding="same", activation="relu", **_penalty(l2, "convolutions")
    )
    pool = keras.layers.MaxPooling2D
    layers = [conv(16), pool(), conv(32), pool()]
    return keras.Sequential([keras.Input(image_shape), *layers, *_head(l2, dropout, (64,), num_classes)])


def lenet(l2: Strength, dropout: float, image_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """LeNet-5 with 6 and 16 filters, rectified, with dropout before dense layers."""
    conv = partial(keras.layers.Conv2D, kernel_size=5, activation="relu", **_penalty(l2, "convolutions"))
    pool = keras.layers.MaxPooling2D
    layers = [conv(6, padding="same"), pool(), conv(16), pool()]
    return keras.Sequential([keras.Input(image_shape), *layers, *_head(l2, dropout, (120, 84), num_classes)])


def _head(l2: Strength, dropout: float, units: Sequence[int], num_classes: int) -> list[keras.layers.Layer]:
    layers: list[keras.layers.Layer] = [keras.layers.Flatten(), keras.layers.Dropout(dropout)]
    for number in units:
        layers += [keras.layers.Dense(number, "relu", **_penalty(l2, "dense")), keras.layers.Dropout(dropout)]
    return [*layers, keras.layers.Dense(num_classes, **_penalty(l2, "output"))]


def _penalty(l2: Strength, group: str) -> dict[str, Any]:
    return {"kernel_regularizer": keras.regularizers.L2(l2[group] if isinstance(l2, Mapping) else l2)}


def hypermodel_of(data: Data, schedule: Schedule) -> Hypermodel:
    """An ordinary KerasTuner hypermodel for these data: L2, dropout and the learning rate are to be found."""
    network = small_conv if data.image_shape[0] < 16 else lenet

    def build_model(hp: keras_tuner.HyperParameters) -> keras.Model:
        l2 = hp.Float("l2", 1e-5, 1e-2, sampling="log", default=1e-3)
        dropout = hp.Float("dropout", 0.0, 0.5, default=0.2)
        learning_rate = hp.Float("learning_rate", 5e-4, 5e-3, sampling="log", default=schedule.learning_rate)
        model = network(l2, dropout, data.image_shape, data.num_classes)
        return classifier(model, data, replace(schedule, learning_rate=learning_rate))

    return build_model
