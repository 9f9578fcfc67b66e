"""Small ordinary Keras networks, and the hypermodel `build_model(hp)` that gives every method here."""

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import keras
import keras_tuner

from benchmarks.data import Data

if TYPE_CHECKING:
    from benchmarks.methods import Schedule


def small_conv(l2: float, dropout: float, image_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Two convolutions and a dense layer, for images of 8x8."""
    penalty = {"kernel_regularizer": keras.regularizers.L2(l2)}
    return keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu", **penalty),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu", **penalty),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(64, activation="relu", **penalty),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(num_classes, **penalty),
        ]
    )


GROUPS = ("convolutions", "dense", "output")  # of LeNet's layers


def lenet(
    l2: float | Mapping[str, float], dropout: float, image_shape: tuple[int, ...], num_classes: int
) -> keras.Model:
    """LeNet-5 with 6 and 16 filters, rectified, with dropout before dense layers; one `l2`, or one of each group."""
    strengths = l2 if isinstance(l2, Mapping) else dict.fromkeys(GROUPS, l2)
    convolutions, dense, output = ({"kernel_regularizer": keras.regularizers.L2(strengths[group])} for group in GROUPS)
    return keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Conv2D(6, 5, padding="same", activation="relu", **convolutions),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(16, 5, activation="relu", **convolutions),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(120, activation="relu", **dense),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(84, activation="relu", **dense),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(num_classes, **output),
        ]
    )


def hypermodel_of(data: Data, schedule: "Schedule") -> Callable[[keras_tuner.HyperParameters], keras.Model]:
    """An ordinary KerasTuner hypermodel for these data: L2, dropout and the learning rate are to be found."""
    network = small_conv if data.image_shape[0] < 16 else lenet

    def build_model(hp: keras_tuner.HyperParameters) -> keras.Model:
        l2 = hp.Float("l2", 1e-5, 1e-2, sampling="log", default=1e-3)
        dropout = hp.Float("dropout", 0.0, 0.5, default=0.2)
        learning_rate = hp.Float("learning_rate", 5e-4, 5e-3, sampling="log", default=schedule.learning_rate)
        model = network(l2, dropout, data.image_shape, data.num_classes)
        model.compile(
            replace(schedule, learning_rate=learning_rate).optimizer(len(data.train[1])),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nll")],
        )
        return model

    return build_model
