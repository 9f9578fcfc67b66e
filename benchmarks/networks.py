"""The same small networks as a single network, a batch ensemble and a hyper-batch ensemble."""

from dataclasses import dataclass
from typing import Any

import keras

import keras_hyperens as khe

L2 = khe.Hyperparameter("l2", 1e-5, 1e-2)
DROPOUT = khe.Hyperparameter("dropout", 0.0, 0.4, scale="linear")


@dataclass(frozen=True)
class Kit:
    """How a network is made of layers: plain ones with fixed settings, or those of M members."""

    ensemble_size: int | None = None  # None: a single network
    l2: Any = None  # a fixed strength, or a hyperparameter's name
    dropout_rate: Any = None
    space: khe.HyperparameterSpace | None = None

    @property
    def members(self) -> dict[str, Any]:
        return {"ensemble_size": self.ensemble_size, "hyperparameters": self.space}

    def conv(self, *arguments: Any, **keywords: Any) -> keras.layers.Layer:
        return self._layer(keras.layers.Conv2D, khe.HyperBatchConv2D, *arguments, **keywords)

    def dense(self, *arguments: Any, **keywords: Any) -> keras.layers.Layer:
        return self._layer(keras.layers.Dense, khe.HyperBatchDense, *arguments, **keywords)

    def dropout(self) -> keras.layers.Layer:
        if self.ensemble_size is None:
            return keras.layers.Dropout(self.dropout_rate)
        return khe.HyperDropout(self.dropout_rate, **self.members)

    def _layer(self, plain: type, hyper: type, *arguments: Any, **keywords: Any) -> keras.layers.Layer:
        if self.ensemble_size is None:
            return plain(*arguments, kernel_regularizer=keras.regularizers.L2(self.l2), **keywords)
        return hyper(*arguments, kernel_l2=self.l2, **self.members, **keywords)


def single(l2: float, dropout: float) -> Kit:
    return Kit(None, l2, dropout)


def batch(ensemble_size: int, l2: float, dropout: float) -> Kit:
    return Kit(ensemble_size, l2, dropout)


def hyper_batch(ensemble_size: int, dropout: float | None = None) -> Kit:
    """L2 is tuned, and dropout too unless its rate is given."""
    space = khe.HyperparameterSpace([L2, DROPOUT] if dropout is None else [L2])
    return Kit(ensemble_size, "l2", "dropout" if dropout is None else dropout, space)


def small_conv(kit: Kit, image_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Two convolutions and a dense layer, for images of 8x8."""
    return keras.Sequential(
        [
            keras.Input(image_shape),
            kit.conv(16, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            kit.conv(32, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            kit.dropout(),
            kit.dense(64, activation="relu"),
            kit.dropout(),
            kit.dense(num_classes),
        ]
    )


def lenet(kit: Kit, image_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """LeNet-5 with 6 and 16 filters, rectified, with dropout before its dense layers."""
    return keras.Sequential(
        [
            keras.Input(image_shape),
            kit.conv(6, 5, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            kit.conv(16, 5, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            kit.dropout(),
            kit.dense(120, activation="relu"),
            kit.dropout(),
            kit.dense(84, activation="relu"),
            kit.dropout(),
            kit.dense(num_classes),
        ]
    )
